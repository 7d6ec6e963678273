"""`tramo services` and `tramo endpoints`: their rows, from the mesh's API."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from infra.cli import tables
from infra.cli.mesh import open_mesh, suggestion
from infra.cli.tables import Row, show, show_rows
from infra.cli.traffic import columns
from infra.client.api import ApiError, Json, MeshApi
from infra.local.settings import LocalError


def run(options: argparse.Namespace) -> None:
    """Print the services, and the refused claims to their names."""
    rows = list_services(*_opened(options))
    show_rows(sys.stdout, options.output, columns(options.output, tables.SERVICES, tables.SERVICES_WIDE), rows)
    if options.output != "json":
        sys.stdout.write("".join(f"\n{line}\n" for line in refused_claims(rows)))


def run_allow(options: argparse.Namespace) -> None:
    """Let a claimant offer a service, and print its owners."""
    show(sys.stdout, options.output, tables.OWNERS, allow(*_opened(options), options.name, options.claimant))


def run_forget(options: argparse.Namespace) -> None:
    """Forget a service, and print whose it was."""
    show(sys.stdout, options.output, tables.OWNERS, forget(*_opened(options), options.name))


def run_endpoints(options: argparse.Namespace) -> None:
    """Print the endpoints of a service."""
    shown = columns(options.output, tables.ENDPOINTS, tables.ENDPOINTS_WIDE)
    show_rows(sys.stdout, options.output, shown, list_endpoints(*_opened(options), options.name))


def _opened(options: argparse.Namespace) -> tuple[MeshApi, list[str]]:
    mesh = open_mesh(options)
    return mesh.api, mesh.namespaces()


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
            "states": [f"{count} {state}" for state, count in sorted(service["endpoints"].items())],
            "refused": service.get("refused", []),
        }
        for namespace in namespaces
        for service in api.services(namespace)
    ]


def refused_claims(rows: Sequence[Row]) -> list[str]:
    """Return a line for every claim of a service that was refused: both sides, and what to do."""
    return [
        f"{row['namespace']}: {claim['claimant']} ({claim['task_definition']}) may not offer {row['name']}: "
        f"{claim['reason']}; if it shall: tramo services allow {row['name']} {claim['claimant']}"
        for row in rows
        for claim in row["refused"]
    ]


def allow(api: MeshApi, namespaces: Sequence[str], name: str, claimant: str) -> list[Row]:
    """Let a claimant offer a service, and return its owners as a row. Raises LocalError if there is no such service."""
    namespace, known, tag = _only(api, namespaces, name)
    owners = api.allow(namespace, name, sorted({*known["allowed"], claimant}), tag)
    return [{"namespace": namespace, "name": name, "owners": owners["owners"], "allowed": owners["allowed"]}]


def forget(api: MeshApi, namespaces: Sequence[str], name: str) -> list[Row]:
    """Forget a service without tasks, and return as a row whose it was. Raises LocalError if it cannot be."""
    namespace, known, _ = _only(api, namespaces, name)
    api.forget(namespace, name)
    return [{"namespace": namespace, "name": name, "owners": known["owners"], "allowed": known["allowed"]}]


def _only(api: MeshApi, namespaces: Sequence[str], name: str) -> tuple[str, Json, str]:
    """Return the one namespace that has a service, and the service's owners with their ETag."""
    found = []
    for namespace in namespaces:
        try:
            found.append((namespace, *api.owners(namespace, name)))
        except ApiError as error:
            if error.status != 404:
                raise
    if len(found) != 1:
        places = ", ".join(namespace for namespace, *_ in found) or "no namespace"
        raise LocalError(f"service {name!r} is in {places}; choose one that has it with --namespace")
    return found[0]


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
        known = sorted({each["name"] for namespace in namespaces for each in api.services(namespace)})
        raise LocalError(f"there is no service {name}{suggestion(name, known)}")
    return rows
