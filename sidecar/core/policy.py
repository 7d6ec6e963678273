"""How the proxy treats one service: every knob with its default, its unit and its reason.

A snapshot's `policy` names only what differs from the defaults. Readers ignore what they do not know and
keep the default for a value that makes no sense; the API refuses both before they are stored.
"""

from __future__ import annotations

from typing import Final

import msgspec


class LoadBalancing(msgspec.Struct, frozen=True):
    """Which endpoint gets a request."""

    algorithm: str = "least_request"  # or round_robin


class Retries(msgspec.Struct, frozen=True):
    """When a failed attempt is made again, on another endpoint where there is one."""

    count: int = 2  # attempts after the first, as Service Connect makes
    budget_percent: float = 20.0  # of the requests of the last seconds; keeps retries from feeding an outage


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds; 0 turns a time-out off. Request and idle are Service Connect's defaults."""

    request_seconds: float = 15.0  # from the request's head to the response's, retries included
    idle_seconds: float = 300.0  # a stream or connection on which nothing moves
    tcp_idle_seconds: float = 3600.0
    connect_seconds: float = 1.0


class OutlierDetection(msgspec.Struct, frozen=True):
    """When an endpoint leaves routing because of what it answers. Service Connect's numbers."""

    consecutive_failures: int = 5
    interval_seconds: float = 30.0
    base_ejection_seconds: float = 30.0
    max_ejection_seconds: float = 300.0
    max_ejection_percent: float = 50.0  # a bad release must not empty the service


class CircuitBreaker(msgspec.Struct, frozen=True):
    """Most that one sidecar has open towards one service. Envoy's numbers."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024


class Policy(msgspec.Struct, frozen=True):
    """All knobs of one service."""

    load_balancing: LoadBalancing = LoadBalancing()
    retries: Retries = Retries()
    timeouts: Timeouts = Timeouts()
    outlier_detection: OutlierDetection = OutlierDetection()
    circuit_breaker: CircuitBreaker = CircuitBreaker()


DEFAULT: Final = Policy()

LOCAL_APP: Final = Policy(
    retries=Retries(count=1, budget_percent=100.0),
    timeouts=Timeouts(request_seconds=0.0),
    outlier_detection=OutlierDetection(max_ejection_percent=0.0),
)
"""For the inbound side: one endpoint, the app in this task. The caller's sidecar holds the request time-out and
looks for another endpoint; the one retry covers an app that closes a kept-alive connection."""
