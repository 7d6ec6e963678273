"""What ECS tells a task about itself: the task metadata endpoint, version 4.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
import urllib3

from sidecar.core.label import NAME as LABEL
from sidecar.core.label import PREFIX

GATE_LABEL: Final = "tramo.gate"
SECONDS: Final = 1.0
IDENTIFY_ATTEMPTS: Final = 8
IDENTIFY_PAUSE_SECONDS: Final = 0.25
"""At worst 10 s, of the minute or so that a sidecar has to become healthy."""


Document = TypeVar("Document", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """Who this task is; empty where it is not known."""

    task_id: str = ""
    service_name: str = ""
    cluster_name: str = ""
    zone: str = ""
    region: str = ""
    label: str = ""  # tramo.service-connect, of a container that exists already
    task_arn: str = ""
    family: str = ""  # of the task definition
    revision: str = ""
    launch_type: str = ""


@dataclass(frozen=True, slots=True)
class TaskHealth:
    """What ECS holds of the task: HEALTHY, UNHEALTHY or UNKNOWN, and since when (ISO 8601)."""

    status: str
    since: str


@dataclass(frozen=True, slots=True)
class TaskReading:
    """What changes in a task's life: its health, None while no container has a check, and whether ECS stops it.

    `labels` are container, name and text of each label of ours: a container is shown once it exists.
    """

    health: TaskHealth | None
    is_stopping: bool = False
    labels: frozenset[tuple[str, str, str]] = frozenset()


class MetadataError(Exception):
    """The task metadata endpoint gave no answer."""


class _Health(msgspec.Struct):
    status: str = "UNKNOWN"
    statusSince: str = ""  # noqa: N815 - AWS's name


class _Limits(msgspec.Struct, frozen=True):
    Memory: float = 0  # MiB


class _Container(msgspec.Struct):
    Name: str = ""
    Health: _Health | None = None
    Labels: dict[str, str] = {}
    Limits: _Limits = _Limits()


class _Task(msgspec.Struct):
    TaskARN: str = ""
    Cluster: str = ""
    Family: str = ""
    Revision: str = ""
    LaunchType: str = ""
    ServiceName: str = ""
    AvailabilityZone: str = ""
    DesiredStatus: str = ""
    Containers: list[_Container] = []
    Limits: _Limits = _Limits()


class TaskMetadata:
    """The task metadata endpoint."""

    def __init__(self, uri: str) -> None:
        self._own_url = uri
        self._url = f"{uri}/task"
        self._http = urllib3.PoolManager(maxsize=1, timeout=SECONDS, retries=False)

    def identity(self) -> TaskIdentity:
        """Return who this task is. Raises MetadataError."""
        task = self._read()
        return TaskIdentity(
            task_id=task.TaskARN.rpartition("/")[2],
            service_name=task.ServiceName,
            cluster_name=task.Cluster.rpartition("/")[2],
            zone=task.AvailabilityZone,
            region=task.TaskARN.split(":")[3] if task.TaskARN.startswith("arn:") else "",
            label=next((each.Labels[LABEL] for each in task.Containers if LABEL in each.Labels), ""),
            task_arn=task.TaskARN,
            family=task.Family,
            revision=task.Revision,
            launch_type=task.LaunchType,
        )

    def reading(self) -> TaskReading:
        """Return how ECS holds the task now. Raises MetadataError.

        The gate's health does not count: it waits for callers to know what follows from the others'.
        """
        task = self._read()
        containers = [each for each in task.Containers if each.Labels.get(GATE_LABEL) != "true"]
        health = combine([container.Health for container in containers if container.Health is not None])
        labels = frozenset(
            (container.Name, name, text)
            for container in task.Containers
            for name, text in container.Labels.items()
            if name.startswith(PREFIX)
        )
        return TaskReading(health, task.DesiredStatus == "STOPPED", labels)

    def memory_limit(self) -> int | None:
        """Return the bytes that this container may use: its own limit or else the task's. Raises MetadataError."""
        own = self._get(self._own_url, _Container)
        limit = own.Limits.Memory or self._read().Limits.Memory
        return int(limit) << 20 if limit > 0 else None

    def _read(self) -> _Task:
        return self._get(self._url, _Task)

    def _get(self, url: str, kind: type[Document]) -> Document:
        try:
            response = self._http.request("GET", url)
            return msgspec.json.decode(response.data, type=kind)
        except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
            raise MetadataError(f"the task metadata endpoint {url} gave no answer: {error}") from error


def identify(read: Callable[[], TaskIdentity], pause: Callable[[float], None] = time.sleep) -> TaskIdentity:
    """Return who this task is, asking again while the endpoint is not there yet. Raises MetadataError at last.

    A task that does not know itself reports no health for all its life, so others learn of it a minute later.
    """
    for _ in range(IDENTIFY_ATTEMPTS - 1):
        try:
            return read()
        except MetadataError:
            pause(IDENTIFY_PAUSE_SECONDS)
    return read()


def combine(found: list[_Health]) -> TaskHealth | None:
    """Return one health of several: the worst, since the latest change. ECS judges a task in the same way."""
    if not found:
        return None
    since = max(health.statusSince for health in found)
    for status in ("UNHEALTHY", "UNKNOWN"):
        if any(health.status == status for health in found):
            return TaskHealth(status, since)
    return TaskHealth("HEALTHY", since)
