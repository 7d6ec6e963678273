"""Requests are refused while the container's memory is short."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.proxy.overload import MemoryWatch, own_memory
from tests.support.proxy.rig import ANSWER, Http1Rig
from tests.support.wire.http1 import request

ROOT = Path(__file__).parents[4]
GET = request(b"Host: orders", line=b"GET / HTTP/1.1")
VERSION_2 = ("memory.max", "memory.current", "memory.stat")
VERSION_1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")


def write(root: Path, names: tuple[str, str, str], limit: str, used: int, inactive: int) -> None:
    for name, text in zip(names, (limit, str(used), f"anon 1\ninactive_file {inactive}\n"), strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text + "\n")


@pytest.mark.parametrize("names", [VERSION_2, VERSION_1], ids=["cgroup-2", "cgroup-1"])
def test_it_follows_the_memory(tmp_path: Path, names: tuple[str, str, str]) -> None:
    rig = Http1Rig()
    write(tmp_path, names, "1000", 0, 0)
    watch = MemoryWatch(rig.runtime, root=tmp_path, give_back=lambda: None)
    found = []
    for used, inactive in ((950, 200), (950, 50), (700, 0)):
        write(tmp_path, names, "1000", used, inactive)
        watch.step()
        found.append(rig.runtime.shedding)
    assert found == [False, True, False], "pages that can be taken back do not count"


def test_what_cannot_be_read_sheds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Http1Rig()
    write(tmp_path, VERSION_2, "1000", used=999, inactive=0)
    watch = MemoryWatch(rig.runtime, root=tmp_path, give_back=lambda: None)
    watch.step()
    (tmp_path / "memory.current").write_text("nonsense")
    watch.step()
    watch.step()
    assert not rig.runtime.shedding
    assert [record.levelname for record in caplog.records].count("WARNING") == 2, "once for each change"


def test_without_a_limit_there_is_nothing_to_watch(tmp_path: Path) -> None:
    rig = Http1Rig()
    MemoryWatch(rig.runtime, root=tmp_path).step()
    assert not rig.runtime.shedding


def test_the_tasks_limit_counts_where_the_container_has_none(tmp_path: Path) -> None:
    rig = Http1Rig()
    write(tmp_path, VERSION_2, "max", used=950, inactive=0)
    own = [950]
    watch = MemoryWatch(rig.runtime, task_limit=1000, root=tmp_path, give_back=lambda: None, own_memory=lambda: own[0])
    watch.step()
    assert rig.runtime.shedding
    own[0] = 700
    watch.step()
    assert not rig.runtime.shedding


def test_a_cgroup_without_a_limit_may_be_the_whole_machine_and_is_not_counted(tmp_path: Path) -> None:
    rig = Http1Rig()
    write(tmp_path, VERSION_2, "max", used=1_000_000, inactive=0)
    MemoryWatch(rig.runtime, task_limit=1000, root=tmp_path, give_back=lambda: None, own_memory=lambda: 100).step()
    assert not rig.runtime.shedding


@pytest.mark.parametrize("container", ["max", "1000"])
def test_a_limit_of_the_process_counts_where_less_of_it_is_left(tmp_path: Path, container: str) -> None:
    rig = Http1Rig()
    write(tmp_path, VERSION_2, container, used=800, inactive=0)
    own = [(90, 100)]
    watch = MemoryWatch(
        rig.runtime, root=tmp_path, give_back=lambda: None, own_memory=lambda: 800, own_limit=lambda: own[0]
    )
    watch.step()
    assert rig.runtime.shedding
    own[0] = (10, 100)
    write(tmp_path, VERSION_2, container, used=700, inactive=0)
    watch.step()
    assert not rig.runtime.shedding


def test_the_address_space_of_a_process_is_measured_against_its_limit() -> None:
    asked = "import resource as r; from sidecar.proxy.overload import own_limit; "
    limited = "r.setrlimit(r.RLIMIT_AS, (4 << 30, 4 << 30)); used, allowed = own_limit(); "
    checked = "assert allowed == 4 << 30 and 1 << 20 < used < allowed, used"
    run = subprocess.run([sys.executable, "-c", asked + limited + checked], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_memory_of_this_process_is_read() -> None:
    assert 1 << 20 < own_memory() < 1 << 40


def test_a_limit_that_nobody_knows_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, VERSION_2, "max", used=950, inactive=0)
    asyncio.run(MemoryWatch(Http1Rig().runtime, root=tmp_path).run())
    (record,) = caplog.records
    assert "unknown" in record.getMessage()


def test_memory_is_given_back_before_anybody_is_refused(tmp_path: Path) -> None:
    rig = Http1Rig()

    def give_back() -> None:
        write(tmp_path, VERSION_2, "1000", used=700, inactive=0)

    write(tmp_path, VERSION_2, "1000", used=950, inactive=0)
    MemoryWatch(rig.runtime, root=tmp_path, give_back=give_back).step()
    assert not rig.runtime.shedding


def test_shedding_ends_when_the_load_has_gone_whatever_the_allocator_keeps(tmp_path: Path) -> None:
    rig = Http1Rig()
    clients = [rig.client() for _ in range(100)]
    write(tmp_path, VERSION_2, "1000", used=900, inactive=0)
    watch = MemoryWatch(rig.runtime, root=tmp_path, give_back=lambda: None)
    watch.step()
    assert rig.runtime.shedding
    for client in clients[50:]:
        client.break_off()
    watch.step()
    assert not rig.runtime.shedding


def test_a_client_that_is_refused_keeps_no_connection() -> None:
    rig = Http1Rig()
    client = rig.client()
    rig.runtime.shedding = True
    client.receive(GET)
    assert b"\r\nconnection: close\r\n" in client.take().lower()
    assert client.lost


def test_a_request_is_refused_as_unprocessed_and_the_next_is_served() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    rig.runtime.shedding = True
    client.receive(GET)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    for field in (b"\r\nretry-after: 1\r\n", b"\r\ntramo-response-flags: OM\r\n", b"\r\ntramo-unprocessed: true\r\n"):
        assert field in answer
    assert upstream.take() == b""
    rig.runtime.shedding = False
    client = rig.client()
    client.receive(GET)
    upstream.receive(ANSWER)
    assert client.take().startswith(b"HTTP/1.1 200 ")
    assert rig.settled()


LONG_READS = """
import resource
from sidecar.proxy.overload import give_back, keep_free_memory
keep_free_memory()
give_back()
bytes(256_000), bytes(256_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    held = [bytes(256_000) + b"a" for _ in range(4)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")
def test_long_reads_take_few_new_pages_from_the_kernel() -> None:
    """With the thresholds as they are by default it is 31,000: each read is of new pages."""
    done = subprocess.run([sys.executable, "-c", LONG_READS], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 3_000
