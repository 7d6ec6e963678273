"""Where the services of a local cluster can be called from this machine: the ports of their tasks.

A task with a sidecar is called at the sidecar's ingress ports, as callers in the mesh do: `ingressPortOverride`, else
15100 and the place of the service in the label. Without one it is called at its own ports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.local.definition import TaskDefinition

_LABEL: Final = "tramo.service-connect"
_FIRST_INGRESS_PORT: Final = 15100


def calls(definition: TaskDefinition, address: str) -> Iterator[tuple[str, str]]:
    """Yield name and address of everything that a task offers; nothing for a label that is no JSON."""
    mappings = {
        mapping["name"]: mapping
        for container in definition.document["containerDefinitions"]
        for mapping in container.get("portMappings", [])
        if "name" in mapping
    }
    if not any(container.is_sidecar for container in definition.containers):
        for name, mapping in mappings.items():
            yield name, _shown(mapping, address, int(mapping["containerPort"]))
        return
    for place, service in enumerate(_services(definition)):
        mapping = mappings.get(service.get("portName", ""), {})
        port = service.get("ingressPortOverride", _FIRST_INGRESS_PORT + place)
        yield str(service.get("discoveryName") or service.get("portName")), _shown(mapping, address, port)


def _services(definition: TaskDefinition) -> list[Mapping[str, Any]]:
    labels = (container.labels[_LABEL] for container in definition.containers if _LABEL in container.labels)
    try:
        document = json.loads(next(labels, "{}"))
    except ValueError:
        return []  # the registrar says so
    services = document.get("services", []) if isinstance(document, dict) else []
    return [service for service in services if isinstance(service, dict)] if isinstance(services, list) else []


def _shown(mapping: Mapping[str, Any], address: str, port: int) -> str:
    scheme = {"http": "http://", "http2": "http://", "grpc": ""}.get(mapping.get("appProtocol", ""), "")
    return f"{scheme}{address}:{port}"
