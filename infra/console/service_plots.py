"""The plots of one service: first what an incident needs, then the rest."""

from __future__ import annotations

from typing import Final

from infra.console.mesh import FAILURE_FLAGS
from infra.dashboards.widgets import MESH, SERVICE, Graph, Line, Section
from sidecar.core.metrics import CLIENT_KEY, CLIENT_METRICS, SERVER_KEY, SERVER_METRICS

FIRST: Final = "Now"
MORE: Final = "More"


def service_sections() -> list[Section]:
    """Return the plots of a service, whose name stands where `SERVICE` is."""
    flags = tuple(_client(f"ResponseFlag_{code}_Count", label=f"{code}") for code in FAILURE_FLAGS)
    return [
        Section(
            FIRST,
            "",
            (
                Graph(
                    "Calls",
                    tuple(_client(f"HTTPCode_Target_{digit}XX_Count", label=f"{digit}XX") for digit in (2, 3, 4, 5)),
                ),
                Graph("Failures", (_client("HTTPCode_Target_5XX_Count", label="5XX"), *flags)),
                Graph(
                    "Time to answer",
                    tuple(_client("TargetResponseTime", each, each) for each in ("p50", "p95", "p99")),
                    unit="ms",
                ),
                Graph(
                    "Endpoints, as the worst-off caller sees them",
                    (
                        _client("HealthyEndpoints", "Minimum", "healthy"),
                        _client("EjectedEndpoints", "Maximum", "ejected"),
                        _client("UnhealthyEndpoints", "Maximum", "unhealthy"),
                    ),
                ),
                Graph(
                    "Retries and connections that failed",
                    (
                        _client("Retries", label="retries"),
                        _client("ConnectErrors", label="connections failed"),
                        _client("RequestTimeouts", label="time-outs"),
                        _client("Ejections", label="ejections"),
                    ),
                ),
                Graph("Connections made", (_server("NewConnectionCount", label="connections"),)),
            ),
        ),
        Section(
            MORE,
            "",
            (
                Graph(
                    "Requests, counted by the service",
                    (_server("RequestCount", label="requests"), _server("GrpcRequestCount", label="gRPC")),
                ),
                Graph("Connections open", (_server("ActiveConnectionCount", label="open"),)),
                Graph(
                    "Bytes",
                    (
                        _server("ProcessedBytes", label="in front of the app"),
                        _client("TargetProcessedBytes", label="from callers"),
                    ),
                    unit="bytes",
                ),
                Graph(
                    "Refused by circuit breaker or retry budget",
                    (
                        _client("CircuitBreakerOverflows", label="circuit breaker"),
                        _client("RetryBudgetExhausted", label="retry budget"),
                    ),
                ),
                Graph(
                    "Traffic that stays in its zone", (_client("ZoneLocalShare", "Average", "in the zone"),), unit="%"
                ),
                Graph("Flags, seen by callers", _flags(CLIENT_KEY)),
                Graph("Flags, seen by the service", _flags(SERVER_KEY)),
            ),
        ),
    ]


def _client(name: str, statistic: str = "Sum", label: str = "") -> Line:
    return Line(MESH, name, {CLIENT_KEY: SERVICE}, statistic, label)


def _server(name: str, statistic: str = "Sum", label: str = "") -> Line:
    return Line(MESH, name, {SERVER_KEY: SERVICE}, statistic, label)


def _flags(key: str) -> tuple[Line, ...]:
    metrics = CLIENT_METRICS if key == CLIENT_KEY else SERVER_METRICS
    return tuple(
        Line(MESH, metric.name, {key: SERVICE}, "Sum", dict(metric.labels)["flag"])
        for metric in metrics
        if metric.name.startswith("ResponseFlag_")
    )
