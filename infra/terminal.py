"""What the command and the dashboard print on: colour where somebody looks, plain lines where a program reads."""

from __future__ import annotations

from typing import IO

from rich.console import Console


def console(stream: IO[str]) -> Console:
    """Return a console that writes plainly unless the stream is a terminal."""
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, no_color=True, width=1000)
