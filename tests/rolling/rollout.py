"""Deployments in a row under load on the local ECS: a service of three protocols, its callers, and what they saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.local.machine import Machine
from infra.local.runner import TaskRunner
from infra.local.settings import Settings
from infra.local.state import Status, StopCode
from infra.local.up import machine
from tests.rolling.apps import APPS, speaks_redis
from tests.rolling.server import Stop

HERE: Final = Path(__file__).parent
NAMESPACE: Final = "rolling.local"
PROTOCOLS: Final = ("http", "grpc", "tcp")
PORTS: Final = {"http": 8080, "grpc": 9090, "tcp": 7000}
TASKS: Final = 2
PATIENCE: Final = 90.0
WARM: Final = 20
"""Requests, calls and sessions of each protocol before the first deployment."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the callers saw, by protocol: tried and failed; and how long each deployment took, in seconds."""

    tried: Mapping[str, int]
    failed: Mapping[str, int]
    errors: tuple[str, ...]
    seconds: tuple[float, ...]
    tasks: int


def write_folder(directory: Path, app: str) -> None:
    """Write the task definitions and services that the local ECS brings up, for one of `APPS`."""
    directory.mkdir(parents=True)
    service = {"serviceName": "app", "taskDefinition": "app", "desiredCount": TASKS}
    (directory / "services.json").write_text(json.dumps({"cluster": "rolling", "services": [service]}))
    offers = [
        {"portName": name, "discoveryName": name, "clientAliases": [{"port": 80, "dnsName": name}]}
        for name in PROTOCOLS
    ]
    inbound = ",".join(f"{name}={15100 + n}:{PORTS[name]}/{name}" for n, name in enumerate(PROTOCOLS))
    label = json.dumps({"namespace": NAMESPACE, "services": offers})
    _write(directory, "app", _app_containers(APPS[app], {"tramo.service-connect": label}), inbound)
    command = ("python", str(HERE / "load.py"), *(("redis",) if speaks_redis(app) else ()))
    client = _container("load", command, {"tramo.service-connect": json.dumps({"namespace": NAMESPACE})})
    _write(directory, "load", [client], "")


def _app_containers(commands: Mapping[str, Sequence[str]], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the containers that offer the three ports: one has them all, or grpc and redis have theirs."""
    owners = {"grpc": "grpc" if "grpc" in commands else "app", "tcp": "redis" if "redis" in commands else "app"}
    containers = []
    for name, command in commands.items():
        mappings = [
            {"name": protocol, "containerPort": port} | ({} if protocol == "tcp" else {"appProtocol": protocol})
            for protocol, port in PORTS.items()
            if owners.get(protocol, "app") == name
        ]
        made = _container(name, command, labels if name == "app" else {})
        containers.append(made | {"portMappings": mappings})
    return containers


def _container(name: str, command: Sequence[str], labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": "rolling",
        "memory": 256,
        "essential": True,
        "command": list(command),
        "dockerLabels": dict(labels),
        "dependsOn": [{"containerName": "sidecar", "condition": "HEALTHY"}],
        "stopTimeout": 60,
    }


def _write(directory: Path, family: str, containers: Sequence[Mapping[str, Any]], inbound: str) -> None:
    variables = {"TRAMO_NAMESPACE": NAMESPACE, "TRAMO_API_URL": "https://example.com", "TRAMO_INBOUND": inbound}
    sidecar = {
        "name": "sidecar",
        "image": "tramo/sidecar",
        "memory": 128,
        "essential": True,
        "dockerLabels": {"tramo.sidecar": "true"},
        "environment": [{"name": name, "value": value} for name, value in variables.items()],
        "healthCheck": {"command": ["CMD", "tramo-sidecar", "--ready"], "interval": 5, "startPeriod": 60},
        "stopTimeout": 30,
    }
    document = {"family": family, "networkMode": "awsvpc", "containerDefinitions": [*containers, sidecar]}
    (directory / f"{family}.json").write_text(json.dumps(document))


async def roll(directory: Path, deployments: int, say: Callable[[str], object], app: str = Stop.PATIENT) -> Report:
    """Deploy the service so many times in a row under load and report. Raises LocalError and TimeoutError."""
    write_folder(directory / "image", app)
    settings = Settings(state_directory=directory / "state", image_directory=directory / "image", names="hosts")
    async with machine(settings) as (made, _):
        await _steady(made)
        load = made.cluster.run_task("load")
        await _until("every protocol is called", lambda: _tried(load) >= WARM)
        seconds: list[float] = []
        known = set(made.cluster.tasks)
        for number in range(1, deployments + 1):
            begin = time.monotonic()
            made.cluster.update_service("app", desired_count=None, definition=None, force=True)
            await _steady(made)
            seconds.append(time.monotonic() - begin)
            say(f"deployment {number} of {deployments}: {seconds[-1]:.1f} s, {_short(_tally(load))}")
        tasks = len(set(made.cluster.tasks) - known)
        load.stop(StopCode.USER_INITIATED, "It is over")
        await asyncio.wait_for(load.stopped.wait(), PATIENCE)
        counts, errors = _tally(load)["counts"], _tally(load)["errors"]
        await asyncio.wait_for(made.cluster.stop(), PATIENCE)
    return Report(
        {name: counts[name]["tried"] for name in PROTOCOLS},
        {name: counts[name]["failed"] for name in PROTOCOLS},
        tuple(errors),
        tuple(seconds),
        tasks,
    )


async def _steady(made: Machine) -> None:
    if not await made.cluster.until(made.cluster.steady, PATIENCE):
        states = [(runner.identity.definition.name, runner.state.status) for runner in made.cluster.tasks.values()]
        raise TimeoutError(f"the service was not steady within {PATIENCE:.0f} s: {states}")


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


def _short(tally: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {each['tried']} ({each['failed']} failed)" for name, each in tally["counts"].items())


async def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:.0f} s in vain until {what}")
        await asyncio.sleep(0.1)
