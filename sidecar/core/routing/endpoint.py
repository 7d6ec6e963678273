"""One endpoint as an outlier detector sees it; the balancer's side of it is `load`.

Rules of ejection (per endpoint; the cluster caps how many may be out at once):
- HEALTHY → EJECTED after `consecutive_failures` failures in a row within `interval_seconds`, or when it stands out by
  its `success_rate`.
- EJECTED → PROBING when its time is over: the next request that picks it is the probe, and the only one.
- PROBING → HEALTHY when the head of a good answer comes; → EJECTED for longer when it fails. A probe that has found
  nothing out for `PROBE_SECONDS` is followed by another.
A time-out that ends and lets the whole load back onto a dead endpoint would fail many requests at once; one
probe fails at most one, and that one is retried elsewhere.
An endpoint is back with a good head, and well with a whole answer: only that makes its next ejection short again.
- HEALTHY or PROBING → EJECTED by a refusal, where no request reaches the app: for `REFUSAL_SECONDS`, twice as long each
  time, at most `LONGEST_REFUSAL_SECONDS`, the time in which callers learn that a task stops.
"""

from __future__ import annotations

from typing import Final, Literal

from sidecar.core.routing.health_check import FAILING, CheckedHealth
from sidecar.core.routing.load import GOOD, NEVER, OVERLOADED, Load
from sidecar.core.routing.policy import HealthCheck, OutlierDetection
from sidecar.core.states import AppProtocol, EndpointState

PROBE_SECONDS: Final = 10.0
"""Heads of streams may come late."""

REFUSAL_SECONDS: Final = 1.0
LONGEST_REFUSAL_SECONDS: Final = 8.0

Health = Literal[0, 1, 2]  # numbers: they are compared with each request
HEALTHY: Final = 0
EJECTED: Final = 1
PROBING: Final = 2
_NAMES: Final = ("healthy", "ejected", "probing")


class Endpoint(Load):
    """Routing state of one endpoint. Times are seconds of a monotonic clock."""

    __slots__ = (
        "address",
        "answers",
        "checked",
        "connect_failure",
        "ejected_until",
        "ejections",
        "failed_answers",
        "failing",
        "failures",
        "failures_in_a_row",
        "first_failure",
        "health",
        "id",
        "joined_at",
        "port",
        "protocol",
        "refusals",
        "rests_until",
        "state",
        "zone",
    )

    def __init__(
        self, id: str, address: str, port: int, state: EndpointState = "ready", protocol: AppProtocol = "http"
    ) -> None:
        Load.__init__(self)
        self.id = id
        self.address = address
        self.port = port
        self.protocol: AppProtocol = protocol
        self.state: EndpointState = state
        self.zone = ""  # unknown
        self.failures = 0
        self.health: Health = HEALTHY
        self.ejected_until = 0.0  # while PROBING: when the next probe is due
        self.ejections = 0  # in a row
        self.refusals = 0  # in a row
        self.failures_in_a_row = 0
        self.answers = 0  # in this interval of `success_rate`
        self.failed_answers = 0
        self.first_failure = 0.0
        self.rests_until = NEVER  # no retry comes here before
        self.joined_at = NEVER  # when it began to take requests beside others, for slow start
        self.connect_failure = ""  # why the last connection could not be made, empty if it could
        self.checked: CheckedHealth | None = None  # while active health checks are on
        self.failing = False  # by them

    def is_at(self, address: str, port: int, protocol: AppProtocol) -> bool:
        """Return whether it is reached there, in this protocol."""
        return self.address == address and self.port == port and self.protocol == protocol

    def health_name(self) -> str:
        """`healthy`, `ejected` or `probing`."""
        return _NAMES[self.health]

    def is_due(self, now: float) -> bool:
        """Return whether it is out for its failures, and the next request is to probe it."""
        return self.health != HEALTHY and now >= self.ejected_until and not self.failing

    def available(self, now: float) -> bool:
        """Return whether requests may come here: checks pass and it is not ejected, or due for its one probe."""
        return not self.failing and (self.health == HEALTHY or now >= self.ejected_until)

    def is_well(self) -> bool:
        """Return whether neither checks nor outlier detection object."""
        return self.health == HEALTHY and not self.failing

    def check(self, failure: str, policy: HealthCheck, now: float) -> bool:
        """Take a health check's result; `failure` is empty if it passed. Return whether it leaves or comes back."""
        if self.checked is None:
            return False
        self.checked.observe(failure, policy, now)
        before, self.failing = self.failing, self.checked.state == FAILING
        if before and not self.failing:
            self.joined_at = now
            if self.health == EJECTED:
                self.ejected_until = min(self.ejected_until, now)
        return before != self.failing

    def begin(self, now: float) -> int:
        """Give a request to this endpoint. Return its generation, which `end` wants to know."""
        if self.health != HEALTHY and now >= self.ejected_until:
            self.health = PROBING
            self.ejected_until = now + PROBE_SECONDS
        return self.enter(now)

    def abandon(self, now: float) -> bool:
        """End a request that says nothing about the endpoint: the client went away, or an idle connection was stale.

        Return whether the endpoint's health changed.
        """
        if self.health != PROBING:
            return False
        self.health = EJECTED
        self.ejected_until = now  # the next request probes
        return True

    def come_back(self, now: float) -> bool:
        """Take the beginning of a good answer. Return whether this ends an ejection."""
        if self.health != PROBING:
            return False
        self.health = HEALTHY
        self.joined_at = now
        self.failures_in_a_row = 0
        self.latency = 0.0  # of its bad days; kept, they would keep the traffic away
        self.doubt = GOOD
        return True

    def succeed(self, now: float, latency: float, doubt: float = GOOD) -> bool:
        """Count a request answered after `latency` seconds, though perhaps refused. Return whether health changed."""
        changed = self.come_back(now)
        self.answers += 1
        self.failures_in_a_row = 0
        self.refusals = 0
        if self.health == HEALTHY:
            self.ejections = 0
        self.doubted(doubt)
        if doubt == GOOD:
            self.observe(latency)
        return changed

    def fail(self, now: float, policy: OutlierDetection, may_eject: bool) -> bool:
        """Count a failed request. Return whether this ejects the endpoint."""
        self.failures += 1
        self.answers += 1
        self.failed_answers += 1
        self.doubted(OVERLOADED)
        if self.health == PROBING:
            self.eject(now, policy)
            return True
        if self.health == EJECTED:
            return False
        if self.failures_in_a_row == 0 or now - self.first_failure > policy.interval_seconds:
            self.failures_in_a_row = 0
            self.first_failure = now
        self.failures_in_a_row += 1
        if self.failures_in_a_row < policy.consecutive_failures or not may_eject:
            return False
        self.eject(now, policy)
        return True

    def refuse(self, now: float) -> bool:
        """Note that no request reaches an app here. Return whether this takes the endpoint out of routing."""
        self.failures += 1
        if self.health == EJECTED:
            return False
        self.health = EJECTED
        self.ejected_until = now + min(REFUSAL_SECONDS * 2.0**self.refusals, LONGEST_REFUSAL_SECONDS)
        self.refusals = min(self.refusals + 1, 10)
        self.failures_in_a_row = 0
        return True

    def eject(self, now: float, policy: OutlierDetection) -> None:
        """Take the endpoint out of routing for its failures."""
        self.ejections += 1
        seconds = min(policy.base_ejection_seconds * self.ejections, policy.max_ejection_seconds)
        self.health = EJECTED
        self.ejected_until = now + seconds
        self.failures_in_a_row = 0
