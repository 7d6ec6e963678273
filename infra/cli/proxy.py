"""`tramo proxy TASK`: what one sidecar holds, as its admin pages show it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from infra.cli.mesh import Mesh, open_mesh
from infra.cli.tables import Column, Row, show_rows
from infra.cli.traffic import columns
from infra.client.questions import ask
from infra.local.settings import LocalError

CLUSTERS: Final = (
    Column("NAME", "name"),
    Column("PROTOCOL", "protocol"),
    Column("VIP", "vip"),
    Column("ALIASES", "aliases"),
    Column("ENDPOINTS", "count", right=True),
    Column("ACTIVE", "active_requests", right=True),
    Column("EJECTIONS", "ejections", right=True),
)
CLUSTERS_WIDE: Final = (
    *CLUSTERS,
    Column("PENDING", "pending_requests", right=True),
    Column("RETRIES", "retries", right=True),
    Column("OVERFLOWS", "overflows", right=True),
)
ENDPOINTS: Final = (
    Column("ENDPOINT", "address"),
    Column("STATUS", "state"),
    Column("OUTLIER_CHECK", "outlier"),
    Column("HEALTH", "checked"),
    Column("ZONE", "zone"),
    Column("ACTIVE", "active_requests", right=True),
    Column("EWMA", "ewma", right=True),
    Column("CLUSTER", "cluster"),
)
ENDPOINTS_WIDE: Final = (
    *ENDPOINTS,
    Column("REQUESTS", "requests", right=True),
    Column("FAILURES", "failures", right=True),
    Column("CONNECT_FAILURE", "connect_failure"),
    Column("ID", "id"),
)
LISTENERS: Final = (Column("ADDRESS", "address"), Column("STATE", "state"), Column("REASON", "reason"))
SUBJECTS: Final = {
    "clusters": "clusters",
    "endpoints": "clusters",
    "listeners": "config",
    "config": "config",
    "ready": "ready",
    "stats": "stats",
}
"""What can be shown, and the page that has it."""


def run(options: argparse.Namespace) -> int:
    """Print what was asked for."""
    document = asked(open_mesh(options), options.task, SUBJECTS[options.what], options.to)
    if options.output == "json" or options.what in ("config", "ready", "stats"):
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif options.what == "clusters":
        rows = [{**each, "count": len(each["endpoints"])} for each in document["clusters"]]
        show_rows(sys.stdout, options.output, columns(options.output, CLUSTERS, CLUSTERS_WIDE), rows)
    elif options.what == "endpoints":
        shown = columns(options.output, ENDPOINTS, ENDPOINTS_WIDE)
        show_rows(sys.stdout, options.output, shown, endpoint_rows(document))
    else:
        show_rows(sys.stdout, options.output, LISTENERS, listener_rows(document))
    return 0


def asked(mesh: Mesh, task: str, subject: str, to: str | None = None) -> dict[str, Any]:
    """Return a page of a task's sidecar; the beginning of the task's id is enough. Raises LocalError."""
    mesh.require_services([to])
    filters = {"to": to} if to else None
    silent: tuple[str, ...] = ()
    for namespace in mesh.namespaces():
        answered = ask(mesh.api, namespace, subject, tasks=(task,), filters=filters)
        if len(answered.answers) > 1:
            ids = ", ".join(sorted(each[:12] for each in answered.answers))
            raise LocalError(f"{task} is the beginning of several tasks: {ids}")
        for document in answered.answers.values():
            if "error" in document:
                raise LocalError(f"task {task}: {document['error']}")
            return document
        silent += answered.silent
    if silent:
        raise LocalError(f"the sidecar of task {silent[0]} has not answered; does it run, and is its snapshot fresh?")
    raise LocalError(f"no living task of the mesh has an id that begins with {task}; tramo proxies lists them")


def endpoint_rows(document: dict[str, Any]) -> list[Row]:
    """Return a row for each endpoint in the page of clusters."""
    return [
        {
            "address": f"{each['address']}:{each['port']}",
            "state": each["state"],
            "outlier": "ejected" if each["ejected"] else "ok",
            "checked": (each["health_check"] or {}).get("state"),
            "zone": "same" if each["same_zone"] else "other",
            "active_requests": each["active_requests"],
            "ewma": f"{each['latency_ms']:.1f}ms",
            "requests": each["requests"],
            "failures": each["failures"],
            "connect_failure": each.get("connect_failure") or None,  # a sidecar of an earlier release does not say
            "id": each["id"],
            "cluster": cluster["name"],
        }
        for cluster in document["clusters"]
        for each in cluster["endpoints"]
    ]


def listener_rows(document: dict[str, Any]) -> list[Row]:
    """Return a row for each address that the sidecar listens on, or could not."""
    rows = [{"address": each, "state": "listening", "reason": None} for each in document["listening"]]
    return rows + [
        {"address": address, "state": "failed", "reason": reason}
        for address, reason in document["not_listening"].items()
    ]
