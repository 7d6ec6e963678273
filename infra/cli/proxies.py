"""`tramo proxies`: every sidecar, with the age of its snapshot and its version. Exit code 1 if one is stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.cli.check_sidecars import STALE_INTERVALS
from infra.cli.measure import ask_all, family_names
from infra.cli.mesh import open_mesh
from infra.cli.tables import Column, Row, show_rows
from infra.cli.traffic import columns, source_name
from infra.client.api import MeshApi
from infra.client.questions import Answered

COLUMNS: Final = (
    Column("NAME", "name"),
    Column("TASK", "short"),
    Column("SNAPSHOT", "snapshot"),
    Column("REVISION", "revision", right=True),
    Column("AGE", "age", right=True),
    Column("VERSION", "version"),
    Column("ZONE", "zone"),
)
WIDE: Final = (*COLUMNS, Column("NAMESPACE", "namespace"), Column("ID", "task"), Column("BUILD", "build"))


def run(options: argparse.Namespace) -> int:
    """Print the sidecars."""
    mesh = open_mesh(options)
    rows = rows_of(mesh.api, mesh.namespaces())
    show_rows(sys.stdout, options.output, columns(options.output, COLUMNS, WIDE), rows)
    limit = options.fail_stale
    stale = [row for row in rows if row["age_seconds"] is None or (limit is not None and row["age_seconds"] > limit)]
    return int(limit is not None and bool(stale))


def rows_of(api: MeshApi, namespaces: Sequence[str]) -> list[Row]:
    """Return a row for each sidecar of the namespaces, whether it answered or not. Raises ApiError."""
    return [row for name, each in ask_all(api, namespaces).items() for row in _of_namespace(api, name, each)]


def _of_namespace(api: MeshApi, namespace: str, answered: Answered) -> list[Row]:
    names = family_names(api, namespace, answered)
    rows = [_row(namespace, task, answer, names) for task, answer in answered.answers.items()]
    for task in answered.silent:
        silent = {"snapshot": "NO ANSWER", "age_seconds": None, "namespace": namespace, "task": task, "short": task[:8]}
        rows.append({"name": "-", "revision": None, "age": None, "version": None, "zone": None, "build": None} | silent)
    return sorted(rows, key=lambda row: (str(row["name"]), str(row["task"])))


def _row(namespace: str, task: str, answer: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    snapshot = answer["snapshot"]
    age, interval = snapshot["age_seconds"], float(snapshot["interval_seconds"])
    if age is None:
        state = "NOT SENT"
    else:
        state = "SYNCED" if age <= STALE_INTERVALS * interval else f"STALE ({age:.0f}s)"
    return {
        "namespace": namespace,
        "name": source_name(task, answer, names),
        "task": task,
        "short": task[:8],
        "snapshot": state,
        "revision": snapshot["revision"],
        "age": None if age is None else f"{age:.0f}s",
        "age_seconds": age,
        "version": answer["version"],
        "build": answer["build"],
        "zone": answer["zone"],
    }
