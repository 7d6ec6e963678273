"""`--watch`: a command again and again until Ctrl-C, on a terminal each time in the place of the one before.

The old screen stays until the new one has something to show: asking takes seconds, and an empty screen says nothing.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import IO, Final

WATCH_SECONDS: Final = 5.0
"""Sidecars read the registry about as often, so nothing is newer before."""
HOME: Final = "\x1b[H\x1b[2J"

Run = Callable[[argparse.Namespace], int | None]


class Screen(io.TextIOBase):
    """A stream whose first write is preceded by a text."""

    def __init__(self, stream: IO[str], before: str) -> None:
        self._stream = stream
        self._before = before

    def isatty(self) -> bool:
        """Say whether the stream below is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor below, by which the width of a terminal is known."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write, behind the text that comes first."""
        if text:
            self._stream.write(self._before)
            self._before = ""
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()


def repeat(run: Run, options: argparse.Namespace, pause: Callable[[float], None] = time.sleep) -> int:
    """Run a command, again and again if the options say so; return its exit code."""
    code = run(options) or 0
    while getattr(options, "watch", False):
        sys.stdout.flush()
        pause(WATCH_SECONDS)
        with redirect_stdout(Screen(sys.stdout, HOME if sys.stdout.isatty() else "\n")):
            code = run(options) or 0
    return code
