from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infra.local.guardian import watch
from infra.local.process import Launcher, Process
from tests.support.waiting import until

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def run(work: Callable[[Launcher], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Launcher() as launcher:
            await work(launcher)

    asyncio.run(main())


async def shell(launcher: Launcher, script: str, directory: Path) -> Process:
    return await launcher.start(
        ["sh", "-c", script], environment=ENVIRONMENT, directory=directory, log=directory / "log"
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def written(path: Path) -> int:
    return int(path.read_text()) if path.exists() and path.read_text().endswith("\n") else 0


def test_output_and_exit_code(tmp_path: Path) -> None:
    async def work(launcher: Launcher) -> None:
        process = await shell(launcher, "echo out; echo err >&2; exit 3", tmp_path)
        assert await process.wait() == 3
        assert not process.running

    run(work)
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_the_environment_is_only_what_was_given(tmp_path: Path) -> None:
    async def work(launcher: Launcher) -> None:
        await (await shell(launcher, "env", tmp_path)).wait()

    run(work)
    names = {line.partition("=")[0] for line in (tmp_path / "log").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH"}


def test_an_end_by_a_signal_is_told_as_docker_does(tmp_path: Path) -> None:
    async def work(launcher: Launcher) -> None:
        process = await shell(launcher, "exec sleep 60", tmp_path)
        process.send(signal.SIGTERM)
        assert await process.wait() == 128 + signal.SIGTERM
        process.send(signal.SIGTERM)  # nobody is there any more

    run(work)


def test_what_does_not_stop_is_killed(tmp_path: Path) -> None:
    async def work(launcher: Launcher) -> None:
        process = await shell(launcher, "trap '' TERM; echo ready; while :; do sleep 0.05; done", tmp_path)
        await asyncio.to_thread(until, lambda: "ready" in (tmp_path / "log").read_text(), 10, "the trap")
        assert await process.stop(0.2) == 128 + signal.SIGKILL

    run(work)


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    async def work(launcher: Launcher) -> None:
        process = await shell(launcher, f"sleep 60 & echo $! > {tmp_path}/child; exit 0", tmp_path)
        assert await process.wait() == 0
        child = written(tmp_path / "child")
        await asyncio.to_thread(until, lambda: not alive(child), 10, "the end of the child")

    run(work)


def test_leaving_the_block_ends_everything(tmp_path: Path) -> None:
    pids: list[int] = []

    async def work(launcher: Launcher) -> None:
        pids.append((await shell(launcher, "exec sleep 60", tmp_path)).pid)

    run(work)
    until(lambda: not alive(pids[0]), 10, "the end of the process")


def test_a_start_that_is_cancelled_leaves_no_process_and_no_complaint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(launcher: Launcher) -> None:
        starts = [
            asyncio.ensure_future(shell(launcher, "exit 0" if n % 2 else "sleep 600", tmp_path)) for n in range(50)
        ]
        await asyncio.sleep(0)
        for start in starts:
            start.cancel()
        done = await asyncio.gather(*starts, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in done)
        assert launcher._running == {}

    run(work)
    assert [record.message for record in caplog.records] == []


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    async def work(launcher: Launcher) -> None:
        with pytest.raises(FileNotFoundError):
            await launcher.start(["/nowhere/x"], environment={}, directory=tmp_path, log=tmp_path / "log")

    run(work)


PARENT = """
import asyncio, pathlib, sys
from infra.local.process import Launcher
async def main():
    directory = pathlib.Path(sys.argv[1])
    async with Launcher() as launcher:
        process = await launcher.start(
            ["sh", "-c", "sleep 60 & wait"],
            environment={"PATH": "/usr/bin:/bin"},
            directory=directory,
            log=directory / "log",
        )
        (directory / "pid").write_text(f"{process.pid}\\n")
        await process.wait()
asyncio.run(main())
"""


def test_the_guardian_ends_what_a_killed_parent_left(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=Path.cwd()) as parent:
        pid = until(lambda: written(tmp_path / "pid"), 20, "the process")
        assert alive(pid)
        parent.kill()
    until(lambda: not alive(pid), 10, "the end of the process")


def test_the_guardian_counts_what_is_left() -> None:
    assert watch(["+10\n", "+11\n", "-10\n", "=tramo64\n", "+12\n"]) == ({11, 12}, ["tramo64"])
