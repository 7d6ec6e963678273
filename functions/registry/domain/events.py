"""A task's state as ECS tells it, from an event or from an API answer. Pure.

Rules:
1. Only what the registry needs is kept; unknown fields are ignored. Of `overrides` only the task role is looked
   at: containers' environments may hold secrets.
2. Attachments are selected by their type, never by their place: a task may have several.
3. What may come late (address, start time) is None until it is there. What must be there and is not, is named
   in the error.
4. Times are epoch seconds. Events write them as ISO texts, the API as datetimes.
5. What breaks a bound (`bounds.py`) is an error that names the field. Reasons, which only people read, are
   shortened instead.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

from registry.domain.bounds import (
    ID_CHARACTERS,
    LARGEST_VERSION,
    QUOTED_CHARACTERS,
    REASON_CHARACTERS,
    TEXT_CHARACTERS,
    ip_address,
    is_time,
    shortened,
)
from registry.domain.reports import Health

DETAIL_TYPE: Final = "ECS Task State Change"

_HEALTH: Final[Mapping[object, Health]] = {each.value: each for each in Health}

# Events say "eni", DescribeTasks says "ElasticNetworkInterface" for the same attachment.
_NETWORK_INTERFACE_TYPES: Final = frozenset({"eni", "ElasticNetworkInterface"})


class EventError(Exception):
    """The input is not an ECS task's state.

    Attributes: field (JSON path at fault), reason, task (the task's ARN if known).
    """

    def __init__(self, field: str, reason: str, task: str | None = None) -> None:
        self.field = field
        self.reason = reason
        self.task = task
        super().__init__(f"{field}: {reason}" + (f" (task {task})" if task else ""))


@dataclass(frozen=True, slots=True)
class PortBinding:
    """In bridge mode: the host's port behind which a container's port is."""

    container: str
    container_port: int
    host_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What an event says of a task and the registry keeps as it is. Times are epoch seconds.

    `version` is higher for what is later, whatever the order of arrival.
    """

    task_arn: str
    cluster_arn: str
    version: int
    last_status: str
    desired_status: str
    group: str | None
    started_by: str | None
    launch_type: str | None
    zone: str | None
    address: str | None
    created_at: float | None
    started_at: float | None
    stopping_at: float | None
    stopped_at: float | None
    changed_at: float
    stop_code: str | None
    stopped_reason: str | None

    @property
    def task_id(self) -> str:
        """The last part of the ARN; it is unique in the account and region."""
        return self.task_arn.rpartition("/")[2]

    def facts(self) -> dict[str, Any]:
        """Return these facts by name, without what a subclass adds."""
        return {each.name: getattr(self, each.name) for each in fields(TaskFacts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(TaskFacts):
    """One version of a task.

    `address` is the task's own address (awsvpc), IPv4 before IPv6; `bindings` are its host ports (bridge).
    `health` is only in API answers: HEALTHY or UNHEALTHY, None for UNKNOWN or not said; `container_health` has the
    same of each container, by name, without those of which nothing is known.
    `role_override` is the task role that RunTask gave in the place of the definition's.
    """

    task_definition_arn: str
    container_instance_arn: str | None
    bindings: tuple[PortBinding, ...]
    health: Health | None
    container_health: Mapping[str, Health] = field(default_factory=dict)
    role_override: str | None = None


def parse_event(event: object) -> TaskEvent:
    """Return the task in an EventBridge event. Raises EventError, also when the event is of another kind."""
    if not isinstance(event, Mapping):
        raise EventError("$", f"an EventBridge event is an object, this is {type(event).__name__}")
    if event.get("source") != "aws.ecs":
        raise EventError("source", f'"aws.ecs" was expected, this is {_quoted(event.get("source"))}')
    if event.get("detail-type") != DETAIL_TYPE:
        raise EventError("detail-type", f'"{DETAIL_TYPE}" was expected, this is {_quoted(event.get("detail-type"))}')
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise EventError("detail", "it is missing or not an object")
    return _parse(detail, "detail.", fallback_time=event.get("time"))


def parse_task(task: Mapping[str, Any], now: float) -> TaskEvent:
    """Return the task in one element of DescribeTasks' `tasks`, read at `now`. Raises EventError."""
    return _parse(task, "tasks[].", fallback_time=now)


def _parse(task: Mapping[str, Any], prefix: str, fallback_time: object) -> TaskEvent:
    arn = task.get("taskArn")
    known_arn = shortened(arn, TEXT_CHARACTERS) if isinstance(arn, str) else None

    def bounded(field: str, value: str, characters: int = TEXT_CHARACTERS) -> str:
        if len(value) > characters:
            raise EventError(prefix + field, f"it has {len(value)} of at most {characters} characters", known_arn)
        return value

    def text(field: str) -> str:
        value = task.get(field)
        if not isinstance(value, str) or not value:
            raise EventError(prefix + field, "it is missing or not a text", known_arn)
        return bounded(field, value)

    def optional(field: str) -> str | None:
        value = task.get(field)
        return bounded(field, value) if isinstance(value, str) and value else None

    def time(field: str) -> float | None:
        return epoch(task.get(field), prefix + field, known_arn)

    version = task.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= LARGEST_VERSION:
        raise EventError(
            prefix + "version",
            f"a whole number from 0 to {LARGEST_VERSION} was expected, this is {_quoted(version)}",
            known_arn,
        )
    task_arn = text("taskArn")
    bounded("taskArn", task_arn.rpartition("/")[2], ID_CHARACTERS)
    reason = task.get("stoppedReason")
    changes = (time("stoppedAt"), time("stoppingAt"), time("startedAt"), time("createdAt"))
    changed_at = time("updatedAt")
    if changed_at is None:
        # The API has no updatedAt: the latest of the times it tells is when the task last changed.
        changed_at = max((change for change in changes if change is not None), default=None)
    if changed_at is None:
        changed_at = epoch(fallback_time, "time", known_arn)
    if changed_at is None:
        raise EventError(prefix + "updatedAt", "neither it nor any other time is there", known_arn)
    return TaskEvent(
        task_arn=task_arn,
        cluster_arn=text("clusterArn"),
        task_definition_arn=text("taskDefinitionArn"),
        version=version,
        last_status=text("lastStatus"),
        desired_status=text("desiredStatus"),
        group=optional("group"),
        started_by=optional("startedBy"),
        launch_type=optional("launchType"),
        zone=optional("availabilityZone"),
        container_instance_arn=optional("containerInstanceArn"),
        address=_address(task, prefix, known_arn),
        bindings=_bindings(task),
        created_at=time("createdAt"),
        started_at=time("startedAt"),
        stopping_at=time("stoppingAt"),
        stopped_at=time("stoppedAt"),
        changed_at=changed_at,
        stop_code=optional("stopCode"),
        stopped_reason=shortened(reason, REASON_CHARACTERS) if isinstance(reason, str) and reason else None,
        health=_HEALTH.get(optional("healthStatus")),
        container_health={
            str(container.get("name")): _HEALTH[container["healthStatus"]]
            for container in _objects(task.get("containers"))
            if isinstance(container.get("healthStatus"), str) and container["healthStatus"] in _HEALTH
        },
        role_override=_role_override(task),
    )


def epoch(value: object, field: str, task: str | None) -> float | None:
    """Return a time of ECS's in epoch seconds, None for none. Raises EventError that names field and task."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise EventError(field, f"{_quoted(value)} is not an ISO 8601 time", task) from error
    if isinstance(value, datetime):
        seconds = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    else:
        raise EventError(field, f"a time was expected, this is {type(value).__name__}", task)
    if not is_time(seconds):
        raise EventError(field, f"{_quoted(seconds)} is no time between 1970 and 2100 in epoch seconds", task)
    return float(seconds)


def _quoted(value: object) -> str:
    return shortened(repr(value), QUOTED_CHARACTERS)


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _role_override(task: Mapping[str, Any]) -> str | None:
    overrides = task.get("overrides")
    role = overrides.get("taskRoleArn") if isinstance(overrides, Mapping) else None
    return role if isinstance(role, str) and role else None


def _address(task: Mapping[str, Any], prefix: str, arn: str | None) -> str | None:
    """Return the address of the task's network interface, from the attachment, else from its containers.

    Raises EventError for one that no sidecar can connect to.
    """
    found: dict[str, str] = {}
    for attachment in _objects(task.get("attachments")):
        if attachment.get("type") in _NETWORK_INTERFACE_TYPES:
            for detail in _objects(attachment.get("details")):
                name, value = detail.get("name"), detail.get("value")
                if isinstance(name, str) and isinstance(value, str) and value:
                    found.setdefault(name.lower(), value)
    for container in _objects(task.get("containers")):
        for interface in _objects(container.get("networkInterfaces")):
            for name in ("privateIpv4Address", "ipv6Address"):
                if isinstance(interface.get(name), str) and interface[name]:
                    found.setdefault(name.lower(), interface[name])
    for name in ("privateipv4address", "privateipv6address", "ipv6address"):
        if name in found:
            address = ip_address(found[name])
            if address is None:
                raise EventError(f"{prefix}attachments ({name})", f"{_quoted(found[name])} is no IP address", arn)
            return address
    return None


def _is_port(value: object) -> TypeGuard[int]:
    """Return whether it is a port that may be known already: ECS writes 0 for one that is not."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _bindings(task: Mapping[str, Any]) -> tuple[PortBinding, ...]:
    """Return the TCP bindings of all containers, each once: Docker reports IPv4 and IPv6 apart."""
    found: dict[PortBinding, None] = {}
    for container in _objects(task.get("containers")):
        for binding in _objects(container.get("networkBindings")):
            container_port, host_port = binding.get("containerPort"), binding.get("hostPort")
            if _is_port(container_port) and _is_port(host_port) and binding.get("protocol", "tcp") == "tcp":
                found[PortBinding(str(container.get("name")), container_port, host_port)] = None
    return tuple(found)
