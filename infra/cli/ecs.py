"""The ECS side of the commands, over the ECS API of the local cluster.

A roll-out that is waited for, be it a deployment or another number of tasks, ends in one of four ways: it is COMPLETED,
and ECS has said since that the service is steady (a task that crashes may be RUNNING for a moment); the circuit breaker
made it FAILED, or another one took its place; as many of its tasks failed as would open a circuit breaker; or the time
is over. The last three are errors that name the task, the container with its exit code, and its log.

A task that is waited for goes on running, or it has ended: with success, or with an error that says the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.cli.mesh import suggestion
from infra.cli.tables import Row
from infra.local.settings import ACCESS_KEY, SECRET_KEY, LocalError

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

_CONFIG: Final = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)
_PAUSE: Final = 0.2
_HOPELESS: Final = 3
"""Failed tasks after which a roll-out is given up: the least at which ECS's circuit breaker opens."""
_MOST_TASKS: Final = 100
_SETTLE: Final = 1.0
"""A task whose program ends at its start is RUNNING for a moment, so it is looked at again after so long."""
_STEADY: Final = "has reached a steady state."

T = TypeVar("T")


class _NotFoundError(LocalError):
    """ECS knows no such service."""


class Ecs:
    """One local cluster."""

    def __init__(self, status: Mapping[str, Any], state_directory: Path) -> None:
        self._state_directory = state_directory
        self._cluster = str(status["cluster"])
        self._client: ECSClient = boto3.client(
            "ecs",
            endpoint_url=status["ecs"],
            region_name=status["region"],
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=_CONFIG,
        )

    def tasks(self, *, stopped: bool) -> list[Row]:
        """Return the tasks, those that stopped or will stop only if asked for."""
        return self._call(lambda: self._tasks(stopped))

    def _tasks(self, stopped: bool) -> list[Row]:
        rows: list[Row] = []
        pages = self._client.get_paginator("list_tasks")
        for desired in ("RUNNING", "STOPPED"):
            for page in pages.paginate(cluster=self._cluster, desiredStatus=desired):
                if page["taskArns"]:
                    answer = self._client.describe_tasks(cluster=self._cluster, tasks=page["taskArns"])
                    rows += [task_row(task) for task in answer["tasks"]]
        if not stopped:
            rows = [row for row in rows if row["status"] != "STOPPED"]
        return sorted(rows, key=lambda row: (row["group"], row["task"]))

    def scale(self, service: str, count: int) -> Row:
        """Set the desired count of a service."""
        return self._update(service, desiredCount=count)

    def deploy(self, service: str, definition: Path | str | None) -> Row:
        """Deploy a service again: with a definition from a file, with a registered one, or with the one it has."""
        if definition is None:
            return self._update(service, forceNewDeployment=True)
        return self._update(service, taskDefinition=self._registered(definition))

    def _update(self, service: str, **change: Any) -> Row:
        try:
            answer = self._call(lambda: self._client.update_service(cluster=self._cluster, service=service, **change))
        except _NotFoundError as error:
            arns = self._call(lambda: self._client.list_services(cluster=self._cluster, maxResults=100))["serviceArns"]
            known = sorted(arn.rpartition("/")[2] for arn in arns)
            raise LocalError(f"there is no service {service}{suggestion(service, known)}") from error
        return service_row(answer["service"])

    def service(self, name: str) -> Row:
        """Return the state of a service."""
        answer = self._call(lambda: self._client.describe_services(cluster=self._cluster, services=[name]))
        if not answer["services"]:
            raise LocalError(f"there is no service {name}")
        return service_row(answer["services"][0])

    def wait_for_rollout(self, begun: Row, seconds: float) -> Row:
        """Return the service's row when what began with the row is done. Raises LocalError."""
        name, deployment = begun["service"], begun["deployment"]
        deadline = time.monotonic() + seconds
        while True:
            row = self.service(name)
            is_steady = row["steady_event"] != begun["steady_event"]
            if is_steady and row["rollout"] == "COMPLETED" and row["deployment"] == deployment:
                return row
            late = time.monotonic() >= deadline
            lost = row["deployment"] != deployment or row["rollout"] == "FAILED"
            if lost or late or row["failed"] >= _HOPELESS:
                raise LocalError(
                    "; ".join((self._verdict(row, deployment, seconds), *self._failures(name, deployment)))
                )
            time.sleep(_PAUSE)

    def _verdict(self, row: Row, deployment: str, seconds: float) -> str:
        if row["deployment"] != deployment:
            return f"the deployment of {row['service']} was replaced: {row['reason']}"
        if row["rollout"] == "FAILED":
            return f"the deployment of {row['service']} failed: {row['reason']}"
        if row["failed"] >= _HOPELESS:
            return f"the deployment of {row['service']} does not get on: {row['failed']} of its tasks failed"
        shown = {key: row[key] for key in ("definition", "desired", "running", "pending", "rollout")}
        return f"{row['service']} is not done after {seconds:g} s: {json.dumps(shown)}"

    def wait_for_run(self, task_id: str, seconds: float) -> Row:
        """Return the row of a task that goes on running, or has ended with success. Raises LocalError."""
        row = settled(lambda: self.task(task_id), seconds)
        if row["status"] == "STOPPED":
            self._check_end(task_id)
        return row

    def _check_end(self, task_id: str) -> None:
        answer = self._call(lambda: self._client.describe_tasks(cluster=self._cluster, tasks=[task_id]))
        [task] = answer["tasks"]
        codes = [container.get("exitCode") for container in task["containers"]]
        if task.get("stopCode") == "TaskFailedToStart" or any(codes):
            raise LocalError(self._ended(task))

    def _failures(self, service: str, deployment: str) -> list[str]:
        """Return the last task of the deployment that ended by itself, in words; empty if none did."""
        listed = self._call(
            lambda: self._client.list_tasks(cluster=self._cluster, serviceName=service, desiredStatus="STOPPED")
        )
        if not listed["taskArns"]:
            return []
        answer = self._call(
            lambda: self._client.describe_tasks(cluster=self._cluster, tasks=listed["taskArns"][-_MOST_TASKS:])
        )
        ended = [
            task
            for task in answer["tasks"]
            if task.get("startedBy") == deployment and task.get("stopCode") != "UserInitiated"
        ]
        return [self._ended(max(ended, key=lambda task: task["createdAt"]))] if ended else []

    def _ended(self, task: Mapping[str, Any]) -> str:
        """Return why a task ended, with the container that ended first and its log."""
        task_id = task["taskArn"].rpartition("/")[2]
        said = f"task {task_id[:8]} ended: {task.get('stoppedReason', 'unknown reason')}"
        for container in task["containers"]:
            code, reason = container.get("exitCode"), container.get("reason")
            if code or reason:
                what = f"exited with {code}" if reason is None else str(reason)
                log = self._state_directory / "tasks" / task_id / f"{container['name']}.log"
                return f"{said}: container {container['name']} {what}; its log is {log}"
        return said

    def run(self, definition: Path | str) -> Row:
        """Start a task that belongs to no service."""
        name = self._registered(definition)
        answer = self._call(lambda: self._client.run_task(cluster=self._cluster, taskDefinition=name))
        return task_row(answer["tasks"][0])

    def stop(self, task: str) -> Row:
        """Stop a task; the beginning of its id is enough."""
        answer = self._call(lambda: self._client.stop_task(cluster=self._cluster, task=task))
        return task_row(answer["task"])

    def task(self, task_id: str) -> Row:
        """Return the state of a task."""
        answer = self._call(lambda: self._client.describe_tasks(cluster=self._cluster, tasks=[task_id]))
        if not answer["tasks"]:
            raise LocalError(f"there is no task {task_id}")
        return task_row(answer["tasks"][0])

    def _registered(self, definition: Path | str) -> str:
        """Return the name of a definition; one from a file is registered as a new revision first."""
        if isinstance(definition, str):
            return definition
        try:
            document = json.loads(definition.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LocalError(f"{definition}: {error}") from error
        if not isinstance(document, dict):
            raise LocalError(f"{definition}: not a task definition")
        answer = self._call(lambda: self._client.register_task_definition(**document))
        return answer["taskDefinition"]["taskDefinitionArn"]

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClientError as error:
            kind = _NotFoundError if error.response["Error"]["Code"] == "ServiceNotFoundException" else LocalError
            raise kind(error.response["Error"]["Message"]) from error
        except BotoCoreError as error:
            raise LocalError(str(error)) from error


def task_row(task: Mapping[str, Any]) -> Row:
    """Return the row of a task of DescribeTasks."""
    details = {d["name"]: d["value"] for attachment in task["attachments"] for d in attachment["details"]}
    return {
        "task": task["taskArn"].rpartition("/")[2],
        "group": task["group"],
        "definition": task["taskDefinitionArn"].rpartition("/")[2],
        "zone": task["availabilityZone"],
        "address": details.get("privateIPv4Address"),
        "status": task["lastStatus"],
        "desired": task["desiredStatus"],
        "health": task["healthStatus"],
        "stopped_reason": task.get("stoppedReason"),
    }


def service_row(service: Mapping[str, Any]) -> Row:
    """Return the row of a service of DescribeServices."""
    primary = service["deployments"][0]
    state = primary["rolloutState"]
    if state == "COMPLETED" and not _as_wished(service):
        state = "IN_PROGRESS"  # the deployment was done; a change of the desired count is not
    said = (event["id"] for event in service.get("events", ()) if event["message"].endswith(_STEADY))
    return {
        "service": service["serviceName"],
        "definition": service["taskDefinition"].rpartition("/")[2],
        "desired": service["desiredCount"],
        "running": service["runningCount"],
        "pending": service["pendingCount"],
        "rollout": state,
        "deployment": primary["id"],
        "failed": primary["failedTasks"],
        "reason": primary["rolloutStateReason"],
        "steady_event": next(said, None),  # the newest comes first
    }


def _as_wished(service: Mapping[str, Any]) -> bool:
    """Say whether a service has the tasks that it should have, and no others."""
    counts = (service["runningCount"], service["pendingCount"])
    return len(service["deployments"]) == 1 and counts == (service["desiredCount"], 0)


def settled(read: Callable[[], Row], seconds: float, pause: Callable[[float], None] = time.sleep) -> Row:
    """Return the row of a task that is still RUNNING at a second look, or STOPPED. Raises LocalError as `until`."""

    def runs_or_ended(row: Row) -> bool:
        return row["status"] in ("RUNNING", "STOPPED")

    row = until(read, runs_or_ended, seconds, pause)
    if row["status"] == "STOPPED":
        return row
    pause(_SETTLE)
    return until(read, runs_or_ended, seconds, pause)


def until(
    read: Callable[[], Row],
    done: Callable[[Row], bool],
    seconds: float,
    pause: Callable[[float], None] = time.sleep,
) -> Row:
    """Return the row as soon as it is as it should be. Raises LocalError when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not done(row := read()):
        if time.monotonic() >= deadline:
            raise LocalError(f"not done after {seconds:g} s: {json.dumps(dict(row))}")
        pause(_PAUSE)
    return row
