"""How the proxy treats one service: every knob with its default, its unit and its reason.

A snapshot's `policy` names only what differs from the defaults. Readers ignore fields they do not know; a policy with
a value that makes no sense is left aside as a whole. The API refuses both before they are stored.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Path = Annotated[str, Meta(pattern=r"^/[!-~]{0,1023}\Z")]
Status = Annotated[int, Meta(ge=200, le=599)]
GrpcService = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.]{0,127}\Z")]


class LoadBalancing(msgspec.Struct, frozen=True):
    """Which endpoint gets a request."""

    algorithm: Literal["least_request", "round_robin"] = "least_request"
    slow_start_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0  # until a new endpoint has its full share; 0 is off


CONNECT_FAILURE: Final = "connect_failure"
REFUSED_STREAM: Final = "refused_stream"
RESET: Final = "reset"
ALL_FAILURES: Final = (CONNECT_FAILURE, REFUSED_STREAM, RESET, "502", "503", "504")


class Retries(msgspec.Struct, frozen=True):
    """When a failed attempt is made again, on another endpoint where there is one."""

    count: Count = 2  # attempts after the first, as Service Connect makes
    budget_percent: Percent = 20.0  # of the requests of the last seconds; keeps retries from feeding an outage
    on: tuple[str, ...] = ALL_FAILURES  # which failures; what a method's meaning forbids is never tried again


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds; 0 turns a time-out off. Request and idle are Service Connect's defaults."""

    request_seconds: Seconds = 15.0  # from the end of the request to the end of the answer, retries included
    per_try_seconds: Seconds = 0.0  # from an attempt's start to the head of its answer; then another may be made
    idle_seconds: Seconds = 300.0  # a stream or connection on which nothing moves
    tcp_idle_seconds: Seconds = 3600.0
    connect_seconds: Seconds = 1.0


class Http(msgspec.Struct, frozen=True):
    """What the service's clients may speak."""

    accept_http_10: bool = False  # else it is answered 426, as Envoy does


class OutlierDetection(msgspec.Struct, frozen=True):
    """When an endpoint leaves routing because of what it answers. Service Connect's numbers."""

    consecutive_failures: Count = 5  # 0 turns it off
    interval_seconds: Seconds = 30.0
    base_ejection_seconds: Seconds = 30.0
    max_ejection_seconds: Seconds = 300.0
    max_ejection_percent: Percent = 50.0  # a bad release must not empty the service


class HealthCheck(msgspec.Struct, frozen=True):
    """How the endpoints of a service are asked whether they are well. Off by default: ECS checks its tasks itself."""

    protocol: Literal["off", "http", "grpc", "tcp"] = "off"
    path: Path = "/"  # of an HTTP check
    statuses: Annotated[tuple[Status, ...], Meta(min_length=1)] = (200,)  # of an HTTP answer that passes
    grpc_service: GrpcService = ""  # that a gRPC check asks for; empty is the server as a whole
    interval_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    timeout_seconds: Annotated[float, Meta(ge=0.05, le=60)] = 2.0
    unhealthy_threshold: Annotated[int, Meta(ge=1, le=100)] = 3
    healthy_threshold: Annotated[int, Meta(ge=1, le=100)] = 2


UNLIMITED: Final = 1_000_000
"""More than a sidecar has memory and descriptors for: those are the limit then."""


class CircuitBreaker(msgspec.Struct, frozen=True):
    """Most that one sidecar has open towards one service. Off by default: only the service's owner knows a limit."""

    max_connections: Count = UNLIMITED
    max_pending_requests: Count = UNLIMITED
    max_requests: Count = UNLIMITED


class Policy(msgspec.Struct, frozen=True):
    """All knobs of one service."""

    load_balancing: LoadBalancing = LoadBalancing()
    retries: Retries = Retries()
    timeouts: Timeouts = Timeouts()
    http: Http = Http()
    outlier_detection: OutlierDetection = OutlierDetection()
    health_check: HealthCheck = HealthCheck()
    circuit_breaker: CircuitBreaker = CircuitBreaker()


DEFAULT: Final = Policy()

LOCAL_APP: Final = Policy(
    retries=Retries(count=1, budget_percent=100.0, on=(CONNECT_FAILURE, REFUSED_STREAM, RESET)),
    timeouts=Timeouts(request_seconds=0.0),
    outlier_detection=OutlierDetection(max_ejection_percent=0.0),
)
"""For the inbound side: one endpoint, the app in this task. The caller's sidecar holds the request time-out and
looks for another endpoint; the one retry covers an app that closes a kept-alive connection. What the app answers is
never asked again here: there is no other app to ask."""


def of_local_app(policy: Policy) -> Policy:
    """Return what of a service's policy counts inbound. The rest is the callers' affair.

    Which clients it serves, and whether a request is sent again that the app may have read.
    """
    retries = LOCAL_APP.retries
    if not policy.retries.count or RESET not in policy.retries.on:
        retries = msgspec.structs.replace(retries, on=(CONNECT_FAILURE, REFUSED_STREAM))
    return msgspec.structs.replace(LOCAL_APP, http=policy.http, retries=retries)
