"""What the command and the dashboard print on: colour where somebody looks, plain lines where a program reads."""

from __future__ import annotations

import errno
import os
from typing import IO, NoReturn

from rich.console import Console


class _Console(Console):
    """A console that leaves it to the command how to end when nobody reads the output any more."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise again what rich would end the process for."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(stream: IO[str]) -> Console:
    """Return a console that writes plainly unless the stream is a terminal."""
    if stream.isatty():
        return _Console(file=stream, highlight=False)
    return _Console(file=stream, highlight=False, no_color=True, width=1000)
