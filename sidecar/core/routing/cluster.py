"""A cluster: the endpoints of one service, how to choose among them, and how much may be under way.

Rules:
- A new snapshot changes the endpoints in place: one that stays keeps its latency, its failures and its
  ejection, and requests under way on one that went finish there.
- Ejection is capped: never more than `max_ejection_percent` of the ready endpoints at once, those that fail their
  health checks included, and never the only one. Health checks have no cap: when all endpoints fail them, or are
  ejected, all that are ready are tried.
- An endpoint whose app cannot be reached leaves routing at once and uncapped, for seconds: its tasks stop, or have not
  begun. When no others are left, all that are ready are tried.
- An ejected endpoint that is due for its probe gets the next request, whatever the balancer thinks of it: else its
  old failures would keep it out long after its time.
- A snapshot that takes the last endpoints away while they were ready is believed, but they stay as the last resort
  for `fallback_seconds`: an empty registry is more often a fault than a wish. Endpoints that drained before are not.
- An endpoint that becomes ready beside others that were, or comes back from an ejection or from failing checks, starts
  slowly where the policy says so. The first endpoints of a service do not: somebody has to take its requests.
- The circuit breaker counts requests, requests waiting for a connection, and connections, per service.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.routing.balancer import candidates, least_request, warmed_up
from sidecar.core.routing.endpoint import EJECTED, HEALTHY, Endpoint
from sidecar.core.routing.health_check import CheckedHealth
from sidecar.core.routing.policy import Policy
from sidecar.core.routing.retry import RetryBudget
from sidecar.core.snapshot import EndpointRecord

FALLBACK_SECONDS: Final = 300.0


class Cluster:
    """Routing state of one service."""

    __slots__ = (
        "_choices",
        "_choices_valid",
        "_fallback",
        "_fallback_until",
        "_slow_until",
        "_turn",
        "active_requests",
        "by_id",
        "connections",
        "ejections",
        "endpoints",
        "fallback_seconds",
        "name",
        "overflows",
        "pending_requests",
        "policy",
        "protocol",
        "retries",
        "retry_budget",
    )

    def __init__(self, name: str, protocol: str, policy: Policy, fallback_seconds: float = FALLBACK_SECONDS) -> None:
        self.name = name
        self.fallback_seconds = fallback_seconds
        self.protocol = protocol
        self.policy = policy
        self.endpoints: list[Endpoint] = []
        self.by_id: dict[str, Endpoint] = {}
        self.retry_budget = RetryBudget()
        self.active_requests = 0
        self.pending_requests = 0
        self.connections = 0
        self._fallback: list[Endpoint] = []
        self._fallback_until = 0.0
        self._choices: list[Endpoint] = []
        self._choices_valid = False
        self._slow_until = 0.0  # until then an endpoint may be in its slow start
        self._turn = 0

    def update(
        self, protocol: str, policy: Policy, records: tuple[EndpointRecord, ...], zone: str, now: float
    ) -> list[Endpoint]:
        """Take over a service's record. Return the endpoints that no new request may go to."""
        self.protocol = protocol
        self.policy = policy
        self._choices_valid = False
        fresh: dict[str, Endpoint] = {}
        retired: list[Endpoint] = []
        joins = any(endpoint.state == "ready" for endpoint in self.endpoints)
        for record in records:
            endpoint = self.by_id.get(record.id)
            was_ready = endpoint is not None and endpoint.state == "ready"
            if endpoint is None or (endpoint.address, endpoint.port) != (record.address, record.port):
                endpoint = Endpoint(record.id, record.address, record.port)
                was_ready = False
            if was_ready and record.state != "ready":
                retired.append(endpoint)
            elif joins and record.state == "ready" and not was_ready:
                endpoint.joined_at = now
            endpoint.state = record.state
            endpoint.same_zone = not zone or not record.zone or record.zone == zone
            fresh[record.id] = endpoint
        lost = [endpoint for id, endpoint in self.by_id.items() if id not in fresh and endpoint.state == "ready"]
        if fresh:
            self._fallback = []
        elif lost:
            self._fallback = lost
            self._fallback_until = now + self.fallback_seconds
        for id, endpoint in self.by_id.items():
            if fresh.get(id) is not endpoint:
                endpoint.state = "gone"
                retired.append(endpoint)
        self.by_id = fresh
        self.endpoints = list(fresh.values())
        return retired

    def pick(self, now: float, random: int, tried: list[Endpoint]) -> Endpoint | None:
        """The endpoint for the next attempt; one not tried before if there is any. None if there is no endpoint.

        `random` has 48 bits: 32 to choose two endpoints, and 16 for those that start slowly.
        """
        # While every ready endpoint is healthy, the usual case, the list of choices is the same for all requests.
        choices = self._choices if self._choices_valid else self._find_choices(now)
        if tried:
            choices = [endpoint for endpoint in choices if endpoint not in tried] or choices
        if not choices:
            return self._last_resort(now, random)
        if not self._choices_valid:
            for endpoint in choices:
                if endpoint.health == EJECTED and endpoint.available(now) and endpoint not in tried:
                    return endpoint
        if now < self._slow_until:
            choices = warmed_up(choices, now, random >> 32, self.policy.load_balancing.slow_start_seconds)
        if self.policy.load_balancing.algorithm == "round_robin":
            if not tried:
                self._turn += 1  # by requests, not attempts: of two endpoints a failing one would be first each time
            return choices[self._turn % len(choices)]
        return least_request(choices, now, random)

    def _last_resort(self, now: float, random: int) -> Endpoint | None:
        if not self._fallback or now >= self._fallback_until:
            return None
        return self._fallback[random % len(self._fallback)]

    def _find_choices(self, now: float) -> list[Endpoint]:
        choices = candidates(self.endpoints, now)
        window = self.policy.load_balancing.slow_start_seconds
        self._slow_until = max(endpoint.joined_at for endpoint in choices) + window if window and choices else 0.0
        if all(endpoint.state == "ready" and endpoint.health == HEALTHY for endpoint in choices):
            self._choices_valid = not self._any_ejected()
            self._choices = choices
        return choices

    def _any_ejected(self) -> bool:
        return any(endpoint.health != HEALTHY for endpoint in self.endpoints if endpoint.state == "ready")

    def fail(self, endpoint: Endpoint, now: float) -> bool:
        """An attempt on this endpoint failed. Return whether it leaves routing for it."""
        ejected = endpoint.fail(now, self.policy.outlier_detection, self._may_eject())
        if ejected:
            self._choices_valid = False
        return ejected

    def refuse(self, endpoint: Endpoint, now: float) -> bool:
        """No request reaches an app on this endpoint. Return whether it leaves routing for it."""
        if not any(other.state == "ready" for other in self.endpoints if other is not endpoint):
            return self.fail(endpoint, now)
        left = endpoint.refuse(now)
        self._choices_valid = False
        return left

    def has_another(self, tried: list[Endpoint], now: float) -> bool:
        """Whether an endpoint is in routing that was not tried."""
        return any(
            endpoint.state == "ready" and endpoint.available(now) and endpoint not in tried
            for endpoint in self.endpoints
        )

    def check(self, endpoint: Endpoint, failure: str, now: float) -> bool:
        """A health check of this endpoint ended. Return whether this takes it out of routing or brings it back."""
        changed = endpoint.check(failure, self.policy.health_check, now)
        if changed:
            self._choices_valid = False
        return changed

    def watch(self, endpoint: Endpoint, on: bool) -> None:
        """Health checks of this endpoint begin, or end and are forgotten."""
        endpoint.checked = CheckedHealth() if on else None
        endpoint.failing = False
        self._choices_valid = False

    def _may_eject(self) -> bool:
        ready = [endpoint for endpoint in self.endpoints if endpoint.state == "ready"]
        if len(ready) < 2 or self.policy.outlier_detection.consecutive_failures == 0:
            return False
        out = sum(1 for endpoint in ready if not endpoint.is_well())
        return (out + 1) * 100 <= len(ready) * self.policy.outlier_detection.max_ejection_percent

    def ready_endpoints(self) -> int:
        """How many endpoints take requests."""
        return sum(1 for endpoint in self.endpoints if endpoint.state == "ready")
