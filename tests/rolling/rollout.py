"""Deployments in a row under load on the local ECS: a service of three protocols, its callers, and what they saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra.inject import Settings as Injection
from infra.inject import inject
from infra.local.machine import Machine
from infra.local.runner import TaskRunner
from infra.local.settings import Settings
from infra.local.state import Status, StopCode
from infra.local.up import machine
from tests.rolling.apps import APPS, speaks_redis
from tests.rolling.server import INSIDE, Stop

HERE: Final = Path(__file__).parent
NAMESPACE: Final = "rolling.local"
PROTOCOLS: Final = ("http", "grpc", "tcp")
PORTS: Final = {"http": 8080, "grpc": 9090, "tcp": 7000}
TASKS: Final = 2
MOST_TASKS: Final = 6
PATIENCE: Final = 240.0
WARM: Final = 20
"""Requests, calls and sessions of each protocol before the first deployment."""


class Count(NamedTuple):
    """Requests, calls or sessions of one protocol."""

    tried: int
    failed: int


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing that happened to the service, how long until it was steady again, and what callers saw, by protocol."""

    name: str
    seconds: float
    counts: Mapping[str, Count]


@dataclass(frozen=True, slots=True)
class Report:
    """All phases; the last failures; how many tasks ended, and how much was inside them when they did (abrupt ones).

    `ended_by_app` counts calls that the app took and cancelled itself as it stopped.
    """

    phases: tuple[Phase, ...]
    errors: tuple[str, ...]
    tasks: int
    inside: int
    ended_by_app: int

    def total(self) -> dict[str, Count]:
        """Add up the phases."""
        counts = {name: [phase.counts[name] for phase in self.phases] for name in PROTOCOLS}
        return {name: Count(sum(c.tried for c in each), sum(c.failed for c in each)) for name, each in counts.items()}


def write_folder(directory: Path, app: str) -> None:
    """Write the task definitions and services that the local ECS brings up, for one of `APPS`.

    The definitions are what `tramo inject` makes of a user's own.
    """
    directory.mkdir(parents=True)
    service = {"serviceName": "app", "taskDefinition": "app", "desiredCount": TASKS}
    (directory / "services.json").write_text(json.dumps({"cluster": "rolling", "services": [service]}))
    offers = [
        {"portName": name, "discoveryName": name, "clientAliases": [{"port": 80, "dnsName": name}]}
        for name in PROTOCOLS
    ]
    _write(directory, "app", _app_containers(APPS[app]), {"namespace": NAMESPACE, "services": offers})
    command = ("python", str(HERE / "load.py"), *(("redis",) if speaks_redis(app) else ()))
    _write(directory, "load", [_container("load", command)], {"namespace": NAMESPACE})


def _app_containers(commands: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return the containers that offer the three ports: one has them all, or grpc and redis have theirs."""
    owners = {"grpc": "grpc" if "grpc" in commands else "app", "tcp": "redis" if "redis" in commands else "app"}
    containers = []
    for name, command in commands.items():
        mappings = [
            {"name": protocol, "containerPort": port} | ({} if protocol == "tcp" else {"appProtocol": protocol})
            for protocol, port in PORTS.items()
            if owners.get(protocol, "app") == name
        ]
        containers.append(_container(name, command) | {"portMappings": mappings})
    return containers


def _container(name: str, command: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": "rolling",
        "memory": 256,
        "essential": True,
        "command": list(command),
        "stopTimeout": 60,
    }


def _write(directory: Path, family: str, containers: Sequence[Mapping[str, Any]], block: Mapping[str, Any]) -> None:
    own = {"family": family, "networkMode": "awsvpc", "containerDefinitions": list(containers)}
    document = inject(own, Injection(image="tramo/sidecar", api_url="https://example.com"), block)
    (directory / f"{family}.json").write_text(json.dumps(document))


class Rollout:
    """The service on a machine, under load."""

    def __init__(self, made: Machine, say: Callable[[str], object]) -> None:
        self.phases: list[Phase] = []
        self._made = made
        self._cluster = made.cluster
        self._say = say
        self.load = made.cluster.run_task("load")
        self._known: dict[str, Count] = {}

    async def warm_up(self) -> None:
        """Wait until the callers reach every protocol."""
        await _until("every protocol is called", lambda: _tried(self.load) >= WARM)
        self._known = _counts(self.load)

    async def phase(self, name: str, begin: Callable[[], object]) -> None:
        """Let something happen, wait until the service is steady again, and note what the callers saw."""
        began = time.monotonic()
        begin()
        await self._steady()
        self.note(name, time.monotonic() - began)

    def note(self, name: str, seconds: float) -> None:
        """Note what the callers saw since the last time."""
        before, self._known = self._known, _counts(self.load)
        since = {
            protocol: Count(now.tried - before[protocol].tried, now.failed - before[protocol].failed)
            for protocol, now in self._known.items()
        }
        self.phases.append(Phase(name, seconds, since))
        seen = ", ".join(f"{protocol} {count.failed} of {count.tried}" for protocol, count in since.items())
        self._say(f"{name}: {seconds:.1f} s; failed: {seen}")

    def deploy(self) -> None:
        """Replace all tasks."""
        self._cluster.update_service("app", desired_count=None, definition=None, force=True)

    def scale(self, count: int) -> None:
        """Ask for so many tasks."""
        self._cluster.update_service("app", desired_count=count, definition=None, force=False)

    def interrupt(self) -> None:
        """Take one task's machine away, as Fargate Spot does: SIGTERM comes at once, a replacement later."""
        self.serving()[0].stop(StopCode.SPOT_INTERRUPTION, "Your Spot Task was interrupted.")
        self._cluster.service("app").steady = False

    def serving(self) -> list[TaskRunner]:
        """Return the service's tasks that run."""
        runners = self._cluster.tasks.values()
        return [r for r in runners if r.identity.service == "app" and r.state.status is Status.RUNNING]

    def ended(self) -> list[TaskRunner]:
        """Return the service's tasks that have stopped."""
        runners = self._cluster.tasks.values()
        return [r for r in runners if r.identity.service == "app" and r.state.status is Status.STOPPED]

    async def _steady(self) -> None:
        if not await self._cluster.until(self._cluster.steady, PATIENCE):
            states = [(runner.identity.definition.name, runner.state.status) for runner in self._cluster.tasks.values()]
            raise TimeoutError(f"the service was not steady within {PATIENCE:.0f} s: {states}")


async def roll(
    directory: Path, deployments: int, say: Callable[[str], object], app: str = Stop.ORDINARY, most: int = MOST_TASKS
) -> Report:
    """Deploy the service so many times in a row under load, scale it out and in, interrupt a task, and report.

    Raises LocalError and TimeoutError.
    """
    write_folder(directory / "image", app)
    settings = Settings(state_directory=directory / "state", image_directory=directory / "image", names="hosts")
    async with machine(settings) as (made, _):
        await _until_steady(made)
        rollout = Rollout(made, say)
        await rollout.warm_up()
        for number in range(1, deployments + 1):
            await rollout.phase(f"deployment {number} of {deployments}", rollout.deploy)
        await rollout.phase(f"scale-out {TASKS} to {most}", lambda: rollout.scale(most))
        await rollout.phase(f"scale-in {most} to {TASKS}", lambda: rollout.scale(TASKS))
        await rollout.phase("Spot interruption", rollout.interrupt)
        rollout.load.stop(StopCode.USER_INITIATED, "It is over")
        await asyncio.wait_for(rollout.load.stopped.wait(), PATIENCE)
        rollout.note("end of the load", 0.0)
        last = _tally(rollout.load)
        ended = rollout.ended()
        inside = sum(_inside(runner) for runner in ended)
        await asyncio.wait_for(made.cluster.stop(), PATIENCE)
    return Report(tuple(rollout.phases), tuple(last["errors"]), len(ended), inside, last["ended_by_app"])


async def _until_steady(made: Machine) -> None:
    if not await made.cluster.until(made.cluster.steady, PATIENCE):
        raise TimeoutError(f"the service did not come up within {PATIENCE:.0f} s")


def _counts(load: TaskRunner) -> dict[str, Count]:
    return {name: Count(each["tried"], each["failed"]) for name, each in _tally(load)["counts"].items()}


def _inside(runner: TaskRunner) -> int:
    """Return how much was inside an abrupt app when it ended, by what it wrote."""
    lines = runner.log("app").read_text(encoding="utf-8").splitlines()
    return sum(int(line.removeprefix(INSIDE)) for line in lines if line.startswith(INSIDE))


def _tried(load: TaskRunner) -> int:
    if load.state.status is Status.STOPPED:
        raise TimeoutError(f"the callers ended: {load.state.stopped_reason}")
    counts = _tally(load)["counts"]
    return min((counts.get(name, {"tried": 0})["tried"] for name in PROTOCOLS), default=0)


def _tally(load: TaskRunner) -> dict[str, Any]:
    """Return the last whole line of the callers' output."""
    log = load.log("load")
    lines = log.read_text(encoding="utf-8").split("\n")[:-1] if log.exists() else []
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {"counts": {}, "errors": []}
    return found


async def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up after waiting {PATIENCE:.0f} s until {what}")
        await asyncio.sleep(0.1)
