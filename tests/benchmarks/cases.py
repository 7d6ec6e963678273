"""What is measured: groups of cases, each case one kind of load, and the goals.

TCP carries HTTP/1.1, of which the proxies know nothing: small answers are request and reply, large ones bulk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.benchmarks.load import Load
from tests.benchmarks.servers import GRPC_MESSAGE, GRPC_PATH

POST: Final = b"x" * 1024
TELEMETRY: Final = "telemetry"
GRPC_FIELDS: Final = ("content-type: application/grpc", "te: trailers")


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `quick`: it is part of the short run."""

    name: str
    load: Load
    quick: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """Cases with the same proxies. `goal`: the CPU per request to reach in every case, or as their mean, as a share of
    Envoy's."""

    name: str
    title: str
    protocol: str
    proxies: tuple[str, ...]
    cases: tuple[Case, ...]
    goal: float | None
    is_mean: bool = False


GROUPS: Final = (
    Group(
        "http1",
        "HTTP/1.1",
        "http",
        ("tramo", "envoy", "nginx", "haproxy"),
        (
            Case("1 connection, 100 B", Load("wrk", "/100", 1)),
            Case("32 connections, 100 B", Load("wrk", "/100", 32)),
            Case("256 connections, 100 B", Load("wrk", "/100", 256), quick=False),
            Case("32 connections, 10 KiB", Load("wrk", "/10k", 32), quick=False),
            Case("32 connections, 1 MiB", Load("wrk", "/1m", 32)),
            Case("32 connections, POST", Load("wrk", "/100", 32, post=POST)),
        ),
        0.5,
        is_mean=True,
    ),
    Group(
        "http2",
        "HTTP/2",
        "http2",
        ("tramo", "envoy", "haproxy"),
        (
            Case("1 connection, 32 streams", Load("h2load", "/100", 1, 32)),
            Case("8 connections, 8 streams", Load("h2load", "/100", 8, 8)),
            Case("32 connections, 1 stream", Load("h2load", "/100", 32, 1), quick=False),
        ),
        0.7,
    ),
    Group(
        "grpc",
        "gRPC",
        "grpc",
        ("tramo", "envoy", "nginx", "haproxy"),
        (Case("8 connections, 8 streams", Load("h2load", GRPC_PATH, 8, 8, GRPC_MESSAGE, GRPC_FIELDS)),),
        0.85,
    ),
    Group(
        "stream",
        "gRPC, messages of 100 B on open streams",
        "grpc streams",
        ("tramo", "envoy", "nginx", "haproxy"),
        (
            Case("8 connections, 8 streams", Load("streams", "", 8, 8)),
            Case("1 connection, 1 stream", Load("streams", "", 1, 1), quick=False),
        ),
        0.85,
    ),
    Group(
        "tcp",
        "TCP",
        "tcp",
        ("tramo", "envoy", "haproxy"),
        (
            Case("request-reply, 32 connections, 100 B", Load("wrk", "/100", 32)),
            Case("bulk, 4 connections, 1 MiB", Load("wrk", "/1m", 4)),
        ),
        0.75,
    ),
    Group(
        "path",
        "HTTP/1.1 through both tasks' proxies",
        "http",
        ("tramo", "envoy"),
        (
            Case("1 connection, 100 B", Load("wrk", "/100", 1), quick=False),
            Case("32 connections, 100 B", Load("wrk", "/100", 32)),
        ),
        None,
    ),
    Group(
        TELEMETRY,
        "HTTP/1.1 with more telemetry than by default",
        "http",
        ("tramo", "envoy"),
        (Case("32 connections, 100 B", Load("wrk", "/100", 32)),),
        None,
    ),
)

MEMORY: Final = "memory"
SMALL: Final = "small"
NAMES: Final = (*(group.name for group in GROUPS), MEMORY, SMALL)

MEMORY_SERVICES: Final = 50
MEMORY_ENDPOINTS: Final = 2_000
MEMORY_GOAL_RATIO: Final = 0.55
MEMORY_GOAL_BYTES: Final = 64 << 20
LATENCY_GOAL: Final = 1.0
"""At one connection the median latency is at most Envoy's."""
