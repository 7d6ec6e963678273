"""A finished task definition from one that has only the user's own: containers, ports and the Service Connect block.

Rules:
- The sidecar and the gate are derived from `portMappings` and the label `tramo.service-connect`, so that each fact is
  written once.
- What the user wrote stays: other variables, labels, limits, health check and log settings of the two containers too.
- Injecting again changes nothing; what is not said again stays as it is.
- What would fail in ECS or in the mesh is an InjectError that says where it is and what to do (`infra.inject_rules`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

from infra.gate import gate
from infra.inject_rules import (
    REDIRECT_PORT,
    Container,
    InjectError,
    apps,
    check_finished,
    check_given,
    check_ports,
    check_proxy,
    is_marked,
    variables,
)
from registry.domain.definition import GATE_LABEL, SIDECAR_LABEL, parse
from registry.domain.label import CONFIGURATION_LABEL
from registry.domain.offer import Definition, DefinitionError

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
ROOT: Final = ("0", "root")
"""Names of the user who may write the hosts file and listen on any port."""

_DESCRIBED: Final = frozenset(
    (
        *("taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities", "registeredAt"),
        *("registeredBy", "deregisteredAt", "deleteRequestedAt"),
    )
)
"""What DescribeTaskDefinition says besides and RegisterTaskDefinition does not take."""
_OF_THE_APPS_LINES: Final = ("awslogs-multiline-pattern", "awslogs-datetime-format")
"""Log options that say where a message of the app begins. The sidecar's are lines of JSON."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the task definition cannot say.

    Empty image, URL, table or collector, and None: what the definition has. A new sidecar listens, and is root.
    """

    image: str = ""
    api_url: str = ""
    redirect: bool | None = None
    user: str | None = None
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
    if document.get("tags") and isinstance(described, dict):
        task["tags"] = deepcopy(document["tags"])
    containers = check_given(task)
    sidecar = _sidecar(containers, settings)
    check_proxy(task, sidecar)
    redirect = "proxyConfiguration" in task if settings.redirect is None else settings.redirect
    _label(containers, sidecar, block)
    definition = _parsed(task, sidecar)
    check_ports(definition.offers, containers, sidecar, redirect)
    _finish_sidecar(sidecar, definition, replace(settings, redirect=redirect), containers)
    _finish_gate(containers, sidecar, definition)
    _depend(containers, sidecar)
    _redirect(task, sidecar, redirect)
    check_finished(task)
    return task


def _is_root(user: str) -> bool:
    return user.partition(":")[0] in ROOT


def _label(containers: Sequence[Container], sidecar: Container, block: Any) -> None:
    """Put the block, else the label that some container has, on the sidecar.

    There the sidecar can read it from its start: a container that waits for the sidecar does not exist by then, and the
    task metadata do not show it.
    """
    labelled = [each["name"] for each in containers if CONFIGURATION_LABEL in (each.get("dockerLabels") or {})]
    if block is None and len(labelled) > 1:
        raise InjectError(
            f"the label {CONFIGURATION_LABEL} stands on {' and '.join(labelled)}; keep it on one container only"
        )
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
    found = next((each for each in containers if is_marked(each, SIDECAR_LABEL)), None)
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
            "user": settings.user or "0",
            "cpu": SIDECAR_CPU,
            "memory": SIDECAR_MEMORY,
            "dockerLabels": {SIDECAR_LABEL: "true"},
        }
        containers.append(found)
    found["image"] = settings.image or found.get("image", "")
    if not found["image"]:
        raise InjectError("no image of the sidecar is given: use --image")
    return found


def _parsed(task: Mapping[str, Any], sidecar: Container) -> Definition:
    try:
        definition = parse({**task, "taskDefinitionArn": task["family"]})
    except DefinitionError as error:
        raise InjectError(str(error)) from error
    if definition is None and CONFIGURATION_LABEL in sidecar["dockerLabels"]:
        raise InjectError(
            'the Service Connect block turns Service Connect off ("enabled": false), so the task has no use for a '
            "sidecar; write true, or leave enabled out"
        )
    if definition is None:
        raise InjectError(
            f"no container has the label {CONFIGURATION_LABEL}; write it, or give the block with --service-connect"
        )
    return definition


def _finish_sidecar(
    sidecar: Container, definition: Definition, settings: Settings, containers: Sequence[Container]
) -> None:
    before = sidecar.get("user") or "0"
    user = settings.user or before
    root = _is_root(user)
    # The hosts file follows from the user, unless the user stays and somebody chose.
    chosen = root == _is_root(before) and (root or "TRAMO_HOSTS_FILE" in variables(sidecar))
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
            "TRAMO_HOSTS_FILE": None if root or chosen else "off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": settings.otlp_endpoint or None,
        },
        kept=(
            *("TRAMO_API_URL", "TRAMO_FEED_TABLE", "OTEL_EXPORTER_OTLP_ENDPOINT"),
            *(("TRAMO_HOSTS_FILE",) if chosen else ()),
        ),
    )
    if "TRAMO_API_URL" not in variables(sidecar):
        raise InjectError("no URL of the API is given: use --api-url with the stack's output ApiUrl")
    sidecar["essential"] = True
    sidecar["user"] = user
    sidecar["healthCheck"] = {**HEALTH_CHECK, **(sidecar.get("healthCheck") or {})}
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
    before = variables(container)
    for name, value in values.items():
        if value is not None:
            before[name] = value
        elif name not in kept:
            before.pop(name, None)
    container["environment"] = [{"name": name, "value": value} for name, value in before.items()]


def _log_as_the_app_does(container: Container, containers: Sequence[Container]) -> None:
    """Without log settings of its own a container gets the app's: on Fargate its log would be lost."""
    found = next((each["logConfiguration"] for each in apps(containers) if each.get("logConfiguration")), None)
    if found is not None and "logConfiguration" not in container:
        copied = deepcopy(found)
        for option in _OF_THE_APPS_LINES:
            copied.get("options", {}).pop(option, None)
        container["logConfiguration"] = copied


def _finish_gate(containers: list[Container], sidecar: Container, definition: Definition) -> None:
    """Give a task that offers something a gate: ECS waits until callers know it."""
    found = next((each for each in containers if is_marked(each, GATE_LABEL)), None)
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
    for each in apps(containers):
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


def _redirect(task: dict[str, Any], sidecar: Container, redirect: bool) -> None:
    if redirect:
        task["proxyConfiguration"] = {
            "type": "APPMESH",
            "containerName": sidecar["name"],
            "properties": [{"name": name, "value": value} for name, value in PROXY_PROPERTIES.items()],
        }
    else:
        task.pop("proxyConfiguration", None)
