"""What active health checks find out about an endpoint, and when the next one is due.

Rules:
- unknown → passing with the first success; passing or unknown → failing after `unhealthy_threshold` failures in a row;
  failing → passing after `healthy_threshold` successes in a row.
- Unknown is as good as passing: the registry has said that the endpoint is ready, and a sidecar that has just started
  must not refuse the requests of its first seconds.
- Checks and outlier detection do not overrule each other. An endpoint takes requests when neither objects. A success
  that follows successes ends no ejection: an app may answer its health check and fail all else. Only an endpoint that
  comes back from failing may be probed at once, by one request: it has changed.
- Checks are spread by `JITTER`, and rare for a service that this sidecar does not call: else every task of a
  namespace would check every other one.
- gRPC: github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

from __future__ import annotations

from typing import Final, Literal

from sidecar.core.http import grpc_status
from sidecar.core.routing.policy import HealthCheck

CheckState = Literal[0, 1, 2]
UNKNOWN: Final = 0
PASSING: Final = 1
FAILING: Final = 2
_NAMES: Final = ("unknown", "passing", "failing")

JITTER: Final = 0.1
"""Share of the interval by which a check comes sooner or later."""
QUIET_SECONDS: Final = 60.0
"""Between checks of a service without traffic from here; Envoy's `no_traffic_interval`."""
FIRST_SECONDS: Final = 1.0
"""Within which the first check of a new endpoint comes."""

_SERVING: Final = 1
_STATUSES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


class CheckedHealth:
    """What the checks of one endpoint have found so far."""

    __slots__ = ("checked_at", "checks", "failure", "in_a_row", "state")

    def __init__(self) -> None:
        self.state: CheckState = UNKNOWN
        self.in_a_row = 0  # checks that speak against the state
        self.checks = 0
        self.checked_at = 0.0
        self.failure = ""  # why the last check failed; empty if it did not

    def state_name(self) -> str:
        """`unknown`, `passing` or `failing`."""
        return _NAMES[self.state]

    def observe(self, failure: str, policy: HealthCheck, now: float) -> bool:
        """Take a check's result; `failure` says why it failed, empty if it passed. Return whether the state changed."""
        self.checks += 1
        self.checked_at = now
        self.failure = failure
        if self.state == UNKNOWN and not failure:
            self.state = PASSING
            self.in_a_row = 0
            return True
        if bool(failure) == (self.state == FAILING):
            self.in_a_row = 0
            return False
        self.in_a_row += 1
        if self.in_a_row < (policy.unhealthy_threshold if failure else policy.healthy_threshold):
            return False
        self.state = FAILING if failure else PASSING
        self.in_a_row = 0
        return True

    def is_wanted(self, now: float, called: bool) -> bool:
        """Return whether to check now that it is time; `called`: requests went to the service since the last one."""
        settled = self.state != UNKNOWN and self.in_a_row == 0
        return called or not settled or now - self.checked_at >= QUIET_SECONDS


def first_check(policy: HealthCheck, now: float, random: int) -> float:
    """Return when to check an endpoint for the first time. `random` has 16 bits."""
    return now + min(policy.interval_seconds, FIRST_SECONDS) * (random / 65_536.0)


def next_check(policy: HealthCheck, now: float, random: int) -> float:
    """Return when to check an endpoint again. `random` has 16 bits."""
    return now + policy.interval_seconds * (1.0 + JITTER * (random / 32_768.0 - 1.0))


def http_failure(policy: HealthCheck, status: int) -> str:
    """Return what this status says against the endpoint."""
    if status in policy.statuses:
        return ""
    return f"status {status}, not {' or '.join(map(str, policy.statuses))}"


def grpc_request(service: str) -> bytes:
    """Return a grpc.health.v1.HealthCheckRequest with its frame. The service's name has at most 127 characters."""
    name = service.encode()
    message = b"\x0a" + bytes((len(name),)) + name if name else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def grpc_failure(status: int | None, body: bytes) -> str:
    """Return what this answer, a `grpc-status` and a HealthCheckResponse with its frame, says against the endpoint."""
    if status != grpc_status.OK:
        return "no grpc-status" if status is None else f"grpc-status {status}"
    message = body[5:]
    if not message:
        return _STATUSES[0]  # protobuf leaves a zero out
    if len(message) != 2 or message[0] != 0x08:
        return "the answer is no HealthCheckResponse"
    if message[1] == _SERVING:
        return ""
    return _STATUSES[message[1]] if message[1] < len(_STATUSES) else f"serving status {message[1]}"
