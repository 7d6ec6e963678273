"""Which failed attempts are made again.

Rules:
- What the application provably has not seen is retried for every method: no connection could be made, or the
  endpoint's own sidecar says that it kept the request to itself.
- What it may have seen is retried for idempotent methods only (RFC 9110 section 9.2.2): the connection broke
  before an answer, or the answer is 502, 503 or 504.
- Never once a byte of the answer went to the client, nor when the body was too long to keep, nor what the policy's
  `on` leaves out.
- A refused attempt takes its endpoint out of routing at once (`Cluster.refuse`). While another endpoint is in routing
  that was not tried, one more attempt follows, beyond the policy's count and outside the budget: so nothing fails
  however many tasks of a service stop together, and each endpoint can cause it only once.
- All attempts share the request's time-out, and retries share a budget: at most `budget_percent` of the requests
  of the last `WINDOW_SECONDS` (and always `MINIMUM_RETRIES`, or a quiet service could never retry).
"""

from __future__ import annotations

from typing import Final

from sidecar.core.http.messages import IDEMPOTENT_METHODS

WINDOW_SECONDS: Final = 10.0
MINIMUM_RETRIES: Final = 10
MAX_KEPT_BODY_BYTES: Final = 65_536
"""A body is kept for a retry up to this size, linkerd's: larger ones are rare and would hold memory."""

REFUSED: Final = -1
"""No request reaches an app there: no connection could be made, or the endpoint's sidecar can make none to its app."""
UNPROCESSED: Final = 0
"""Failure before the application saw the request."""
PERHAPS_PROCESSED: Final = 1
"""Failure after the application may have seen it."""


def may_retry(method: bytes, failure: int) -> bool:
    """Whether an attempt that failed so may be made again, as far as the request's meaning goes."""
    return failure in (REFUSED, UNPROCESSED) or method in IDEMPOTENT_METHODS


class RetryBudget:
    """Counts requests and retries in two half windows; the older half is dropped as time goes on."""

    __slots__ = ("_requests", "_requests_before", "_retries", "_retries_before", "_started")

    def __init__(self) -> None:
        self._started = 0.0
        self._requests = 0
        self._retries = 0
        self._requests_before = 0
        self._retries_before = 0

    def _turn(self, now: float) -> None:
        half = WINDOW_SECONDS / 2
        age = now - self._started
        if age < half:
            return
        if age < WINDOW_SECONDS:
            self._requests_before, self._retries_before = self._requests, self._retries
        else:
            self._requests_before = self._retries_before = 0
        self._requests = self._retries = 0
        self._started = now

    def request(self, now: float) -> None:
        """A request arrived."""
        self._turn(now)
        self._requests += 1

    def take(self, now: float, percent: float) -> bool:
        """Take one retry from the budget; False when it is used up."""
        self._turn(now)
        retries = self._retries + self._retries_before
        allowed = (self._requests + self._requests_before) * percent / 100.0
        if retries >= max(allowed, MINIMUM_RETRIES):
            return False
        self._retries += 1
        return True
