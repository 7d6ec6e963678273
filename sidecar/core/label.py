"""The labels of a task's containers, as far as the sidecar needs them: mesh, namespace, ingress ports, and mistakes.

Rules:
- The registrar reads the label strictly and says what is wrong with it. Here a mistake is only the absence of a fact.
- A container that waits for the sidecar to be healthy does not exist when the sidecar starts, and the task metadata do
  not show its labels by then. So the label can be counted on only if it is the sidecar's own.
- The label has no port of the app and no protocol: those are in `portMappings`, which the task metadata do not show. So
  TRAMO_INBOUND stays, and is compared with the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from sidecar.core.findings import Finding, inbound_mismatch, mesh_mismatch, namespace_mismatch, unknown_key

NAME: Final = "tramo.service-connect"
PREFIX: Final = "tramo."
LABELS: Final = (NAME, "tramo.sidecar", "tramo.gate")
CONFIGURATION: Final = (
    *("enabled", "namespace", "services", "logConfiguration", "accessLogConfiguration"),
    *("standalone", "mesh"),  # ours
)
SERVICE: Final = ("portName", "discoveryName", "clientAliases", "ingressPortOverride", "timeout", "tls")
ALIAS: Final = ("port", "dnsName", "testTrafficRules")
TIMEOUT: Final = ("idleTimeoutSeconds", "perRequestTimeoutSeconds")
FIRST_INGRESS_PORT: Final = 15100
DEFAULT_MESH: Final = "Tramo"
"""The mesh of a label that names none. A mesh's metrics are in the CloudWatch namespace of its name."""


class Label(NamedTuple):
    """What the label says: the namespace, the ingress port of each service, and the mesh, empty for the default one."""

    namespace: str
    services: Mapping[str, int]
    mesh: str = ""


class _Service(msgspec.Struct):
    portName: str = ""  # noqa: N815 - AWS's name
    discoveryName: str | None = None  # noqa: N815
    ingressPortOverride: int | None = None  # noqa: N815


class _Configuration(msgspec.Struct):
    namespace: str = ""
    mesh: str = ""
    enabled: bool = True
    services: list[_Service] | None = None


def read(text: str) -> Label | None:
    """Return what this label says, None if it cannot be read or turns the mesh off."""
    try:
        found = msgspec.json.decode(text, type=_Configuration)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not found.enabled:
        return None
    services = {
        each.discoveryName or each.portName: each.ingressPortOverride or FIRST_INGRESS_PORT + index
        for index, each in enumerate(found.services or ())
    }
    return Label(found.namespace, services, found.mesh)


def compared(label: Label, namespace: str, inbound: Mapping[str, int], mesh: str = "") -> list[Finding]:
    """Yield where the sidecar's variables say something else than the label; an empty mesh says nothing."""
    found = [] if namespace == label.namespace else [namespace_mismatch(namespace, label.namespace)]
    if mesh and mesh != (label.mesh or DEFAULT_MESH):
        found.append(mesh_mismatch(mesh, label.mesh or DEFAULT_MESH))
    for name in {**label.services, **inbound}:
        expected, configured = label.services.get(name), inbound.get(name)
        if expected != configured:
            found.append(inbound_mismatch(name, _shown(name, configured), _shown(name, expected)))
    return found


def unknown_keys(container: str, label: str, text: str) -> Iterator[Finding]:
    """Yield what nobody knows of one label of a container: its name, or fields of its JSON."""
    if label.startswith(PREFIX) and label not in LABELS:
        yield unknown_key(container, f"label {label}", label, LABELS)
    if label != NAME:
        return
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return  # the registrar says what is wrong
    for path, value, known in _objects(found):
        for key in value:
            if key not in known:
                yield unknown_key(container, f"label {NAME} at {path}.{key}", key, known)


def _objects(configuration: Any) -> Iterator[tuple[str, dict[str, Any], Sequence[str]]]:
    """Each object of the configuration with its path and the keys that it may have."""
    if not isinstance(configuration, dict):
        return
    yield "$", configuration, CONFIGURATION
    for index, service in enumerate(_list(configuration, "services")):
        if not isinstance(service, dict):
            continue
        path = f"$.services[{index}]"
        yield path, service, SERVICE
        if isinstance(timeout := service.get("timeout"), dict):
            yield f"{path}.timeout", timeout, TIMEOUT
        for number, alias in enumerate(_list(service, "clientAliases")):
            if isinstance(alias, dict):
                yield f"{path}.clientAliases[{number}]", alias, ALIAS


def _list(value: dict[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []


def _shown(name: str, port: int | None) -> str:
    return f"{name}={port}" if port is not None else ""
