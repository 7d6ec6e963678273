"""The mesh that is soaked: one calling task, serving tasks that come and go, and a namespace that never rests.

Each task is a sidecar and an application as processes of their own. A task that goes is drained as ECS does it: the
snapshot says so, the caller's sidecar has heard it, then SIGTERM; its sidecar ends with 0 when its work is done.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from tests.soak.app import GRPC_PORT, HTTP_PORT, TCP_PORT
from tests.support.proxy.sidecar import Address, Stage, endpoint, network
from tests.support.waiting import until

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = {
    "web": ("http", 15_100, HTTP_PORT),
    "calls": ("grpc", 15_101, GRPC_PORT),
    "raw": ("tcp", 15_102, TCP_PORT),
}
TASKS: Final = 3
"""Serving tasks at a time. The first one stays, so that what it keeps can be seen; the others are replaced."""
FEATURES: Final = {
    "TRAMO_METRICS": "emf",
    "TRAMO_METRICS_SECONDS": "5",
    "TRAMO_ACCESS_LOG": "json",
    "TRAMO_ACCESS_LOG_SAMPLE": "0.1",
    "TRAMO_TRACING": "xray",
}
"""What is on besides the defaults: it must not grow either. Nobody listens to the traces."""
POLICIES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"retries": {"count": 3}},
    {"load_balancing": {"algorithm": "round_robin"}},
    {"load_balancing": {"slow_start_seconds": 5}},
    {"timeouts": {"per_try_seconds": 10}},
    {"health_check": {"protocol": "tcp", "interval_seconds": 0.5}},
)
OUTAGE_SECONDS: Final = 2.0
"""For so long the API is away before a task is replaced."""
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0


class Task:
    """A serving task."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._stack = ExitStack()
        prefix = self._stack.enter_context(network())
        folder = directory / name
        folder.mkdir()
        self.app = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.app", f"{prefix}.250.2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=(folder / "app.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        self._stack.callback(self._end_app)
        inbound = ",".join(f"{name}={ingress}:{app}/{kind}" for name, (kind, ingress, app) in SERVICES.items())
        self.stage = Stage(prefix, folder, TRAMO_INBOUND=inbound, **FEATURES)
        self._stack.callback(self.stage.close)
        self._wait_ready(prefix)

    def _wait_ready(self, prefix: str) -> None:
        self.stage.sidecar.wait_ready()
        for _, _, port in SERVICES.values():
            until(lambda port=port: _answers(f"{prefix}.250.2", port), START_SECONDS, f"the app of {self.name}")  # type: ignore[misc]

    def record(self, service: str, state: str = "ready") -> dict[str, Any]:
        """This task as an endpoint of a service."""
        ingress = self.stage.address(SERVICES[service][1])
        return endpoint(self.name, ingress.host, ingress.port, state)

    def drain(self) -> int:
        """Tell the sidecar to end, then the app; the sidecar's exit code."""
        self.stage.sidecar.signal()
        code = self.stage.sidecar.process.wait(STOP_SECONDS)
        self.close()
        return code

    def _end_app(self) -> None:
        self.app.terminate()
        try:
            self.app.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.app.kill()
            self.app.wait(STOP_SECONDS)

    def close(self) -> None:
        """End what is left."""
        self._stack.close()


def _answers(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


class World:
    """All tasks, and the changes to them."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._draw = random.Random(seed)  # noqa: S311 - a mixture, not a secret
        self._stack = ExitStack()
        self._started = 0
        self.tasks: list[Task] = []
        self.replaced = 0
        self.outages = 0
        self.revisions = 0
        self.problems: list[str] = []
        folder = directory / "caller"
        folder.mkdir()
        self.caller = Stage(self._stack.enter_context(network()), folder, TRAMO_INBOUND="", **FEATURES)
        self._stack.callback(self.caller.close)
        self.caller.sidecar.wait_ready()
        for _ in range(TASKS):
            self.tasks.append(self._start())
        self.addresses: dict[str, Address] = {name: self._publish(name, self.tasks) for name in SERVICES}

    def _start(self) -> Task:
        self._started += 1
        return Task(f"task-{self._started}", self._directory)

    def _publish(self, name: str, ready: list[Task], draining: list[Task] | None = None) -> Address:
        records = [task.record(name) for task in ready]
        records += [task.record(name, "draining") for task in draining or []]
        self.revisions += 1
        policy = self._draw.choice(POLICIES)
        return self.caller.publish(name, *records, protocol=SERVICES[name][0], policy=policy)

    def change(self) -> None:
        """Another revision: some of the tasks are ready, others draining or not there; a service comes or goes."""
        for name in SERVICES:
            ready = self._draw.sample(self.tasks, self._draw.randint(1, len(self.tasks)))
            others = [task for task in self.tasks if task not in ready]
            self._publish(name, ready, [task for task in others if self._draw.random() < 0.5])
        other = f"other-{self._draw.randrange(5)}"
        self.revisions += 1
        if other in self.caller.api.services:
            self.caller.withdraw(other)
        else:
            self.caller.publish(other, self.tasks[0].record("web"), port=self._draw.choice([80, 8000]))

    def outage(self, pause: Callable[[float], object]) -> None:
        """The API does not answer for a while: the sidecars route on with what they have."""
        self.caller.api.away = True
        pause(OUTAGE_SECONDS)
        self.caller.api.away = False
        self.outages += 1

    def replace(self, stopped: Callable[[], bool]) -> None:
        """A deployment of one task: the new one first, then the old one is drained and ends."""
        new = self._start()
        self.tasks.append(new)
        if stopped():
            return
        old = self.tasks.pop(1)  # not the first: it stays
        for name in SERVICES:
            self._publish(name, self.tasks, [old])
        code = old.drain()
        if code != 0:
            self.problems.append(f"the sidecar of {old.name} ended with {code}")
        self.replaced += 1

    def close(self) -> None:
        """End everything."""
        for task in self.tasks:
            task.close()
        self._stack.close()

    def errors(self) -> list[str]:
        """Lines of all sidecars' logs that say that something is wrong."""
        found = []
        for log in sorted(self._directory.glob("*/sidecar.log")):
            for line in log.read_text().splitlines():
                if '"level":"ERROR"' in line.replace(" ", ""):
                    found.append(f"{log.parent.name}: {line[:500]}")
        return found
