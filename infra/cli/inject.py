"""`tramo inject`: reads and writes the files; what happens between is `infra.inject`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from infra.local.settings import LocalError

FUNCTIONS: Final = Path(__file__).parents[2] / "functions"
"""Not part of the wheel: the registry's own rules judge the label."""
_HALF: Final = re.compile("[\ud800-\udfff]")


def run(options: argparse.Namespace) -> None:
    """Write the finished task definition to standard output, and warnings to standard error."""
    inject_file(
        options.definition,
        options.service_connect,
        sys.stdout,
        sys.stderr,
        image=options.image,
        api_url=options.api_url or "",
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
    redirect: bool | None = None,
    user: str | None = None,
    feed_table: str = "",
    otlp_endpoint: str = "",
) -> None:
    """Write the finished task definition of a file, and warnings. Raises LocalError."""
    if str(FUNCTIONS) not in sys.path:
        sys.path.append(str(FUNCTIONS))
    from infra.inject import Settings, inject
    from infra.inject_rules import InjectError, warnings

    try:
        document, found = _read(path), _read(block) if block is not None else None
        finished = inject(document, Settings(image, api_url, redirect, user, feed_table, otlp_endpoint), found)
        written = json.dumps(finished, indent=2, ensure_ascii=False)
    except InjectError as error:
        raise LocalError(f"{path}: {error}") from error
    except RecursionError as error:
        raise LocalError(f"{path}: its objects and lists are nested too deep for a task definition") from error
    for warning in warnings(finished):
        warn.write(f"tramo: {path}: {warning}\n")
    stream.write(written + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from error
    if json.detect_encoding(data) not in ("utf-8", "utf-8-sig"):
        raise LocalError(f"{path}: it is not UTF-8; save it as UTF-8")
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LocalError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from error
    except ValueError as error:
        raise LocalError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise LocalError(f"{path}: it is not a JSON object")
    for place in _surrogates(document, "$"):
        raise LocalError(f"{path}: {place}: it has half of a character (\\ud800 to \\udfff); write the whole character")
    return document


def _surrogates(value: Any, place: str) -> Iterator[str]:
    """Yield the places of texts that cannot be written: JSON may name one half of a UTF-16 pair."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _surrogates(key, f"a key of {place}")
            yield from _surrogates(each, f"{place}.{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _surrogates(each, f"{place}[{number}]")
    elif isinstance(value, str) and _HALF.search(value):
        yield place
