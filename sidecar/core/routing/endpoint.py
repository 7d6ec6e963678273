"""One endpoint as a balancer and an outlier detector see it.

Rules of ejection (per endpoint; the cluster caps how many may be out at once):
- HEALTHY → EJECTED after `consecutive_failures` failures in a row within `interval_seconds`.
- EJECTED → PROBING when its time is over: the next request that picks it is the probe, and the only one.
- PROBING → HEALTHY when the probe succeeds; → EJECTED for longer when it fails.
A time-out that ends and lets the whole load back onto a dead endpoint would fail many requests at once; one
probe fails at most one, and that one is retried elsewhere.

- HEALTHY or PROBING → EJECTED by a refusal, where no request reaches the app: for `REFUSAL_SECONDS`, twice as long each
  time, at most `LONGEST_REFUSAL_SECONDS`, the time in which callers learn that a task stops.

Rules of latency: an exponentially weighted mean that jumps up at once and decays over `DECAY_SECONDS` (peak
EWMA). A failed attempt counts as `FAILURE_PENALTY_SECONDS`, so that fast errors do not attract traffic.
"""

from __future__ import annotations

import math
from typing import Final

from sidecar.core.routing.health_check import FAILING, CheckedHealth
from sidecar.core.routing.policy import HealthCheck, OutlierDetection

DECAY_SECONDS: Final = 10.0
FAILURE_PENALTY_SECONDS: Final = 0.25

REFUSAL_SECONDS: Final = 1.0
LONGEST_REFUSAL_SECONDS: Final = 8.0

NEVER: Final = -1e9
"""Long before any clock's now."""

HEALTHY: Final = 0
EJECTED: Final = 1
PROBING: Final = 2
_NAMES: Final = ("healthy", "ejected", "probing")


class Endpoint:
    """Routing state of one endpoint. Times are seconds of a monotonic clock."""

    __slots__ = (
        "active",
        "address",
        "checked",
        "ejected_until",
        "ejections",
        "failing",
        "failures",
        "failures_in_a_row",
        "first_failure",
        "health",
        "id",
        "joined_at",
        "latency",
        "latency_at",
        "port",
        "refusals",
        "requests",
        "same_zone",
        "state",
    )

    def __init__(self, id: str, address: str, port: int, state: str = "ready", same_zone: bool = True) -> None:
        self.id = id
        self.address = address
        self.port = port
        self.state = state
        self.same_zone = same_zone
        self.active = 0  # requests or connections under way
        self.requests = 0
        self.failures = 0
        self.latency = 0.0  # seconds; 0 while nothing is known
        self.latency_at = 0.0
        self.health = HEALTHY
        self.ejected_until = 0.0
        self.ejections = 0  # in a row
        self.refusals = 0  # in a row
        self.failures_in_a_row = 0
        self.first_failure = 0.0
        self.joined_at = NEVER  # when it began to take requests beside others, for slow start
        self.checked: CheckedHealth | None = None  # while active health checks are on
        self.failing = False  # by them

    def health_name(self) -> str:
        """`healthy`, `ejected` or `probing`."""
        return _NAMES[self.health]

    def available(self, now: float) -> bool:
        """Whether a request may be sent here: its checks pass and it is not ejected, or due for its one probe."""
        if self.failing:
            return False
        if self.health == HEALTHY:
            return True
        return self.health == EJECTED and now >= self.ejected_until

    def is_well(self) -> bool:
        """Whether neither checks nor outlier detection object."""
        return self.health == HEALTHY and not self.failing

    def check(self, failure: str, policy: HealthCheck, now: float) -> bool:
        """A health check ended; `failure` is empty if it passed. Return whether this takes it out or brings it back."""
        if self.checked is None:
            return False
        self.checked.observe(failure, policy, now)
        before, self.failing = self.failing, self.checked.state == FAILING
        if before and not self.failing:
            self.joined_at = now
            if self.health == EJECTED:
                self.ejected_until = min(self.ejected_until, now)
        return before != self.failing

    def begin(self, now: float) -> None:
        """A request was given to this endpoint."""
        self.active += 1
        self.requests += 1
        if self.health == EJECTED and now >= self.ejected_until:
            self.health = PROBING

    def end(self) -> None:
        """The request is over, however it went."""
        self.active -= 1

    def abandon(self) -> None:
        """The request says nothing about the endpoint: the client went away, or an idle connection was stale."""
        if self.health == PROBING:
            self.health = EJECTED  # due at once: the next request probes

    def succeed(self, now: float, latency: float) -> None:
        """The request was answered after `latency` seconds."""
        self.failures_in_a_row = 0
        self.refusals = 0
        if self.health == PROBING:
            self.health = HEALTHY
            self.joined_at = now
            self.ejections = 0
            self.latency = 0.0  # of its bad days; kept, it would keep the traffic away
        self._observe(now, latency)

    def fail(self, now: float, policy: OutlierDetection, may_eject: bool) -> bool:
        """The request failed. Return whether this ejects the endpoint."""
        self.failures += 1
        self._observe(now, max(FAILURE_PENALTY_SECONDS, self.latency))
        if self.health == PROBING:
            self._eject(now, policy)
            return True
        if self.health == EJECTED:
            return False
        if self.failures_in_a_row == 0 or now - self.first_failure > policy.interval_seconds:
            self.failures_in_a_row = 0
            self.first_failure = now
        self.failures_in_a_row += 1
        if self.failures_in_a_row < policy.consecutive_failures or not may_eject:
            return False
        self._eject(now, policy)
        return True

    def refuse(self, now: float) -> bool:
        """No request reaches an app here. Return whether this takes the endpoint out of routing."""
        self.failures += 1
        if self.health == EJECTED:
            return False
        self.health = EJECTED
        self.ejected_until = now + min(REFUSAL_SECONDS * 2.0**self.refusals, LONGEST_REFUSAL_SECONDS)
        self.refusals = min(self.refusals + 1, 10)
        self.failures_in_a_row = 0
        return True

    def _eject(self, now: float, policy: OutlierDetection) -> None:
        self.ejections += 1
        seconds = min(policy.base_ejection_seconds * self.ejections, policy.max_ejection_seconds)
        self.health = EJECTED
        self.ejected_until = now + seconds
        self.failures_in_a_row = 0

    def _observe(self, now: float, latency: float) -> None:
        if latency >= self.latency:
            self.latency = latency
        else:
            weight = math.exp((self.latency_at - now) / DECAY_SECONDS)
            self.latency = self.latency * weight + latency * (1.0 - weight)
        self.latency_at = now

    def estimate(self, now: float, unknown: float) -> float:
        """The latency to expect here; `unknown` is what to assume of an endpoint without news.

        An estimate above that drifts down to it, or one slow answer would shut the endpoint out for ever.
        """
        latency = self.latency
        if latency == 0.0:
            return unknown
        if latency > unknown:
            return unknown + (latency - unknown) * math.exp((self.latency_at - now) / DECAY_SECONDS)
        return latency
