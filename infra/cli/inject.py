"""`tramo inject`: reads and writes the files; what happens between is `infra.inject`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final, TextIO

from infra.local.settings import LocalError

FUNCTIONS: Final = Path(__file__).parents[2] / "functions"
"""Not part of the wheel: the registry's own rules judge the label."""


def run(options: argparse.Namespace) -> None:
    """Write the finished task definition to standard output, and warnings to standard error."""
    inject_file(
        options.definition,
        options.service_connect,
        sys.stdout,
        sys.stderr,
        image=options.image,
        api_url=options.api_url,
        redirect=options.redirect,
        user=options.user,
        feed_table=options.feed_table,
        otlp_endpoint=options.otlp_endpoint or "",
    )


def inject_file(
    path: Path,
    block: Path | None,
    stream: TextIO,
    warn: TextIO,
    *,
    image: str,
    api_url: str,
    redirect: bool,
    user: str,
    feed_table: str = "",
    otlp_endpoint: str = "",
) -> None:
    """Write the finished task definition of a file, and warnings. Raises LocalError."""
    if str(FUNCTIONS) not in sys.path:
        sys.path.append(str(FUNCTIONS))
    from infra.inject import InjectError, Settings, inject, warnings

    document, found = _read(path), _read(block) if block is not None else None
    try:
        finished = inject(document, Settings(image, api_url, redirect, user, feed_table, otlp_endpoint), found)
    except InjectError as error:
        raise LocalError(f"{path}: {error}") from error
    for warning in warnings(finished):
        warn.write(f"tramo: {path}: {warning}\n")
    stream.write(json.dumps(finished, indent=2, ensure_ascii=False) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise LocalError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise LocalError(f"{path}: it is not a JSON object")
    return document
