"""How long requests took, by what they were: the histograms `http.server.request.duration` and its like of clients.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/

Rules:
- A series is one combination of `Kind`'s fields. At most `MAX_SERIES` are kept, since methods and names come from
  outside; what is beyond counts under the one series of its direction that says so.
- Counts only grow.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

MAX_SERIES: Final = 2000
"""The limit that OpenTelemetry's SDKs keep for one metric; 1 KB each."""
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""In seconds, those that the semantic conventions advise. A value at a bound is below it."""


class Kind(NamedTuple):
    """What a request was. Empty, 0 or None where that is not known."""

    inbound: bool
    service: str
    method: str
    version: str  # of the client's HTTP
    status: int
    grpc_status: int | None
    flag: str
    is_overflow: bool = False


class Duration:
    """The durations of one series: how many were in each bucket, the one above all bounds last."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def record(self, seconds: float) -> None:
        """Count one request."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


_OVERFLOWS: Final = (
    Kind(False, "", "", "", 0, None, "", True),
    Kind(True, "", "", "", 0, None, "", True),
)


class Durations:
    """All series."""

    __slots__ = ("series",)

    def __init__(self) -> None:
        self.series: dict[Kind, Duration] = {}

    def record(self, kind: Kind, seconds: float) -> None:
        """Count one request of this kind."""
        found = self.series.get(kind)
        if found is None:
            if len(self.series) >= MAX_SERIES:
                kind = _OVERFLOWS[kind.inbound]
            found = self.series.setdefault(kind, Duration())
        found.record(seconds)
