"""`tramo top SERVICE`: the requests of some seconds, summed by caller, called service, method and path.

On a terminal the table is drawn anew every second; elsewhere it is printed once, at the end.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from infra.cli.mesh import open_mesh
from infra.cli.tables import Column, Row, show_rows, table
from infra.cli.tap import callers_of, filters, time_of, warn_of_left_out
from infra.cli.traffic import columns, percent, shown
from infra.client.api import Json
from infra.client.requests import Batch, batches
from sidecar.core.http.grpc import http_status

_SOURCE: Final = Column("SOURCE", "source")
_KIND: Final = (Column("DESTINATION", "destination"), Column("METHOD", "method"), Column("PATH", "path"))
_COUNTS: Final = (
    Column("COUNT", "count", right=True),
    Column("BEST", "best", right=True),
    Column("WORST", "worst", right=True),
    Column("LAST", "last", right=True),
    Column("SUCCESS", "success", right=True),
)
COLUMNS: Final = (_SOURCE, *_KIND, *_COUNTS)
WITHOUT_SOURCES: Final = (*_KIND, *_COUNTS)
_MORE: Final = (Column("DIRECTION", "direction"),)
MOST_KINDS: Final = 10_000
"""Paths may have ids in them, and a top may last for hours."""
MOST_ROWS: Final = 50
SCREEN_ROWS: Final = 20
"""As many fit a small terminal; the end of a top shows more."""


@dataclass(slots=True)
class Sum:
    """Requests of one kind. Durations are milliseconds."""

    count: int = 0
    ok: int = 0
    best: float = 0.0
    worst: float = 0.0
    last: float = 0.0

    def add(self, request: Json) -> None:
        """Count a request."""
        duration = float(request["duration"])
        self.best = min(self.best, duration) if self.count else duration
        self.worst = max(self.worst, duration)
        self.last = duration
        self.count += 1
        self.ok += has_succeeded(request)


class Sums:
    """Requests by kind: direction, caller, called service, method and path."""

    def __init__(self, name: Callable[[Json], str], source: str | None = None, *, hide_sources: bool = False) -> None:
        self._name = name
        self._only = source
        self._hide_sources = hide_sources
        self._sums: dict[tuple[str, ...], Sum] = {}
        self.left_out = 0

    def add(self, batch: Batch) -> None:
        """Count requests; those of more kinds than are kept are left out."""
        self.left_out += batch.left_out
        for each in batch.requests:
            source = self._name(each)
            if self._only not in (None, source):
                continue
            shown_source = "" if self._hide_sources else source
            key = (each["direction"], shown_source, each["upstream_cluster"], each["method"], each["path"])
            found = self._sums.get(key)
            if found is None:
                if len(self._sums) >= MOST_KINDS:
                    self.left_out += 1
                    continue
                found = self._sums[key] = Sum()
            found.add(each)

    def rows(self) -> list[Row]:
        """Return a row for each kind, the most frequent first."""
        most = sorted(self._sums.items(), key=lambda item: -item[1].count)[:MOST_ROWS]
        return [
            {
                "direction": direction,
                "source": source,
                "destination": destination,
                "method": method,
                "path": path,
                "count": each.count,
                "best": shown(each.best),
                "worst": shown(each.worst),
                "last": shown(each.last),
                "success": percent(each.ok / each.count),
            }
            for (direction, source, destination, method, path), each in most
        ]


def has_succeeded(request: Json) -> bool:
    """Say whether the client got an answer below 500, of gRPC by its status."""
    code = int(request["response_code"])
    if request.get("grpc_status") is not None and code == 200:
        code = http_status(request["grpc_status"])
    return 0 < code < 500


def run(options: argparse.Namespace) -> int:
    """Sum requests until the time is over, or Ctrl-C."""
    mesh = open_mesh(options)
    namespace = mesh.namespace_of(options.service)
    mesh.require_services([options.destination])
    callers = callers_of(mesh, namespace, options.service)
    sums = Sums(callers.name, options.source, hide_sources=options.hide_sources)
    narrow = WITHOUT_SOURCES if options.hide_sources else COLUMNS
    chosen = columns(options.output, narrow, (*narrow, *_MORE))
    live = sys.stdout.isatty() and options.output != "json"
    progress = io.StringIO() if live else None  # the table is what moves
    found = batches(mesh.api, namespace, options.service, filters(options), time_of(options), progress=progress)
    try:
        for batch in draw(sys.stdout, found, sums, chosen) if live else found:
            sums.add(batch)
    except KeyboardInterrupt:
        if not live:
            raise
        # On a terminal this is how one ends it.
    show_rows(sys.stdout, options.output, chosen, sums.rows())
    warn_of_left_out(sums.left_out)
    return 0


def draw(stream: IO[str], found: Iterable[Batch], sums: Sums, chosen: Iterable[Column]) -> Iterator[Batch]:
    """Yield batches, and draw the table anew behind each; at the end there is nothing to see of it."""
    from rich.live import Live

    from infra.terminal import console

    columns_shown = tuple(chosen)
    with Live(console=console(stream), auto_refresh=False, transient=True) as screen:
        for batch in found:
            yield batch
            rows = sums.rows()[:SCREEN_ROWS]
            screen.update(table(columns_shown, rows) if rows else "waiting for the first requests", refresh=True)
