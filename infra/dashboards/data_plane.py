"""The sections of what sidecars send: all services side by side, one service in full, and the sidecars themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from infra.dashboards.widgets import MESH, SERVICE, Graph, Line, Section, search
from sidecar.core.metrics import (
    CLIENT_KEY,
    CLIENT_METRICS,
    MESH_WIDE,
    SERVER_KEY,
    SERVER_METRICS,
    SIDECAR_METRICS,
    Metric,
)

NAMESPACE: Final = MESH
SERVER: Final = SERVER_KEY
CLIENT: Final = CLIENT_KEY
ENDPOINTS: Final = (("HealthyEndpoints", "Minimum"), ("EjectedEndpoints", "Maximum"), ("UnhealthyEndpoints", "Maximum"))
"""Each sidecar counts for itself: the worst that any of them sees."""


def services() -> Section:
    """Return the overview: every service is a line."""

    def server(title: str, *metrics: tuple[str, str], unit: str = "") -> Graph:
        return search(title, NAMESPACE, SERVER, metrics, unit)

    def client(title: str, *metrics: tuple[str, str], unit: str = "") -> Graph:
        return search(title, NAMESPACE, CLIENT, metrics, unit)

    return Section(
        "Services",
        "By discovery name, all tasks together. *Requests* are counted by the service that is called, "
        "*responses*, *response times*, *retries* and *ejections* by its callers.",
        (
            server("Requests", ("RequestCount", "Sum")),
            client("Response time", ("TargetResponseTime", "p50"), ("TargetResponseTime", "p99"), unit="ms"),
            client("Responses 5XX", ("HTTPCode_Target_5XX_Count", "Sum")),
            client("Responses 2XX", ("HTTPCode_Target_2XX_Count", "Sum")),
            client("Responses 3XX", ("HTTPCode_Target_3XX_Count", "Sum")),
            client("Responses 4XX", ("HTTPCode_Target_4XX_Count", "Sum")),
            server("gRPC requests", ("GrpcRequestCount", "Sum")),
            client("Requests per target", ("RequestCountPerTarget", "Average")),
            server("Open connections", ("ActiveConnectionCount", "Sum")),
            server("New connections", ("NewConnectionCount", "Sum")),
            server("Bytes processed", ("ProcessedBytes", "Sum"), unit="bytes"),
            client("Bytes processed per target", ("TargetProcessedBytes", "Sum"), unit="bytes"),
            client("Retries and ejections", ("Retries", "Sum"), ("Ejections", "Sum")),
            client("Time-outs and connect errors", ("RequestTimeouts", "Sum"), ("ConnectErrors", "Sum")),
            client(
                "Refused by circuit breaker or retry budget",
                ("CircuitBreakerOverflows", "Sum"),
                ("RetryBudgetExhausted", "Sum"),
            ),
            client("Endpoints, worst view of any task", *ENDPOINTS),
            client("Traffic within the zone", ("ZoneLocalShare", "Average"), unit="%"),
            client("Response flags, counted by callers", *_flags(CLIENT_METRICS)),
            server("Response flags, counted by the service", *_flags(SERVER_METRICS)),
        ),
    )


def one_service() -> Section:
    """Return all about the one service that is chosen."""

    def graph(title: str, *metrics: tuple[str, str, str], unit: str = "") -> Graph:
        """`metrics` are (dimension, name, statistic)."""
        lines = [Line(NAMESPACE, name, {key: SERVICE}, each, _label(name, each)) for key, name, each in metrics]
        return Graph(title, tuple(lines), (), unit)

    return Section(
        "One service",
        "The service chosen above: traffic, responses, and what the mesh retried or refused.",
        (
            graph(
                "Traffic",
                (SERVER, "RequestCount", "Sum"),
                (SERVER, "GrpcRequestCount", "Sum"),
                (CLIENT, "RequestCountPerTarget", "Average"),
            ),
            graph("Responses", *((CLIENT, f"HTTPCode_Target_{digit}XX_Count", "Sum") for digit in (2, 3, 4, 5))),
            graph(
                "Response time",
                *((CLIENT, "TargetResponseTime", each) for each in ("p50", "p90", "p99")),
                unit="ms",
            ),
            graph("Connections", (SERVER, "ActiveConnectionCount", "Sum"), (SERVER, "NewConnectionCount", "Sum")),
            graph("Bytes", (SERVER, "ProcessedBytes", "Sum"), (CLIENT, "TargetProcessedBytes", "Sum"), unit="bytes"),
            graph(
                "Retries, ejections, time-outs and refusals",
                *(
                    (CLIENT, name, "Sum")
                    for name in ("Retries", "RetryBudgetExhausted", "Ejections", "RequestTimeouts", "ConnectErrors")
                ),
                (CLIENT, "CircuitBreakerOverflows", "Sum"),
            ),
            graph("Endpoints", *((CLIENT, name, each) for name, each in ENDPOINTS)),
            graph("Traffic within the zone", (CLIENT, "ZoneLocalShare", "Average"), unit="%"),
            graph("Response flags, counted by callers", *((CLIENT, *each) for each in _flags(CLIENT_METRICS))),
            graph("Response flags, counted by the service", *((SERVER, *each) for each in _flags(SERVER_METRICS))),
        ),
    )


def sidecars() -> Section:
    """Return what sidecars send without the name of a service."""

    def graph(title: str, *metrics: tuple[str, str], unit: str = "") -> Graph:
        return Graph(
            title, tuple(Line(NAMESPACE, name, {}, each, _label(name, each)) for name, each in metrics), (), unit
        )

    statuses = sorted(name for name in MESH_WIDE if name.startswith("HTTPCode_"))
    endpoints = sorted(name for name in MESH_WIDE if name.endswith("Endpoints"))
    return Section(
        "Sidecars",
        "All tasks together: the snapshot they route by, processor and memory.",
        (
            graph("Snapshot age", ("SnapshotAge", "Maximum"), ("SnapshotAge", "Minimum"), unit="s"),
            graph(
                "Snapshot revision, newest and oldest",
                ("SnapshotRevision", "Maximum"),
                ("SnapshotRevision", "Minimum"),
            ),
            graph("CPU, share of one processor", ("SidecarCpu", "p50"), ("SidecarCpu", "Maximum"), unit="%"),
            graph("Memory", ("SidecarMemory", "p50"), ("SidecarMemory", "Maximum"), unit="bytes"),
            graph("Responses of all services", *((name, "Sum") for name in statuses)),
            graph(
                "Endpoints of all services, sum over all tasks",
                *((name, "Sum") for name in endpoints),
            ),
            graph("Refused by the forward proxy", *_flags(SIDECAR_METRICS)),
            graph("Findings: mistakes in tasks", ("Findings", "Sum")),
            graph("Sidecars that cannot read the feed", ("FeedAway", "Sum")),
            graph("Sidecars that refuse requests because memory is short", ("Shedding", "Sum")),
        ),
    )


def _flags(metrics: Iterable[Metric]) -> list[tuple[str, str]]:
    return [(metric.name, "Sum") for metric in metrics if metric.name.startswith("ResponseFlag_")]


def _label(name: str, statistic: str) -> str:
    if name == "TargetResponseTime":
        return statistic
    return name if statistic == "Sum" else f"{name} {statistic}"
