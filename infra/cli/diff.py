"""`tramo diff`: what has changed in the mesh since a picture of it was kept, or between two pictures."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.cli import picture
from infra.cli.mesh import Mesh, open_mesh
from infra.cli.tables import Column, show
from infra.client.api import ApiError

COLUMNS: Final = (Column("", "sign"), Column("RESOURCE", "resource"), Column("CHANGE", "what"))
WIDE: Final = (*COLUMNS, Column("NAMESPACE", "namespace"))
BAD_INPUT: Final = 65


def run(options: argparse.Namespace) -> int:
    """Keep a picture, or print differences; return the exit code."""
    if options.save is not None:
        document = take(open_mesh(options))
        options.save.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        sys.stderr.write(f"tramo: kept {len(document['namespaces'])} namespaces in {options.save}\n")
        return 0
    if options.before is None:
        sys.stderr.write(
            "tramo: nothing to compare with: tramo diff --save FILE keeps a picture, tramo diff FILE compares\n"
        )
        return os.EX_USAGE
    try:
        before = _read(options.before)
        after = take(open_mesh(options)) if options.after is None else _read(options.after)
    except picture.PictureError as error:
        sys.stderr.write(f"tramo: {error}\n")
        return BAD_INPUT
    rows = [asdict(each) for each in picture.changes(before, after) if options.namespace in (None, each.namespace)]
    if not rows and options.output != "json":
        sys.stdout.write(f"Nothing has changed since {before['taken_at']}.\n")
        return 0
    show(
        sys.stdout, "json" if options.output == "json" else "table", WIDE if options.output == "wide" else COLUMNS, rows
    )
    return 0


def take(mesh: Mesh) -> dict[str, Any]:
    """Return a picture of the mesh as it is. Raises ApiError."""
    snapshots = {}
    for namespace in mesh.namespaces():
        try:
            snapshots[namespace] = mesh.api.snapshot(namespace)
        except ApiError as error:
            if error.status != 404:  # only clients have joined it
                raise
    return picture.made(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", snapshots)


def _read(path: Path) -> picture.Json:
    try:
        return picture.read(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise picture.PictureError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise picture.PictureError(f"{path}: {error}") from error
