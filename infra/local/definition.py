"""Task definitions: the JSON that `aws ecs register-task-definition` takes, checked and made into values.

What is read is what changes how a task runs here; the rest of the document is kept as it is and given back by
DescribeTaskDefinition. Names and defaults are those of the ECS API (RegisterTaskDefinition,
ContainerDefinition, HealthCheck). A document that ECS would refuse is refused with a message that names the
container and the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Any, Final

from infra.local import api_model, ecs_rules
from infra.local.identity import DEFAULT_ROLE
from infra.local.settings import ACCOUNT, LocalError

SIDECAR_LABEL: Final = "tramo.sidecar"
GATE_LABEL: Final = "tramo.gate"
_USER: Final = re.compile(r"\d{1,9}(:\d{1,9})?")
_PROXY_PROPERTIES: Final = frozenset(
    (
        "IgnoredUID",
        "IgnoredGID",
        "AppPorts",
        "ProxyIngressPort",
        "ProxyEgressPort",
        "EgressIgnoredPorts",
        "EgressIgnoredIPs",
    )
)
_SYSTEM_CONTROL: Final = re.compile(r"net(\.[a-z0-9_-]+)+")
_FAMILY: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")


class DefinitionError(LocalError):
    """ECS would not register this task definition, or it cannot run on this machine."""


class Condition(StrEnum):
    """What a container waits for in another one."""

    START = "START"
    COMPLETE = "COMPLETE"
    SUCCESS = "SUCCESS"
    HEALTHY = "HEALTHY"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A container's health check; times in seconds, defaults are ECS's."""

    command: tuple[str, ...]
    interval: float = 30
    timeout: float = 5
    retries: int = 3
    start_period: float = 0


@dataclass(frozen=True, slots=True)
class ProxyConfiguration:
    """What ECS redirects to a proxy in the task's network namespace; the fields are those of type APPMESH."""

    egress_port: int
    ingress_port: int | None = None
    app_ports: tuple[int, ...] = ()
    ignored_uid: int | None = None
    ignored_gid: int | None = None
    ignored_ports: tuple[int, ...] = ()
    ignored_networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """One container definition, as far as it concerns a process."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    essential: bool
    depends_on: tuple[tuple[str, Condition], ...]
    health_check: HealthCheck | None
    stop_timeout: float | None
    start_timeout: float | None
    cpu: int
    memory: int | None
    user: str | None = None  # "uid" or "uid:gid"
    read_only: bool = False  # its root file system
    system_controls: tuple[tuple[str, str], ...] = ()  # of the task's network namespace

    @property
    def is_sidecar(self) -> bool:
        """True for the container that is the mesh's proxy."""
        return self.labels.get(SIDECAR_LABEL) == "true"

    @property
    def is_gate(self) -> bool:
        """Say whether this is the gate, which asks the sidecar's admin pages."""
        return self.labels.get(GATE_LABEL) == "true"


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A registered revision. `document` is what DescribeTaskDefinition answers."""

    family: str
    revision: int
    containers: tuple[Container, ...]
    proxy: ProxyConfiguration | None
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return family:revision."""
        return f"{self.family}:{self.revision}"

    @property
    def arn(self) -> str:
        """Return the ARN."""
        return str(self.document["taskDefinitionArn"])


def parse(document: Mapping[str, Any], *, revision: int, region: str) -> TaskDefinition:
    """Check a RegisterTaskDefinition input and return it as the given revision of its family.

    Raises DefinitionError.
    """
    if mistakes := api_model.mistakes("RegisterTaskDefinition", document):
        raise DefinitionError("; ".join(mistakes))
    family = document["family"]
    if not _FAMILY.fullmatch(family):
        raise DefinitionError(f"family: {family!r} is not a name of letters, digits, '_' and '-'")
    raw = document["containerDefinitions"]
    if not 1 <= len(raw) <= 10:
        raise DefinitionError(f"{family}: containerDefinitions must list 1 to 10 containers")
    if mistakes := ecs_rules.task_definition(document):
        raise DefinitionError("; ".join(mistakes))
    containers = tuple(_container(family, entry) for entry in raw)
    _check_names(family, containers)
    stored = {
        "status": "ACTIVE",
        "networkMode": "awsvpc",
        "compatibilities": ["EC2", "FARGATE"],
        "volumes": [],
        "placementConstraints": [],
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{DEFAULT_ROLE}",
        **document,
        "revision": revision,
        "taskDefinitionArn": f"arn:aws:ecs:{region}:{ACCOUNT}:task-definition/{family}:{revision}",
    }
    if stored["networkMode"] != "awsvpc":
        raise DefinitionError(f"{family}: networkMode {stored['networkMode']!r} does not run here, only awsvpc")
    proxy = _proxy(family, document.get("proxyConfiguration"), containers)
    return TaskDefinition(family, revision, containers, proxy, stored)


def _container(family: str, raw: Mapping[str, Any]) -> Container:
    where = f"{family}: container {raw['name']!r}"
    if raw.get("secrets"):
        raise DefinitionError(f"{where}: secrets cannot be resolved on this machine, use environment")
    labels = dict(raw.get("dockerLabels", {}))
    command = (*raw.get("entryPoint", ()), *raw.get("command", ()))
    if not command and labels.get(SIDECAR_LABEL) != "true":
        raise DefinitionError(f"{where}: an image cannot be run here, give entryPoint or command")
    environment = raw.get("environment", [])
    if not all("name" in entry for entry in environment):
        raise DefinitionError(f"{where}: every entry of environment needs a name")
    return Container(
        name=raw["name"],
        image=str(raw.get("image", "")),
        command=command,
        environment={str(entry["name"]): str(entry.get("value", "")) for entry in environment},
        labels=labels,
        essential=raw.get("essential", True),
        depends_on=_depends_on(where, raw.get("dependsOn", [])),
        health_check=_health_check(where, raw.get("healthCheck")),
        stop_timeout=_seconds(where, "stopTimeout", raw.get("stopTimeout")),
        start_timeout=_seconds(where, "startTimeout", raw.get("startTimeout")),
        cpu=int(raw.get("cpu", 0)),
        memory=int(raw["memory"]) if "memory" in raw else None,
        user=_user(where, raw.get("user")),
        read_only=raw.get("readonlyRootFilesystem", False),
        system_controls=_system_controls(where, raw.get("systemControls", [])),
    )


def _user(where: str, raw: str | None) -> str | None:
    """Return the user as numbers. Names are in the image, which is not here."""
    if raw is None:
        return None
    if not _USER.fullmatch(raw):
        raise DefinitionError(f'{where}: user {raw!r} must be "uid" or "uid:gid" in numbers on this machine')
    return raw


def _system_controls(where: str, raw: list[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return kernel parameters with their values. In awsvpc mode they are those of the task's network namespace."""
    found = tuple((each.get("namespace", ""), each.get("value", "")) for each in raw)
    for name, value in found:
        if not _SYSTEM_CONTROL.fullmatch(name) or not value:
            raise DefinitionError(f"{where}: systemControls: {name!r} must be a parameter net.… with a value")
    return found


def _proxy(family: str, raw: Mapping[str, Any] | None, containers: tuple[Container, ...]) -> ProxyConfiguration | None:
    """Return what the task's proxyConfiguration says; what must stand there is what ECS's CNI plugin asks for."""
    if raw is None:
        return None
    where = f"{family}: proxyConfiguration"
    if raw.get("type", "APPMESH") != "APPMESH":
        raise DefinitionError(f"{where}: type must be APPMESH")
    if raw.get("containerName") not in {container.name for container in containers}:
        raise DefinitionError(f"{where}: containerName {raw.get('containerName')!r} is not in the definition")
    properties = raw.get("properties", [])
    values = {p.get("name", ""): p.get("value", "") for p in properties}
    if unknown := set(values) - _PROXY_PROPERTIES:
        raise DefinitionError(f"{where}: {min(unknown)} is none of {', '.join(sorted(_PROXY_PROPERTIES))}")

    def ports(name: str) -> tuple[int, ...]:
        return tuple(_number(where, name, part, 1, 65535) for part in values.get(name, "").split(",") if part.strip())

    def number(name: str, least: int, most: int) -> int | None:
        return _number(where, name, values[name], least, most) if values.get(name) else None

    egress, ingress = number("ProxyEgressPort", 1, 65535), number("ProxyIngressPort", 1, 65535)
    uid, gid = number("IgnoredUID", 0, 2**32 - 2), number("IgnoredGID", 0, 2**32 - 2)
    if egress is None:
        raise DefinitionError(f"{where}: ProxyEgressPort is missing")
    if uid is None and gid is None:
        raise DefinitionError(f"{where}: IgnoredUID or IgnoredGID must be there, else the proxy calls itself")
    if ports("AppPorts") and ingress is None:
        raise DefinitionError(f"{where}: AppPorts needs ProxyIngressPort")
    networks = tuple(part.strip() for part in values.get("EgressIgnoredIPs", "").split(",") if part.strip())
    for network in networks:
        try:
            IPv4Network(network)
        except ValueError as error:
            raise DefinitionError(f"{where}: EgressIgnoredIPs: {error}") from error
    return ProxyConfiguration(egress, ingress, ports("AppPorts"), uid, gid, ports("EgressIgnoredPorts"), networks)


def _number(where: str, field: str, text: str, least: int, most: int) -> int:
    if not text.strip().isdecimal() or not least <= int(text) <= most:
        raise DefinitionError(f"{where}: {field} must be {least} to {most}, not {text!r}")
    return int(text)


def _depends_on(where: str, raw: Sequence[Mapping[str, str]]) -> tuple[tuple[str, Condition], ...]:
    found: list[tuple[str, Condition]] = []
    for entry in raw:
        try:
            found.append((entry["containerName"], Condition(entry["condition"])))
        except (KeyError, ValueError) as error:
            raise DefinitionError(
                f"{where}: dependsOn needs containerName and one of {', '.join(Condition)}, not {entry!r}"
            ) from error
    return tuple(found)


def _health_check(where: str, raw: Mapping[str, Any] | None) -> HealthCheck | None:
    if raw is None:
        return None
    command = tuple(raw["command"])
    if not command or command[0] not in ("CMD", "CMD-SHELL", "NONE"):
        raise DefinitionError(f"{where}: healthCheck.command must begin with CMD or CMD-SHELL")
    if command[0] == "NONE":
        return None
    if len(command) < 2:
        raise DefinitionError(f"{where}: healthCheck.command names no command")
    argv = ("/bin/sh", "-c", *command[1:]) if command[0] == "CMD-SHELL" else command[1:]
    # The ranges are those of the HealthCheck type in the ECS API.
    return HealthCheck(
        command=argv,
        interval=_within(where, "interval", raw.get("interval", 30), 5, 300),
        timeout=_within(where, "timeout", raw.get("timeout", 5), 2, 60),
        retries=int(_within(where, "retries", raw.get("retries", 3), 1, 10)),
        start_period=_within(where, "startPeriod", raw.get("startPeriod", 0), 0, 300),
    )


def _check_names(family: str, containers: tuple[Container, ...]) -> None:
    names = [container.name for container in containers]
    if len(set(names)) != len(names):
        raise DefinitionError(f"{family}: two containers have the same name")
    if not any(container.essential for container in containers):
        raise DefinitionError(f"{family}: at least one container must be essential")
    by_name = {container.name: container for container in containers}
    for container in containers:
        for name, condition in container.depends_on:
            where = f"{family}: container {container.name!r} depends on {name!r}"
            if name not in by_name:
                raise DefinitionError(f"{where}, which is not in the definition")
            if condition is Condition.HEALTHY and by_name[name].health_check is None:
                raise DefinitionError(f"{where} to be HEALTHY, but that one has no healthCheck")
            if condition in (Condition.COMPLETE, Condition.SUCCESS) and by_name[name].essential:
                raise DefinitionError(f"{where} to end, but that one is essential")
    resolved: set[str] = set()
    while ready := {c.name for c in containers if {n for n, _ in c.depends_on} <= resolved} - resolved:
        resolved |= ready
    if len(resolved) < len(containers):
        raise DefinitionError(f"{family}: dependsOn goes round in a circle: {', '.join(sorted(set(names) - resolved))}")


def _seconds(where: str, field: str, raw: object) -> float | None:
    return None if raw is None else _within(where, field, raw, 0, 120)


def _within(where: str, field: str, raw: object, least: float, most: float) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not least <= raw <= most:
        raise DefinitionError(f"{where}: {field} must be {least} to {most}, not {raw!r}")
    return raw
