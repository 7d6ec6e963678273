"""A finished task definition from one that has only the user's own: containers, ports and the Service Connect block.

Rules:
- The sidecar and the gate are derived from `portMappings` and the label `tramo.service-connect`, so that each fact is
  written once.
- What the user wrote stays: other variables, labels, limits and log settings of the two containers too.
- Injecting again changes nothing.
- What would fail in ECS or in the mesh is an InjectError that says where it is and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from infra.gate import gate
from registry.domain.definition import GATE_LABEL, SIDECAR_LABEL, parse
from registry.domain.label import CONFIGURATION_LABEL
from registry.domain.offer import Definition, DefinitionError, Offer
from registry.domain.unknown_keys import unknown_keys

REDIRECT_PORT: Final = 15002
PROXY_PROPERTIES: Final = {
    "IgnoredGID": "1337",
    "ProxyEgressPort": str(REDIRECT_PORT),
    # All but 240.0.0.0/4, where the services' addresses are: no other traffic of the task is touched.
    "EgressIgnoredIPs": "0.0.0.0/1,128.0.0.0/2,192.0.0.0/3,224.0.0.0/4",
    # ECS wants these two; a port that nobody listens on for other hosts is sent to itself.
    "AppPorts": str(REDIRECT_PORT),
    "ProxyIngressPort": str(REDIRECT_PORT),
}
UNPRIVILEGED_PORTS: Final = {"namespace": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
HEALTH_CHECK: Final = {
    "command": ["CMD", "tramo-sidecar", "--ready"],
    "interval": 5,
    "timeout": 2,
    # ECS's most: a sidecar is not ready while its memory is short, and ECS replaces a task that is UNHEALTHY. In an
    # overload that would move the load of one task after another to those that are left.
    "retries": 10,
    "startPeriod": 60,
}
STOP_SECONDS: Final = 30
"""The sidecar's drain is 20 s at most, and ECS's own default of 30 s may be set otherwise on EC2."""
SIDECAR_CPU: Final = 64
SIDECAR_MEMORY: Final = 128

_DESCRIBED: Final = frozenset(
    (
        *("taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities", "registeredAt"),
        *("registeredBy", "deregisteredAt", "deleteRequestedAt"),
    )
)
"""What DescribeTaskDefinition says besides and RegisterTaskDefinition does not take."""

Container = dict[str, Any]


class InjectError(Exception):
    """The task definition cannot be finished."""


def warnings(document: Mapping[str, Any]) -> list[str]:
    """Return what of a finished task definition does nothing: labels and fields that nobody knows."""
    return [str(each) for each in unknown_keys(document)]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the task definition cannot say. Empty image, URL, table or collector: what the sidecar's container has."""

    image: str = ""
    api_url: str = ""
    redirect: bool = False
    user: str = "0"
    feed_table: str = ""
    otlp_endpoint: str = ""


def inject(document: Mapping[str, Any], settings: Settings, block: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the finished task definition, as RegisterTaskDefinition takes it.

    `document` is that form or DescribeTaskDefinition's answer; `block` is a serviceConnectConfiguration, or what holds
    one, such as the JSON of CreateService. Raises InjectError.
    """
    described = document.get("taskDefinition")
    task = deepcopy(dict(described if isinstance(described, dict) else document))
    for field in _DESCRIBED & set(task):
        del task[field]
    containers = _containers(task)
    if task.get("networkMode") != "awsvpc":
        raise InjectError(
            f"networkMode is {task.get('networkMode', 'not set')}; write awsvpc: app and sidecar share one network"
        )
    sidecar = _sidecar(containers, settings)
    _label(containers, sidecar, block)
    definition = _parsed(task)
    if not settings.redirect:
        _check_ports(definition.offers, containers)
    _finish_sidecar(sidecar, definition, settings, containers)
    _finish_gate(containers, sidecar, definition)
    _depend(containers, sidecar)
    _redirect(task, sidecar, settings)
    _check_size(task, containers)
    return task


def _containers(task: Mapping[str, Any]) -> list[Container]:
    containers = task.get("containerDefinitions")
    if not isinstance(containers, list) or not all(isinstance(each, dict) and each.get("name") for each in containers):
        raise InjectError("containerDefinitions is not a list of containers with names; is this a task definition?")
    if not containers:
        raise InjectError("containerDefinitions is empty: there is no app to put a sidecar beside")
    return containers


def _is_marked(container: Mapping[str, Any], label: str) -> bool:
    labels: Mapping[str, str] = container.get("dockerLabels") or {}
    return labels.get(label) == "true"


def _apps(containers: Sequence[Container]) -> Iterator[Container]:
    for each in containers:
        if not _is_marked(each, SIDECAR_LABEL) and not _is_marked(each, GATE_LABEL):
            yield each


def _label(containers: Sequence[Container], sidecar: Container, block: Any) -> None:
    """Put the block, else the label that some container has, on the sidecar.

    There the sidecar can read it from its start: a container that waits for the sidecar does not exist by then, and the
    task metadata do not show it.
    """
    text = None
    for each in containers:
        labels = each.get("dockerLabels") or {}
        text = labels.pop(CONFIGURATION_LABEL, text)
        if each.get("dockerLabels") == {}:
            del each["dockerLabels"]
    if block is not None:
        block = block.get("serviceConnectConfiguration", block)
        if not isinstance(block, dict):
            raise InjectError("the Service Connect block is not an object; give serviceConnectConfiguration as JSON")
        # Service Connect's own log settings are its proxy's; ours logs as the sidecar's container says.
        text = json.dumps({field: value for field, value in block.items() if field != "logConfiguration"})
    if text is not None:
        sidecar["dockerLabels"][CONFIGURATION_LABEL] = text


def _sidecar(containers: list[Container], settings: Settings) -> Container:
    """Return the sidecar's container, added if there is none."""
    found = next((each for each in containers if _is_marked(each, SIDECAR_LABEL)), None)
    if found is None:
        if any(each["name"] == "sidecar" for each in containers):
            raise InjectError(
                f'a container is named sidecar, and has no label {SIDECAR_LABEL}: "true"; label it if it is ours, else '
                "rename it"
            )
        found = {
            "name": "sidecar",
            "image": "",
            "essential": True,
            "user": settings.user,
            "cpu": SIDECAR_CPU,
            "memory": SIDECAR_MEMORY,
            "dockerLabels": {SIDECAR_LABEL: "true"},
        }
        containers.append(found)
    found["image"] = settings.image or found.get("image", "")
    if not found["image"]:
        raise InjectError("no image of the sidecar is given: use --image")
    return found


def _parsed(task: Mapping[str, Any]) -> Definition:
    family = str(task.get("family", ""))
    try:
        definition = parse({**task, "taskDefinitionArn": family})
    except DefinitionError as error:
        raise InjectError(str(error)) from error
    if definition is None:
        raise InjectError(
            f"no container has the label {CONFIGURATION_LABEL}; write it, or give the block with --service-connect"
        )
    return definition


def _check_ports(offers: Sequence[Offer], containers: Sequence[Container]) -> None:
    taken = {
        mapping.get("containerPort"): each["name"]
        for each in _apps(containers)
        for mapping in each.get("portMappings") or ()
    }
    for offer in offers:
        for alias in offer.aliases:
            if alias.port in taken:
                raise InjectError(
                    f"service {offer.service}: the alias {alias.dns_name}:{alias.port} is on the port of container "
                    f"{taken[alias.port]}, and a task's network namespace has one listener on a port; write another "
                    "port into clientAliases, such as 80, or use --redirect"
                )


def _finish_sidecar(
    sidecar: Container, definition: Definition, settings: Settings, containers: Sequence[Container]
) -> None:
    root = settings.user.partition(":")[0] == "0"
    inbound = ",".join(
        f"{each.service}={each.port}:{each.container_port}/{each.protocol}" for each in definition.offers
    )
    _set_variables(
        sidecar,
        {
            "TRAMO_NAMESPACE": None,  # the sidecar reads it in the label
            "TRAMO_API_URL": settings.api_url or None,
            "TRAMO_FEED_TABLE": settings.feed_table or None,
            "TRAMO_INBOUND": inbound or None,
            "TRAMO_REDIRECT": f"127.0.0.1:{REDIRECT_PORT}" if settings.redirect else None,
            "TRAMO_HOSTS_FILE": None if root else "off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": settings.otlp_endpoint or None,
        },
        kept=("TRAMO_API_URL", "TRAMO_FEED_TABLE", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    )
    if not any(each["name"] == "TRAMO_API_URL" for each in sidecar["environment"]):
        raise InjectError("no URL of the API is given: use --api-url with the stack's output ApiUrl")
    sidecar["essential"] = True
    sidecar["user"] = settings.user
    sidecar["healthCheck"] = dict(HEALTH_CHECK)
    sidecar.setdefault("stopTimeout", STOP_SECONDS)
    controls = [each for each in sidecar.get("systemControls") or () if each != UNPRIVILEGED_PORTS]
    if not root and not settings.redirect:
        controls.append(dict(UNPRIVILEGED_PORTS))
    sidecar["systemControls"] = controls
    if not controls:
        del sidecar["systemControls"]
    _log_as_the_app_does(sidecar, containers)


def _set_variables(container: Container, values: Mapping[str, str | None], kept: Sequence[str] = ()) -> None:
    """Set variables; None removes one, unless it is `kept`. The others stay."""
    before = {each["name"]: each.get("value", "") for each in container.get("environment") or ()}
    for name, value in values.items():
        if value is not None:
            before[name] = value
        elif name not in kept:
            before.pop(name, None)
    container["environment"] = [{"name": name, "value": value} for name, value in before.items()]


def _log_as_the_app_does(container: Container, containers: Sequence[Container]) -> None:
    """Without log settings of its own a container gets the app's: on Fargate its log would be lost."""
    found = next((each["logConfiguration"] for each in _apps(containers) if each.get("logConfiguration")), None)
    if found is not None and "logConfiguration" not in container:
        container["logConfiguration"] = deepcopy(found)


def _finish_gate(containers: list[Container], sidecar: Container, definition: Definition) -> None:
    """Give a task that offers something a gate: ECS waits until callers know it."""
    found = next((each for each in containers if _is_marked(each, GATE_LABEL)), None)
    if not definition.offers:
        if found is not None:
            containers.remove(found)
        return
    made = gate(sidecar["image"], sidecar["name"])
    if found is None:
        if any(each["name"] == made["name"] for each in containers):
            raise InjectError(f'a container is named gate, and has no label {GATE_LABEL}: "true"; rename it')
        containers.append(made)
        found = made
    else:
        ours = {field: made[field] for field in made if field not in ("name", "cpu", "memory", "dockerLabels")}
        found.update(ours)
    _log_as_the_app_does(found, containers)


def _depend(containers: Sequence[Container], sidecar: Container) -> None:
    """Let every app start behind the sidecar and stop before it; not what the sidecar itself waits for."""
    before = _needed_by(sidecar, {each["name"]: each for each in containers})
    for each in _apps(containers):
        if each["name"] in before or each.get("firelensConfiguration"):
            continue
        kept = [known for known in each.get("dependsOn") or () if known.get("containerName") != sidecar["name"]]
        each["dependsOn"] = [*kept, {"containerName": sidecar["name"], "condition": "HEALTHY"}]


def _needed_by(container: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> set[str]:
    found: set[str] = set()
    waiting = [container]
    while waiting:
        for each in waiting.pop().get("dependsOn") or ():
            name = each.get("containerName")
            if name in known and name not in found:
                found.add(name)
                waiting.append(known[name])
    return found


def _redirect(task: dict[str, Any], sidecar: Container, settings: Settings) -> None:
    found = task.get("proxyConfiguration")
    ours = isinstance(found, dict) and found.get("containerName") == sidecar["name"]
    if settings.redirect:
        if found is not None and not ours:
            raise InjectError(
                f"proxyConfiguration belongs to container {found.get('containerName')}; a task has one, so remove it, "
                "or leave --redirect out"
            )
        task["proxyConfiguration"] = {
            "type": "APPMESH",
            "containerName": sidecar["name"],
            "properties": [{"name": name, "value": value} for name, value in PROXY_PROPERTIES.items()],
        }
    elif ours:
        del task["proxyConfiguration"]


def _check_size(task: Mapping[str, Any], containers: Sequence[Container]) -> None:
    """ECS refuses containers that ask for more than the task has."""
    for field, unit in (("cpu", "CPU units"), ("memory", "MiB")):
        limit = task.get(field)
        if not isinstance(limit, int | str) or not str(limit).isdecimal():
            continue  # not set, or in ECS's other notation, such as "1 vCPU"
        sizes = {each["name"]: each.get(field) or each.get(f"{field}Reservation") or 0 for each in containers}
        if sum(sizes.values()) > int(limit):
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InjectError(
                f"{field} of the task is {limit} {unit}, and its containers ask for {sum(sizes.values())} ({listed}); "
                f"raise the task's {field} or lower a container's"
            )
