"""What RegisterTaskDefinition and CreateService refuse beyond names and types, as rules on their inputs.

From the ECS API reference (PortMapping, ContainerDefinition, DeploymentConfiguration), "Amazon ECS task definition
parameters" and "Amazon ECS service quotas". Every rule returns mistakes with the path of the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

MOST_TASKS: Final = 5_000  # of a service
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PORT_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,63}")
_APP_PROTOCOLS: Final = ("http", "http2", "grpc")
_LEAST_MEMORY: Final = 6  # MiB, Docker's least
_AMOUNT: Final = re.compile(r"(\d+|\d*\.\d+) *(vCPU|GB)?", re.IGNORECASE)
_GB: Final = 1024
_FARGATE: Final[Mapping[int, Sequence[int]]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
"""CPU units, and the MiB of memory that a task on Fargate may have with them."""

Json = Mapping[str, Any]


def task_definition(document: Json) -> list[str]:
    """Return what ECS would refuse in a task definition whose names and types fit."""
    containers: Sequence[Json] = document["containerDefinitions"]
    return [*_containers(containers), *_ports(containers), *_memory(document, containers)]


def _containers(containers: Sequence[Json]) -> Iterator[str]:
    for place, container in enumerate(containers):
        where = f"containerDefinitions[{place}]"
        if not _NAME.fullmatch(container.get("name", "")):
            yield f"{where}.name must be 1 to 255 letters, digits, '_' and '-', not {container.get('name', '')!r}"
        if not container.get("image"):
            yield f"{where}.image is missing"
        if container.get("cpu", 0) < 0:
            yield f"{where}.cpu must be 0 or more, not {container['cpu']}"


def _ports(containers: Sequence[Json]) -> Iterator[str]:
    names: set[str] = set()
    for place, container in enumerate(containers):
        for number, mapping in enumerate(container.get("portMappings", [])):
            where = f"containerDefinitions[{place}].portMappings[{number}]"
            port, host = mapping.get("containerPort"), mapping.get("hostPort")
            if port is None:
                if "containerPortRange" not in mapping:
                    yield f"{where}.containerPort is missing"
            elif not 0 <= port <= 65535:
                yield f"{where}.containerPort must be 0 to 65535, not {port}"
            elif host not in (None, 0, port):
                yield f"{where}.hostPort must be containerPort ({port}) in awsvpc mode, not {host}"
            if mapping.get("protocol", "tcp") not in ("tcp", "udp"):
                yield f"{where}.protocol must be tcp or udp, not {mapping['protocol']!r}"
            protocol, name = mapping.get("appProtocol"), mapping.get("name")
            if protocol is not None and protocol not in _APP_PROTOCOLS:
                yield f"{where}.appProtocol must be one of {', '.join(_APP_PROTOCOLS)} or absent, not {protocol!r}"
            if name is not None and not _PORT_NAME.fullmatch(name):
                yield f"{where}.name must be 1 to 64 small letters, digits, '_' and '-', not {name!r}"
            if name is not None and name in names:
                yield f"{where}.name {name!r} is the name of another port"
            names.add(name or "")


def _memory(document: Json, containers: Sequence[Json]) -> Iterator[str]:
    try:
        cpu, memory = amount(document.get("cpu"), "vcpu"), amount(document.get("memory"), "gb")
    except ValueError as error:
        yield str(error)
        return
    if "FARGATE" in document.get("requiresCompatibilities", []):
        for name, value in (("cpu", cpu), ("memory", memory)):
            if value is None:
                yield f"{name} is missing: Fargate requires that '{name}' be defined at the task level"
        if cpu is not None and memory is not None and memory not in _FARGATE.get(cpu, ()):
            yield f"memory: No Fargate configuration exists for given values: {cpu} CPU, {memory} memory"
    needed = 0
    for place, container in enumerate(containers):
        hard, soft = container.get("memory"), container.get("memoryReservation")
        where = f"containerDefinitions[{place}]"
        if memory is None and hard is None and soft is None:
            yield f"{where}: at least one of 'memory' or 'memoryReservation' must be specified, here or for the task"
        if hard is not None and hard < _LEAST_MEMORY:
            yield f"{where}.memory must be {_LEAST_MEMORY} or more, not {hard}"
        if hard is not None and soft is not None and soft > hard:
            yield f"{where}.memoryReservation {soft} is more than memory {hard}"
        needed += soft if soft is not None else hard or 0
        if memory is not None and hard is not None and hard > memory:
            yield f"{where}.memory {hard} is more than the task's, {memory}"
    if memory is not None and needed > memory:
        yield f"memory: the containers need {needed} MiB together, the task has {memory}"


def amount(raw: str | None, unit: str) -> int | None:
    """Return CPU units or MiB: `256`, `.25 vCPU`, `1 GB`. Raises ValueError."""
    if raw is None:
        return None
    match = _AMOUNT.fullmatch(raw.strip())
    if match is None or (match[2] is not None and match[2].lower() != unit) or (match[2] is None and "." in match[1]):
        raise ValueError(f"{'cpu' if unit == 'vcpu' else 'memory'} is {raw!r}, which is no amount")
    return round(float(match[1]) * _GB) if match[2] else int(match[1])


def service(request: Json) -> list[str]:
    """Return what ECS would refuse in a service whose names and types fit, and what does not run on this machine."""
    return [*_service(request), *_deployment(request.get("deploymentConfiguration", {})), *_elsewhere(request)]


def _service(request: Json) -> Iterator[str]:
    name = request.get("serviceName", "")
    if not _NAME.fullmatch(name):
        yield f"serviceName must be 1 to 255 letters, digits, '_' and '-', not {name!r}"
    if "taskDefinition" not in request:
        yield "taskDefinition is missing"
    if mistake := desired_count(request.get("desiredCount", 1)):
        yield mistake


def desired_count(count: object) -> str | None:
    """Return what is wrong with a desired count, None if nothing is."""
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST_TASKS:
        return f"desiredCount must be 0 to {MOST_TASKS:,}, the quota of tasks per service, not {count!r}"
    return None


def _deployment(limits: Json) -> Iterator[str]:
    least, most = limits.get("minimumHealthyPercent", 100), limits.get("maximumPercent", 200)
    where = "deploymentConfiguration"
    if not 0 <= least <= 100:
        yield f"{where}.minimumHealthyPercent must be 0 to 100, not {least}"
    if not 100 <= most <= 200:
        yield f"{where}.maximumPercent must be 100 to 200, not {most}"
    if least == most == 100:
        yield f"{where}: with minimumHealthyPercent and maximumPercent both 100 no deployment could replace a task"
    if limits.get("strategy", "ROLLING") != "ROLLING":
        yield f"{where}.strategy {limits['strategy']!r} does not run on this machine, only ROLLING"


def _elsewhere(request: Json) -> Iterator[str]:
    for field, remedy in (
        ("loadBalancers", "there is no load balancer"),
        ("serviceRegistries", "there is no Cloud Map"),
        ("volumeConfigurations", "there is no EBS"),
        ("serviceConnectConfiguration", "put it into the docker label tramo.service-connect of the task definition"),
    ):
        if request.get(field):
            yield f"{field} does not run on this machine: {remedy}"
    if request.get("schedulingStrategy", "REPLICA") != "REPLICA":
        yield "schedulingStrategy must be REPLICA on this machine"
    if request.get("deploymentController", {"type": "ECS"}).get("type") != "ECS":
        yield "deploymentController.type must be ECS on this machine"
