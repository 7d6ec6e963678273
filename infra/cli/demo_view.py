"""How the demo is seen: a table that grows on a terminal, a line at a time elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from infra.cli.report import PHASES, Phase, Tally, row
from infra.cli.tables import show, table
from infra.terminal import console


class View:
    """Shows phases as they end and what happens now. A context manager."""

    def __init__(self, stream: IO[str] = sys.stdout) -> None:
        self._stream = stream
        self._console: Console = console(stream)
        self._live: Live | None = None
        self._phases: list[Phase] = []
        self._notes: list[str] = []
        self._now = ""
        self._tally: Callable[[], Tally] = Tally

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._now = ""
            self._live.stop()
        elif self._phases:
            self._stream.write("\n")
            show(self._stream, "table", PHASES, [row(done) for done in self._phases])

    def follow(self, tally: Callable[[], Tally]) -> None:
        """Show this tally while something happens."""
        self._tally = tally

    def say(self, what: str) -> None:
        """Say what happens now."""
        self._now = what
        if self._live is not None:
            self._live.refresh()
        else:
            self._stream.write(what + "\n")
            self._stream.flush()

    def note(self, what: str) -> None:
        """Show what came out of a phase."""
        self._notes.append(what)
        if self._live is not None:
            self._live.refresh()
        else:
            self._stream.write(f"  {what}\n")
            self._stream.flush()

    def ended(self, phase: Phase) -> None:
        """Show a phase that has ended."""
        self._phases.append(phase)
        if self._live is not None:
            self._live.refresh()
        else:
            done = row(phase)
            self._stream.write(
                f"  {done['requests']} requests, {done['failed']} failed in {done['seconds']} s"
                f" | {done['per_endpoint']} | joined: {done['joined'] or '-'}\n"
            )
            self._stream.flush()

    def _picture(self) -> Group:
        parts: list[object] = [table(PHASES, [row(done) for done in self._phases])]
        parts += [Text(f"\n{note}") for note in self._notes]
        if self._now:
            tally = self._tally()
            parts.append(Text(f"\n{self._now}", style="bold"))
            parts.append(Text(f"{tally.sent} requests sent so far, {tally.failed} failed"))
        return Group(*parts)  # type: ignore[arg-type]  # all of them are renderable
