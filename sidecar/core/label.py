"""The label `tramo.service-connect`, as far as the sidecar needs it: mesh and namespace, and its own ingress ports.

Rules:
- The registrar reads the label strictly and says what is wrong with it. Here a mistake is only the absence of a fact.
- A container that waits for the sidecar to be healthy does not exist when the sidecar starts, and the task metadata do
  not show its labels by then. So the label can be counted on only if it is the sidecar's own.
- The label has no port of the app and no protocol: those are in `portMappings`, which the task metadata do not show. So
  TRAMO_INBOUND stays, and is compared with the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from sidecar.core.findings import Finding, inbound_mismatch, namespace_mismatch

NAME: Final = "tramo.service-connect"
FIRST_INGRESS_PORT: Final = 15100


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
    """What this label says, None if it cannot be read or turns the mesh off."""
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


def compared(label: Label, namespace: str, inbound: Mapping[str, int]) -> list[Finding]:
    """Where the sidecar's variables say something else than the label."""
    found = [] if namespace == label.namespace else [namespace_mismatch(namespace, label.namespace)]
    for name in {**label.services, **inbound}:
        expected, configured = label.services.get(name), inbound.get(name)
        if expected != configured:
            found.append(inbound_mismatch(name, _shown(name, configured), _shown(name, expected)))
    return found


def _shown(name: str, port: int | None) -> str:
    return f"{name}={port}" if port is not None else ""
