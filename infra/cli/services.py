"""Rows of services and endpoints, from the mesh's API."""

from __future__ import annotations

from collections.abc import Sequence

from infra.cli.api import ApiError, MeshApi
from infra.cli.tables import Row
from infra.local.settings import LocalError


def list_services(api: MeshApi, namespaces: Sequence[str]) -> list[Row]:
    """Return a row for every service."""
    return [
        {
            "namespace": namespace,
            "name": service["name"],
            "protocol": service["protocol"],
            "aliases": [f"{alias['dns_name']}:{alias['port']}" for alias in service["aliases"]],
            "vip": service["vip"],
            "ready": service["endpoints"].get("ready", 0),
            "endpoints": sum(service["endpoints"].values()),
            "revision": service["revision"],
        }
        for namespace in namespaces
        for service in api.services(namespace)
    ]


def list_endpoints(api: MeshApi, namespaces: Sequence[str], name: str) -> list[Row]:
    """Return a row for every endpoint of the services of that name. Raises LocalError if there is none."""
    rows: list[Row] = []
    found = False
    for namespace in namespaces:
        try:
            service = api.service(namespace, name)
        except ApiError as error:
            if error.status == 404:
                continue
            raise
        found = True
        rows += [{"namespace": namespace, **endpoint} for endpoint in service["endpoints"]]
    if not found:
        raise LocalError(f"no service {name!r} in {', '.join(namespaces) or 'any namespace'}")
    return rows
