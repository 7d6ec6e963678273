"""How the commands of the `tramo` tool reach a running `tramo up`: HTTP on a Unix socket.

What ECS has an API for goes over that; this is for the rest: where everything is, what the control plane
could not work, the API taken away, a crash on purpose, and the end.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from infra.local.cluster import EcsError
from infra.local.eventbus import DeadLetter, redrive
from infra.local.httpserver import Request, Response
from infra.local.machine import Machine
from infra.local.service import Failure, Service
from infra.local.state import Status


class Control:
    """Answers the commands for one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.down = asyncio.Event()

    async def handle(self, request: Request) -> Response:
        """Answer one command."""
        match (request.method, *request.path.strip("/").split("/")):
            case ("GET", "status"):
                return _answer(200, self.status())
            case ("POST", "down"):
                self.down.set()
                return _answer(202, {})
            case ("POST", "api", "away"):
                await self._machine.api.away()
                return _answer(200, {"api": "away"})
            case ("POST", "api", "back"):
                await self._machine.api.back()
                return _answer(200, {"api": "back"})
            case ("POST", "redrive", limit) if limit.isdecimal():
                return _answer(200, {"letters": await self._redrive(int(limit))})
            case ("POST", "tasks", task, "containers", container, "kill"):
                return self._kill(task, container)
        return _answer(404, {"message": f"{request.method} {request.path} is not a command"})

    async def _redrive(self, limit: int) -> list[dict[str, Any]]:
        redriven = await redrive(self._machine.dead_letters, self._machine.functions, limit)
        return [
            {
                **_letter(letter),
                "error": letter.error if wrong is None else wrong,
                "outcome": "handled" if wrong is None else "failed again",
            }
            for letter, wrong in redriven
        ]

    def _kill(self, task: str, container: str) -> Response:
        try:
            runner = self._machine.cluster.task(task)
        except EcsError as error:
            return _answer(404, {"message": str(error)})
        if container not in runner.process_ids():
            return _answer(409, {"message": f"the container {container} of task {task} does not run"})
        runner.kill(container)
        return _answer(202, {})

    def status(self) -> dict[str, Any]:
        """Return what `tramo status` shows and what the other commands need to know."""
        machine = self._machine
        cluster = machine.cluster
        tasks = [runner.state for runner in cluster.tasks.values()]
        return {
            "cluster": cluster.name,
            "directory": str(machine.settings.image_directory),
            "region": machine.settings.region,
            "api": {"url": machine.api.url, "away": machine.api.is_away},
            "ecs": machine.endpoints.ecs,
            "aws": machine.endpoints.aws,
            "cloudwatch": machine.endpoints.cloudwatch,
            "metrics_seconds": int(machine.settings.sidecar_environment.get("TRAMO_METRICS_SECONDS", "60")),
            "services": {"steady": sum(s.steady for s in cluster.services.values()), "all": len(cluster.services)},
            "tasks": {
                "running": sum(state.status is Status.RUNNING for state in tasks),
                "all": sum(state.status is not Status.STOPPED for state in tasks),
            },
            "failing": [
                failing(service, failure, machine.settings.state_directory)
                for service in cluster.services.values()
                if (failure := service.last_failure) is not None
            ],
            "events": machine.events_sent,
            "dead_letters": [_letter(letter) for letter in machine.dead_letters.letters],
            "function_log": str(machine.function_log),
        }


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {"time": letter.time, "function": letter.function, "error": letter.error, "event": letter.event}


def failing(service: Service, failure: Failure, state_directory: Path) -> dict[str, Any]:
    """Return what is known of a service whose tasks fail."""
    log = state_directory / "tasks" / failure.task_id / f"{failure.container}.log"
    return {
        "service": service.name,
        "definition": service.primary.definition_arn.rpartition("/")[2],
        "failed_tasks": sum(deployment.failed_tasks for deployment in service.deployments),
        "rollout": service.primary.rollout.value,
        "task": failure.task_id,
        "container": failure.container,
        "exit_code": failure.exit_code,
        "reason": failure.reason,
        "log": None if failure.container is None else str(log),
    }


def _answer(status: int, body: object) -> Response:
    return Response(status, json.dumps(body).encode(), (("Content-Type", "application/json"),))
