"""`tramo analyze`: what is wrong with task definitions before they are registered, alone or laid over a mesh.

Rules:
1. The mesh is that of --stack or --api-url, or a local cluster that is up. --offline leaves it out.
2. Task definitions without the label are not judged. A file that has no other is named, on standard error: it may be
   the one that `tramo inject` has not finished.
3. Exit code 0 when nothing is as bad as the threshold, 79 when something is, 65 when a file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra.analysis import documents
from infra.analysis.documents import InputError
from infra.analysis.issues import LABEL, Issue, Served, analyze, codes, without_label
from infra.cli.control import NotUpError
from infra.cli.mesh import Mesh, open_mesh
from infra.cli.tables import paragraph
from infra.terminal import console

ISSUES: Final = 79
BAD_INPUT: Final = 65
_STYLES: Final = {"error": "red", "warning": "yellow"}


def run(options: argparse.Namespace) -> int:
    """Analyze the files and return the exit code."""
    if options.list_codes:
        sys.stdout.write("".join(f"{code}  {level:<7}  {meaning}\n" for code, level, meaning in codes()))
        return 0
    try:
        if not options.file:
            raise InputError("name a file or a folder to analyze")
        found = documents.read(options.file)
    except InputError as error:
        sys.stderr.write(f"tramo: {error}\n")
        return BAD_INPUT
    issues = [
        each
        for each in analyze(found, services_of(options))
        if not each.is_suppressed(options.suppress) and each.is_at_least(options.output_threshold)
    ]
    outside = without_label(found)
    if outside:
        sys.stderr.write(f"tramo: warning: no task definition in {_named(outside)} joins the mesh: none has {LABEL}\n")
    if options.output == "json":
        sys.stdout.write(json.dumps([_document(each) for each in issues], indent=2) + "\n")
    else:
        write(issues, sorted({document.path for document in found} - set(outside)))
    return ISSUES if any(each.is_at_least(options.failure_threshold) for each in issues) else 0


def _document(issue: Issue) -> dict[str, str]:
    return {name: getattr(issue, name) for name in issue.__slots__}


def services_of(options: argparse.Namespace) -> list[Served]:
    """Return the services of the mesh that the files are laid over; none with --offline or without a mesh."""
    if options.offline:
        return []
    try:
        return served_by(open_mesh(options))
    except NotUpError:
        return []  # nothing was named, and no cluster is up here


def served_by(mesh: Mesh) -> list[Served]:
    """Return all services of a mesh. Raises ApiError."""
    return [
        Served(
            namespace,
            service["name"],
            frozenset((alias["dns_name"], alias["port"]) for alias in service["aliases"]),
            "the mesh",
        )
        for namespace in mesh.namespaces()
        for service in mesh.api.services(namespace)
    ]


def _named(files: Sequence[Path]) -> str:
    return ", ".join(str(each) for each in files[:3]) + (f" and {len(files) - 3} more files" if len(files) > 3 else "")


def write(issues: Sequence[Issue], files: Sequence[Path]) -> None:
    """Print the issues for people; `files` are those that join the mesh."""
    output = console(sys.stdout)
    for each in issues:
        output.print(f"[{_STYLES[each.level]}]{each.level.capitalize()}[/] ", end="", soft_wrap=True)
        text = f"[{each.code}] ({each.resource} {each.file}) {each.where}: {each.what}; {each.remedy}"
        output.print(text, markup=False, soft_wrap=True)
    if not issues and files:
        paragraph(sys.stdout, f"✔ No validation issues found when analyzing {_named(files)}.")
