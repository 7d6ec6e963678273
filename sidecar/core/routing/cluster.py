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
- Each endpoint has its own protocol; the service's is for those that say none. One with which the service's clients
  cannot be connected (TCP for HTTP, HTTP for TCP) is not routed to, and counted in `other_kind`.
- Where this task's zone is known, requests stay in it as far as `zones` says.
- The choices are found again when something changed, not with each request.
- The circuit breaker counts requests, requests waiting for a connection, and connections, per service.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.routing.balancer import candidates, least_request, warmed_up
from sidecar.core.routing.choices import Choices
from sidecar.core.routing.endpoint import HEALTHY, Endpoint
from sidecar.core.routing.health_check import CheckedHealth
from sidecar.core.routing.load import GOOD, NEVER
from sidecar.core.routing.policy import Policy
from sidecar.core.routing.retry import RetryBudget
from sidecar.core.routing.success_rate import INTERVAL_SECONDS, outliers
from sidecar.core.routing.zones import spread
from sidecar.core.snapshot import EndpointRecord
from sidecar.core.states import AppProtocol, is_same_kind, state_of

FALLBACK_SECONDS: Final = 300.0
FOREVER: Final = float("inf")


class Cluster:
    """Routing state of one service."""

    __slots__ = (
        "_callers",
        "_due",
        "_fallback",
        "_fallback_until",
        "_policy",
        "_slow_until",
        "_spread",
        "_sweep_at",
        "_turn",
        "_valid_until",
        "active_requests",
        "by_id",
        "connections",
        "endpoints",
        "fallback_seconds",
        "idle_seconds",
        "in_turn",
        "max_requests",
        "name",
        "other_kind",
        "pending_requests",
        "per_try_seconds",
        "protocol",
        "request_seconds",
        "retry_budget",
        "zone",
    )

    def __init__(
        self, name: str, protocol: AppProtocol, policy: Policy, fallback_seconds: float = FALLBACK_SECONDS
    ) -> None:
        self.name = name
        self.fallback_seconds = fallback_seconds
        self.protocol = protocol
        self.policy = policy
        self.zone = ""  # of this task; unknown
        self.endpoints: list[Endpoint] = []
        self.by_id: dict[str, Endpoint] = {}
        self.retry_budget = RetryBudget()
        self.active_requests = 0
        self.pending_requests = 0
        self.connections = 0
        self.other_kind = 0  # endpoints that the service's clients cannot be connected with
        self._fallback: list[Endpoint] = []
        self._fallback_until = 0.0
        self._spread = spread([], "", {})
        self._callers: dict[str, int] = {}  # by zone
        self._sweep_at = 0.0  # success rates are compared then
        self._valid_until = NEVER  # of the choices
        self._turn = 0
        self._due: Endpoint | None = None  # for its probe
        self._slow_until = 0.0  # until then an endpoint may be in its slow start

    @property
    def policy(self) -> Policy:
        """The rules of the service. What every request asks of them is kept beside: msgspec's classes are slow here."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self.max_requests = policy.circuit_breaker.max_requests
        self.request_seconds = policy.timeouts.request_seconds
        self.per_try_seconds = policy.timeouts.per_try_seconds
        self.idle_seconds = policy.timeouts.idle_seconds
        self.in_turn = policy.load_balancing.algorithm == "round_robin"

    def update(
        self, protocol: AppProtocol, policy: Policy, records: tuple[EndpointRecord, ...], zone: str, now: float
    ) -> list[Endpoint]:
        """Take over a service's record. Return the endpoints that no new request may go to."""
        self.protocol = protocol
        self.policy = policy
        self.zone = zone
        self._valid_until = NEVER
        fresh: dict[str, Endpoint] = {}
        retired: list[Endpoint] = []
        joins = any(endpoint.state == "ready" for endpoint in self.endpoints)
        self.other_kind = 0
        for record in records:
            speaks = record.protocol or protocol
            if not is_same_kind(speaks, protocol):
                self.other_kind += 1
                continue
            endpoint = self.by_id.get(record.id)
            was_ready = endpoint is not None and endpoint.state == "ready"
            if endpoint is None or not endpoint.is_at(record.address, record.port, speaks):
                endpoint = Endpoint(record.id, record.address, record.port, protocol=speaks)
                was_ready = False
            if was_ready and record.state != "ready":
                retired.append(endpoint)
            elif joins and record.state == "ready" and not was_ready:
                endpoint.joined_at = now
            endpoint.state = state_of(record.state)
            endpoint.zone = record.zone or ""
            endpoint.weight = record.weight
            fresh[record.id] = endpoint
        lost = [
            endpoint
            for id, endpoint in self.by_id.items()
            if id not in fresh and endpoint.state == "ready" and is_same_kind(endpoint.protocol, protocol)
        ]
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

    def called_from(self, callers: dict[str, int]) -> None:
        """Take how many callers like this task are in each zone."""
        self._callers = callers
        self._valid_until = NEVER

    def pick(self, now: float, random: int, tried: list[Endpoint]) -> Endpoint | None:
        """Return the endpoint for the next attempt; one not tried before if there is any. None if there is no endpoint.

        `random` has 48 bits: 16 each to choose another endpoint, the zone, and for those that start slowly.
        """
        if now >= self._valid_until:
            self._find_choices(now, random)
        due = self._due
        if due is not None and due not in tried:
            self._valid_until = NEVER  # it is not due any more
            return due
        choices = self._spread.choose((random >> 16) & 0xFFFF)
        if tried:
            choices = self._for_retry(choices, tried, now)
        if not choices.endpoints:
            return self._last_resort(now, random)
        if now < self._slow_until:
            window = self.policy.load_balancing.slow_start_seconds
            choices = choices.among(warmed_up(choices.endpoints, now, random >> 32, window))
        if not tried:
            self._turn += 1  # by requests, not attempts: of two endpoints a failing one would be first each time
        if self.in_turn:
            return choices.at_turn(self._turn)
        return least_request(choices, self._turn, now, random & 0xFFFF)

    def _for_retry(self, choices: Choices, tried: list[Endpoint], now: float) -> Choices:
        """Return those not tried, in the zone or else in others; if all were tried, those that may be tried again."""
        left = choices.for_retry(tried, now)
        if left.endpoints:
            return left
        everywhere = self._spread.all()
        left = everywhere.for_retry(tried, now)
        return left if left.endpoints else everywhere.willing(now)

    def takes_retry(self, now: float) -> bool:
        """Return whether an endpoint is left that asks for no pause."""
        return any(endpoint.rests_until <= now for endpoint in candidates(self.endpoints, now))

    def _last_resort(self, now: float, random: int) -> Endpoint | None:
        if not self._fallback or now >= self._fallback_until:
            return None
        return self._fallback[random % len(self._fallback)]

    def _find_choices(self, now: float, random: int) -> None:
        found = candidates(self.endpoints, now)
        if self._turn == 0:
            self._turn = random & 0xFFFF  # or all callers would begin with the same endpoint
        total = sum(endpoint.weight for endpoint in found)
        for endpoint in found:
            endpoint.scale = total / (len(found) * endpoint.weight) if endpoint.weight else 1.0
        self._spread = spread(found, self.zone, self._callers)
        window = self.policy.load_balancing.slow_start_seconds
        self._slow_until = max(endpoint.joined_at for endpoint in found) + window if window and found else 0.0
        self._due = None
        self._valid_until = FOREVER
        for endpoint in self.endpoints:
            if endpoint.state != "ready" or endpoint.health == HEALTHY:
                continue
            if endpoint.ejected_until > now:
                self._valid_until = min(self._valid_until, endpoint.ejected_until)
            elif self._due is None and endpoint.is_due(now):
                self._due = endpoint

    def succeed(self, endpoint: Endpoint, now: float, latency: float, doubt: float = GOOD) -> None:
        """Count an attempt answered after so long; `doubt` is what the answer says against the endpoint."""
        if endpoint.succeed(now, latency, doubt):
            self._valid_until = NEVER

    def come_back(self, endpoint: Endpoint, now: float) -> None:
        """Take the beginning of a good answer of this endpoint."""
        if endpoint.come_back(now):
            self._valid_until = NEVER

    def abandon(self, endpoint: Endpoint, now: float) -> None:
        """End an attempt that says nothing about this endpoint."""
        if endpoint.abandon(now):
            self._valid_until = NEVER

    def fail(self, endpoint: Endpoint, now: float) -> int:
        """Count a failed attempt on this endpoint. Return how many endpoints leave routing."""
        ejected = int(endpoint.fail(now, self.policy.outlier_detection, self._may_eject()))
        if now >= self._sweep_at:
            ejected += self._sweep(now)
        if ejected:
            self._valid_until = NEVER
        return ejected

    def _sweep(self, now: float) -> int:
        """Compare success rates. Return how many endpoints are ejected by that."""
        self._sweep_at = now + INTERVAL_SECONDS
        ejected = 0
        for endpoint in outliers(self.endpoints):
            if self._may_eject():
                endpoint.eject(now, self.policy.outlier_detection)
                ejected += 1
        for endpoint in self.endpoints:
            endpoint.answers = endpoint.failed_answers = 0
        return ejected

    def refuse(self, endpoint: Endpoint, now: float) -> int:
        """Note that no request reaches an app on this endpoint. Return how many endpoints leave routing."""
        if not any(other.state == "ready" for other in self.endpoints if other is not endpoint):
            return self.fail(endpoint, now)
        left = endpoint.refuse(now)
        self._valid_until = NEVER
        return int(left)

    def has_another(self, tried: list[Endpoint], now: float) -> bool:
        """Return whether an endpoint is in routing that was not tried."""
        return any(
            endpoint.state == "ready" and endpoint.available(now) and endpoint not in tried
            for endpoint in self.endpoints
        )

    def check(self, endpoint: Endpoint, failure: str, now: float) -> bool:
        """Take the result of an endpoint's health check. Return whether it leaves routing or comes back."""
        changed = endpoint.check(failure, self.policy.health_check, now)
        if changed:
            self._valid_until = NEVER
        return changed

    def watch(self, endpoint: Endpoint, on: bool) -> None:
        """Health checks of this endpoint begin, or end and are forgotten."""
        endpoint.checked = CheckedHealth() if on else None
        endpoint.failing = False
        self._valid_until = NEVER

    def in_zone(self, endpoint: Endpoint) -> bool:
        """Return whether this endpoint is in this task's zone, as far as is known."""
        return not self.zone or not endpoint.zone or endpoint.zone == self.zone

    def _may_eject(self) -> bool:
        ready = [endpoint for endpoint in self.endpoints if endpoint.state == "ready"]
        if len(ready) < 2 or self.policy.outlier_detection.consecutive_failures == 0:
            return False
        out = sum(1 for endpoint in ready if not endpoint.is_well())
        return (out + 1) * 100 <= len(ready) * self.policy.outlier_detection.max_ejection_percent

    def ready_endpoints(self) -> int:
        """Return how many endpoints take requests."""
        return sum(1 for endpoint in self.endpoints if endpoint.state == "ready")
