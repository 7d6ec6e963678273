"""What this sidecar answers to the questions of operators, by subject.

Rules:
- An answer is what a page of the admin port shows, what the meters count, or heads of requests as they end. Bodies,
  queries and headers are in none.
- A tap costs nothing while nobody taps: it is hung into the recorder for its time, which is one comparison a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sidecar
from sidecar import build
from sidecar.admin.pages import Pages
from sidecar.core.access_log import HttpLine
from sidecar.metadata import TaskIdentity
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.poller import Poller
from sidecar.registry.questions import Answerer, Question, Send
from sidecar.telemetry.recorder import Recorder
from sidecar.telemetry.window import Window

WINDOW_SECONDS: Final = 60
SHORTEST_WINDOW_SECONDS: Final = 15
"""Counts are read so often (`telemetry/window.py`)."""
LONGEST_TAP_SECONDS: Final = 60.0
TAP_EVERY_SECONDS: Final = 1.0
MOST_TAPPED: Final = 100
"""Requests of one second that an answer has; how many more there were is counted."""
SHOWN: Final = ("ready", "clusters", "config", "stats")


class Answers:
    """Makes the answers."""

    def __init__(
        self,
        runtime: Runtime,
        pages: Pages,
        poller: Poller,
        window: Window,
        identity: TaskIdentity,
        zone: str,
        offered: Sequence[str],
    ) -> None:
        self._runtime = runtime
        self._pages = pages
        self._poller = poller
        self._window = window
        self._identity = identity
        self._zone = zone
        self._offered = offered

    def by_subject(self) -> Mapping[str, Answerer]:
        """Return who answers what."""
        return {"stat": self._stat, "tap": self._tap, **dict.fromkeys(SHOWN, self._page)}

    async def _stat(self, question: Question, send: Send) -> None:
        snapshot, confirmed = self._poller.snapshot, self._poller.confirmed_at
        age = round(self._runtime.now() - confirmed, 3) if confirmed else None
        await send(
            {
                "version": sidecar.__version__,
                "build": build.kind(),
                "service": self._identity.service_name,
                "cluster": self._identity.cluster_name,
                "zone": self._zone,
                "offers": self._offered,
                "draining": self._runtime.draining,
                "snapshot": {
                    "revision": snapshot.revision if snapshot is not None else 0,
                    "age_seconds": age,
                    "source": self._poller.source,
                    "interval_seconds": self._poller.longest_interval,
                },
                **self._window.moved(window_of(question.filters)),
            }
        )

    async def _page(self, question: Question, send: Send) -> None:
        _, document = self._pages.get(f"/{question.subject}")
        wanted = question.filters.get("to")
        if question.subject == "clusters" and wanted:
            chosen = [each for each in document["clusters"] if each["name"] == wanted]
            document = {**document, "clusters": chosen}
        await send(document)

    async def _tap(self, question: Question, send: Send) -> None:
        tap = Tap(question.filters)
        recorder = self._runtime.recorder
        if not isinstance(recorder, Recorder):  # nothing is logged or traced
            recorder = self._runtime.recorder = Recorder(self._runtime, None, None, time.time)
        recorder.taps.append(tap.take)
        until = self._runtime.now() + min(question.until - time.time(), LONGEST_TAP_SECONDS)
        try:
            while self._runtime.now() < until:
                await asyncio.sleep(min(TAP_EVERY_SECONDS, max(until - self._runtime.now(), 0.0)))
                if tap.lines or tap.left_out:
                    await send(tap.batch())
        finally:
            recorder.taps.remove(tap.take)
            if not recorder.is_used():
                self._runtime.recorder = None


def window_of(filters: Mapping[str, str]) -> float:
    """Return the seconds that are asked for, within what is kept; a minute if none are, or no number."""
    asked = filters.get("window", "")
    seconds = int(asked) if asked.isdecimal() and len(asked) < 4 else WINDOW_SECONDS
    return float(min(max(seconds, SHORTEST_WINDOW_SECONDS), WINDOW_SECONDS))


class Tap:
    """Requests that ended since the last batch, of those that are looked for."""

    def __init__(self, filters: Mapping[str, str]) -> None:
        self.lines: list[HttpLine] = []
        self.left_out = 0
        self._method = filters.get("method", "").upper()
        self._path = filters.get("path", "")
        self._authority = filters.get("authority", "").lower()
        self._to = filters.get("to", "")

    def take(self, line: HttpLine) -> None:
        """Count a request that ended."""
        if (
            (self._method and line.method != self._method)
            or not line.path.startswith(self._path)
            or (self._authority and line.authority.lower().partition(":")[0] != self._authority.partition(":")[0])
            or (self._to and line.upstream_cluster != self._to)
        ):
            return
        if len(self.lines) < MOST_TAPPED:
            self.lines.append(line)
        else:
            self.left_out += 1

    def batch(self) -> dict[str, Any]:
        """Return what came since the last time."""
        lines, self.lines = self.lines, []
        left_out, self.left_out = self.left_out, 0
        return {"requests": lines, "left_out": left_out}
