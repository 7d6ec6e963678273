"""`tramo bug-report`: one archive with what others need to understand a mesh, without secrets.

Rules:
1. Logs of apps are not in it, only those of sidecars and functions of the local mesh; their ends.
2. What looks like a secret is removed (`redaction.py`), and the command says that the reader should look all the same.
3. A part that cannot be had is a text that says why: a report of a broken mesh is what this is for.
4. Nothing is larger than `PART_BYTES`, and at most `MOST_TASKS` sidecars are asked for their pages.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from infra.cli import check, diff, redaction
from infra.cli.logs import tail
from infra.cli.mesh import Mesh, directory, open_mesh
from infra.cli.proxies import rows_of
from infra.cli.tables import paragraph
from infra.client.questions import ask
from infra.local.settings import LocalError
from sidecar import __version__

PART_BYTES: Final = 1 << 20
MOST_TASKS: Final = 20
LOG_LINES: Final = 500
PAGES: Final = ("ready", "clusters", "config", "stats")
LOGS: Final = ("sidecar", "gate")


def run(options: argparse.Namespace) -> int:
    """Write the archive."""
    mesh = open_mesh(options)
    now = datetime.now(UTC)
    name = f"tramo-report-{now:%Y%m%dT%H%M%SZ}"
    path: Path = options.file or Path(f"{name}.tar.gz")
    files = None if mesh.local is None else directory(options)
    try:
        with path.open("wb") as file:
            write(file, name, parts(mesh, files), time.time())
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from error
    paragraph(sys.stderr, f"tramo: wrote {path}")
    paragraph(sys.stderr, "Secrets were removed as far as they look like some: read it before you send it.")
    return 0


def write(file: io.BufferedIOBase | Any, name: str, found: Iterator[tuple[str, str]], now: float) -> None:
    """Write parts, which are file names and texts, as a tar.gz with one folder."""
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for part, text in found:
            content = text.encode()[:PART_BYTES]
            info = tarfile.TarInfo(f"{name}/{part}")
            info.size, info.mtime, info.mode = len(content), int(now), 0o644
            archive.addfile(info, io.BytesIO(content))


def parts(mesh: Mesh, files: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the parts, without secrets. `files` is where a local mesh keeps its files."""
    yield "version.json", _json({"tramo": __version__, "python": sys.version, "system": platform.platform()})
    yield _part("check.json", lambda: check.document(check.examine(mesh)))
    yield _part("registry.json", lambda: diff.take(mesh))
    if mesh.local is not None:
        yield _part("local.json", lambda: mesh.local)
    try:
        names = mesh.namespaces()
    except LocalError as error:
        yield "namespaces.txt", redaction.text(f"{error}\n")
        return
    for name in names:
        yield _part(f"{name}/sidecars.json", partial(rows_of, mesh.api, [name]))
        for page in PAGES:
            yield _part(f"{name}/{page}.json", partial(_pages, mesh, name, page))
    if files is not None:
        yield from _logs(files)


def _pages(mesh: Mesh, namespace: str, page: str) -> dict[str, Any]:
    answered = ask(mesh.api, namespace, page)
    return dict(sorted(answered.answers.items())[:MOST_TASKS])


def _logs(directory: Path) -> Iterator[tuple[str, str]]:
    found = sorted(directory.glob("*.log"))
    for task in sorted((directory / "tasks").glob("*"), key=lambda each: each.stat().st_mtime)[-MOST_TASKS:]:
        found += [path for name in LOGS if (path := task / f"{name}.log").exists()]
    for path in found:
        yield f"logs/{path.relative_to(directory)}", redaction.text("".join(tail(path, LOG_LINES)))


def _part(name: str, make: Callable[[], Any]) -> tuple[str, str]:
    try:
        return name, _json(make())
    except LocalError as error:
        return f"{name}.error.txt", redaction.text(f"{error}\n")


def _json(value: Any) -> str:
    return json.dumps(redaction.document(value), indent=1, default=str) + "\n"
