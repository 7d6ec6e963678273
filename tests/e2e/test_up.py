"""`tramo up` as a user runs it: another process, its commands, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane.local_cluster import container, definition
from tests.support.processes import descendants, left
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "infra" / "examples" / "shop"
PATIENCE = 120


class Up:
    """A running `tramo up` and the commands for it."""

    def __init__(self, state: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self._state = state

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "infra.cli.main", "--state-dir", str(self._state), *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.command(*arguments, "-o", "json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr + self.log.read_text()
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def wait_for_steady_services(self) -> None:
        def steady() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            done = self.command("status", "-o", "json")
            if done.returncode:
                return False  # it is not up yet
            services = json.loads(done.stdout)[0]["services"].split()[0].split("/")
            return bool(services[0] == services[1])

        until(steady, PATIENCE, "all services steady")

    def wait_for_end(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it goes on: {self.log.read_text()}")


@contextmanager
def up(directory: Path, state: Path, *arguments: str) -> Iterator[Up]:
    log = state.with_suffix(".out")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.cli.main", "--state-dir", str(state), "up", str(directory), *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        try:
            yield Up(state, process, log)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def order(running: Up) -> dict[str, Any]:
    """Order something at web's endpoint, through its sidecar, as a caller in the mesh does."""

    def ready() -> dict[str, Any] | None:
        done = running.command("endpoints", "web", "-o", "json")
        found = [row for row in json.loads(done.stdout or "[]") if row["state"] == "ready"]
        return found[0] if found else None

    endpoint = until(ready, PATIENCE, "an endpoint of web")
    assert endpoint is not None
    url = f"http://{endpoint['address']}:{endpoint['port']}/tea"

    def answer() -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                found: dict[str, Any] = json.load(response)
                return found
        except urllib.error.HTTPError:
            return None  # web does not know orders yet

    answered = until(answer, PATIENCE, "an answer of web")
    assert answered is not None
    return answered


def test_the_shop_and_every_command(tmp_path: Path) -> None:
    with up(SHOP, tmp_path / "s") as running:
        running.wait_for_steady_services()
        answered = order(running)
        assert (answered["service"], answered["order"]["version"]) == ("web", "1")
        assert answered["order"]["stock"]["service"] == "stock"
        assert answered["order"]["number"] >= 1  # counted by cache, over TCP

        services = {row["name"]: row for row in running.rows("services")}
        assert set(services) == {"web", "orders", "stock", "cache"}
        assert services["orders"]["protocol"] == "http"
        assert services["cache"]["protocol"] == "tcp"
        assert len({row["vip"] for row in services.values()}) == 4

        [scaled] = running.rows("scale", "orders", "2", "--wait", str(PATIENCE))
        assert (scaled["desired"], scaled["running"]) == (2, 2)
        [alone] = running.rows("run", "orders", "--wait", str(PATIENCE))
        assert (alone["group"], alone["status"]) == ("family:orders", "RUNNING")
        until(lambda: len(running.rows("endpoints", "orders")) == 3, PATIENCE, "three endpoints of orders")
        [stopped] = running.rows("stop", alone["task"][:8], "--wait", str(PATIENCE))
        assert stopped["stopped_reason"] == "Task stopped by user"
        until(
            lambda: alone["task"] not in json.dumps(running.rows("endpoints", "orders")),
            PATIENCE,
            "the end of the endpoint",
        )
        release = str(SHOP / "releases" / "orders-2.json")
        [deployed] = running.rows("deploy", "orders", "--task-definition", release, "--wait", str(PATIENCE))
        assert deployed["definition"] == "orders:2"
        until(lambda: order(running)["order"]["version"] == "2", PATIENCE, "version 2")

        tasks = running.rows("tasks")
        assert sorted(row["group"] for row in tasks) == [
            "service:cache",
            "service:orders",
            "service:orders",
            "service:stock",
            "service:web",
        ]
        [status] = running.rows("status")
        assert (status["dead_letters"], status["cluster"]) == ([], "shop")
        assert running.command("tasks").stdout.startswith("TASK ")

        second = running.command("up", str(SHOP))
        assert second.returncode == 1
        assert "a cluster is up already" in second.stderr

        processes = descendants(running.process.pid)
        assert len(processes) >= 14  # four functions, five tasks of two processes, and the guardian
        interface = network_interface(running)
        running.process.send_signal(signal.SIGINT)
        assert running.wait_for_end() == 0
        assert left(processes) == set()
        assert not interface_exists(interface)
        assert "RUNNING" in running.log.read_text()
        assert running.command("status").returncode == 1


def test_names_by_proxy(tmp_path: Path) -> None:
    with up(SHOP, tmp_path / "s", "--names", "proxy") as running:
        running.wait_for_steady_services()
        assert order(running)["order"]["stock"]["service"] == "stock"
        processes = descendants(running.process.pid)
        assert running.command("down").returncode == 0
        assert running.wait_for_end() == 0
        until(lambda: not left(processes), PATIENCE, "the end of every process")


def small(directory: Path) -> Path:
    """Return a folder with one service that is not in the mesh."""
    directory.mkdir()
    plan = {"cluster": "small", "services": [{"serviceName": "app", "taskDefinition": "app", "desiredCount": 2}]}
    (directory / "services.json").write_text(json.dumps(plan))
    (directory / "app.json").write_text(json.dumps(definition(container("sleep 600 & wait"))))
    return directory


def network_interface(running: Up) -> str:
    """Return the network interface of the cluster's tasks; none has this name if they have no network of their own."""
    found = re.search(r"^API +http://10\.(\d+)\.", running.log.read_text(), re.MULTILINE)
    interface = f"tramo{found[1]}" if found is not None else "none"
    assert interface_exists(interface) == (os.geteuid() == 0)
    return interface


def interface_exists(name: str) -> bool:
    return name in {interface for _, interface in socket.if_nameindex()}


def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    with up(small(tmp_path / "d"), tmp_path / "s") as running:
        running.wait_for_steady_services()
        processes = descendants(running.process.pid)
        assert len(processes) >= 9  # four functions, two shells with a child each, and the guardian
        interface = network_interface(running)
        running.process.kill()
        running.process.wait()
        until(lambda: not left(processes), PATIENCE, "the end of every process")
        until(lambda: not interface_exists(interface), PATIENCE, "the end of the network")


def test_after_a_kill_it_comes_up_again_in_the_same_place(tmp_path: Path) -> None:
    directory = small(tmp_path / "d")
    with up(directory, tmp_path / "s") as running:
        running.wait_for_steady_services()
    with up(directory, tmp_path / "s") as running:
        running.wait_for_steady_services()
        running.process.send_signal(signal.SIGTERM)
        assert running.wait_for_end() == 0
