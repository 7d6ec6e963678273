"""Which failed attempts are made again.

Rules:
- What the application provably has not seen is retried for every method: no connection could be made, or the
  endpoint's own sidecar says that it kept the request to itself.
- What it may have seen is retried for idempotent methods only (RFC 9110 section 9.2.2): the connection broke
  before an answer, or the answer is 502, 503 or 504.
- An endpoint that asks for a pause, by `Retry-After` or `grpc-retry-pushback-ms`, gets no retry before it is over.
  Where no other endpoint is left its answer is passed on, as is one that wants no retry at all.
- Never once a byte of the answer went to the client, nor when the body was too long to keep, nor what the policy's
  `on` leaves out.
- A refused attempt takes its endpoint out of routing at once (`Cluster.refuse`). While another endpoint is in routing
  that was not tried, one more attempt follows, beyond the policy's count and outside the budget: so nothing fails
  however many tasks of a service stop together, and each endpoint can cause it only once.
- All attempts share the request's time-out, and retries share a budget: at most `budget_percent` of the requests
  of the last `WINDOW_SECONDS` (and always `MINIMUM_RETRIES`, or a quiet service could never retry).
- What is provably unprocessed costs an endpoint next to nothing, and each retry of it saves a request for sure: it has
  a budget of its own, `UNPROCESSED_PERCENT`. So one of three endpoints may refuse all it gets, and no outage makes the
  requests more than twice as many by it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sidecar.core.http.messages import IDEMPOTENT_METHODS, Fields

WINDOW_SECONDS: Final = 10.0
MINIMUM_RETRIES: Final = 10
UNPROCESSED_PERCENT: Final = 100.0
MOST_PAUSE_SECONDS: Final = 30.0
"""An answer may ask to be left alone for so long; more would outlast what it is about."""
FOREVER: Final = float("inf")
MAX_KEPT_BODY_BYTES: Final = 65_536
"""A body is kept for a retry up to this size, linkerd's: larger ones are rare and would hold memory."""

REFUSED: Final = -1
"""No request reaches an app there: no connection could be made, or the endpoint's sidecar can make none to its app."""
UNPROCESSED: Final = 0
"""Failure before the application saw the request."""
PERHAPS_PROCESSED: Final = 1
"""Failure after the application may have seen it."""


def may_retry(method: bytes, failure: int) -> bool:
    """Return whether an attempt that failed so may be made again, as far as the request's meaning goes."""
    return failure in (REFUSED, UNPROCESSED) or method in IDEMPOTENT_METHODS


def pause_seconds(fields: Fields) -> float | None:
    """Return how long this answer asks for a pause, None if it does not say; for ever if that makes no sense.

    `Retry-After`, in seconds or as a date, or gRPC's pushback (gRFC A6). A date is read by the answer's own `Date`: the
    two clocks need not agree.
    """
    for name, value in fields:
        if name == b"retry-after":
            return min(float(value[:9]), MOST_PAUSE_SECONDS) if value.isdigit() else _until(value, fields)
        if name == b"grpc-retry-pushback-ms":
            return min(int(value[:9]) / 1000.0, MOST_PAUSE_SECONDS) if value.isdigit() else FOREVER
    return None


def _until(value: bytes, fields: Fields) -> float | None:
    then = _date(value)
    said = next((_date(date) for name, date in fields if name == b"date"), None)
    if then is None or said is None:
        return None
    return min(max((then - said).total_seconds(), 0.0), MOST_PAUSE_SECONDS)


def _date(value: bytes) -> datetime | None:
    """Return a date of HTTP in the one form that is still sent (RFC 9110 section 5.6.7)."""
    try:
        return datetime.strptime(value.decode("latin-1"), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


class RetryBudget:
    """Counts requests and retries in two half windows; the older half is dropped as time goes on."""

    __slots__ = ("_before", "_now", "_started")

    def __init__(self) -> None:
        self._started = 0.0
        self._now = _Counts()
        self._before = _Counts()

    def _turn(self, now: float) -> None:
        half = WINDOW_SECONDS / 2
        age = now - self._started
        if age < half:
            return
        self._before = self._now if age < WINDOW_SECONDS else _Counts()
        self._now = _Counts()
        self._started = now

    def request(self, now: float) -> None:
        """Count a request that arrived."""
        self._turn(now)
        self._now.requests += 1

    def take(self, now: float, percent: float, failure: int = PERHAPS_PROCESSED) -> bool:
        """Take one retry of such a failure from the budget; False when it is used up."""
        self._turn(now)
        counts, before = self._now, self._before
        requests = counts.requests + before.requests
        if failure != PERHAPS_PROCESSED:
            if counts.unprocessed + before.unprocessed >= max(requests * UNPROCESSED_PERCENT / 100.0, MINIMUM_RETRIES):
                return False
            counts.unprocessed += 1
        else:
            if counts.retries + before.retries >= max(requests * percent / 100.0, MINIMUM_RETRIES):
                return False
            counts.retries += 1
        return True


class _Counts:
    """Of half a window."""

    __slots__ = ("requests", "retries", "unprocessed")

    def __init__(self) -> None:
        self.requests = 0
        self.retries = 0
        self.unprocessed = 0
