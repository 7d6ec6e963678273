"""The sidecar's metrics in one table, from which meters, dashboard, alarms and documentation are made.

Rules:
- Names and dimensions are Service Connect's where it has the metric. The serving task counts inbound traffic under its
  `DiscoveryName`; the calling task counts what the service answered under `TargetDiscoveryName`. What concerns the
  sidecar itself has neither.
- `MESH_WIDE` metrics are sent once more without any dimension: an alarm cannot search for services.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.core.flags import DC, DPE, FLAGS, NR, OM, UC, UF, UO, UPE, URX, UT, Flags

COUNT: Final = "Count"
BYTES: Final = "Bytes"
MILLISECONDS: Final = "Milliseconds"
SECONDS: Final = "Seconds"
PERCENT: Final = "Percent"
NO_UNIT: Final = "None"

SERVER_KEY: Final = "DiscoveryName"
CLIENT_KEY: Final = "TargetDiscoveryName"
SIDECAR_KEY: Final = ""

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"


class Metric(NamedTuple):
    """One metric, and where its value is: an attribute of its meter, or one item of that."""

    name: str
    """In CloudWatch."""
    unit: str
    key: str
    """The first dimension."""
    kind: str
    series: str
    """In Prometheus, with the labels."""
    attribute: str
    meaning: str
    labels: tuple[tuple[str, str], ...] = ()
    item: int | str | None = None


def _flags(key: str, series: str, flags: Flags) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            name=f"ResponseFlag_{flag.code}_Count",
            unit=COUNT,
            key=key,
            kind=COUNTER,
            series=series,
            attribute="flags",
            item=flag.code,
            meaning=f"requests where {flag.meaning}",
            labels=(("flag", flag.code),),
        )
        for flag in flags
    )


def _statuses() -> tuple[Metric, ...]:
    return tuple(
        Metric(
            name=f"HTTPCode_Target_{digit}XX_Count",
            unit=COUNT,
            key=CLIENT_KEY,
            kind=COUNTER,
            series="tramo_client_responses",
            attribute="statuses",
            item=digit,
            meaning=f"answers {digit}XX of the service, retried ones aside; of gRPC by their grpc-status",
            labels=(("class", f"{digit}xx"),),
        )
        for digit in (2, 3, 4, 5)
    )


def _server(
    name: str, attribute: str, meaning: str, *, unit: str = COUNT, kind: str = COUNTER, series: str = ""
) -> Metric:
    return Metric(name, unit, SERVER_KEY, kind, f"tramo_server_{series or attribute}", attribute, meaning)


def _client(
    name: str,
    attribute: str,
    meaning: str,
    *,
    unit: str = COUNT,
    kind: str = COUNTER,
    series: str = "",
    labels: tuple[tuple[str, str], ...] = (),
) -> Metric:
    return Metric(name, unit, CLIENT_KEY, kind, f"tramo_client_{series or attribute}", attribute, meaning, labels)


def _sidecar(
    name: str, attribute: str, meaning: str, *, unit: str = COUNT, kind: str = GAUGE, series: str = ""
) -> Metric:
    return Metric(name, unit, SIDECAR_KEY, kind, series or f"tramo_{attribute}", attribute, meaning)


SERVER_METRICS: Final = (
    _server(
        "ActiveConnectionCount",
        "active_connections",
        "connections of clients that are open",
        kind=GAUGE,
        series="connections",
    ),
    _server("NewConnectionCount", "connections", "connections that clients made", series="connections_opened"),
    _server("ProcessedBytes", "bytes", "bytes on the clients' connections, both ways", unit=BYTES),
    _server("RequestCount", "requests", "requests that were answered"),
    _server("GrpcRequestCount", "grpc_requests", "gRPC requests that were answered"),
    *_flags(SERVER_KEY, "tramo_server_response_flags", (UF, UO, UT, URX, UC, UPE, OM, DC, DPE)),
)
HEALTHY_ENDPOINTS: Final = _client(
    "HealthyEndpoints",
    "healthy",
    "endpoints that take requests, as each sidecar sees them",
    kind=GAUGE,
    series="endpoints",
    labels=(("state", "healthy"),),
)
ZONE_LOCAL_SHARE: Final = _client(
    "ZoneLocalShare",
    "zone_local",
    "attempts at endpoints in the caller's zone; in CloudWatch per cent of those at endpoints of known zones",
    unit=PERCENT,
    series="zone_local_attempts",
)
CLIENT_METRICS: Final = (
    *_statuses(),
    _client(
        "RequestCountPerTarget",
        "requests",
        "requests to the service; in CloudWatch divided by the endpoints that take them",
    ),
    _client("TargetProcessedBytes", "bytes", "bytes on the connections to the service, both ways", unit=BYTES),
    _client("Retries", "retries", "attempts beyond a request's first"),
    _client("RetryBudgetExhausted", "retry_budget_exhausted", "retries that the budget forbade"),
    _client("Ejections", "ejections", "endpoints taken out of routing for their failures"),
    _client("RequestTimeouts", "timeouts", "requests ended by a time-out"),
    _client("ConnectErrors", "connect_errors", "connections to endpoints that could not be made"),
    _client("CircuitBreakerOverflows", "overflows", "requests refused by the circuit breaker"),
    ZONE_LOCAL_SHARE,
    HEALTHY_ENDPOINTS,
    _client(
        "EjectedEndpoints",
        "ejected",
        "endpoints out of routing for their failures, as each sidecar sees them",
        kind=GAUGE,
        series="endpoints",
        labels=(("state", "ejected"),),
    ),
    _client(
        "UnhealthyEndpoints",
        "unhealthy",
        "endpoints out of routing because a health check fails, as each sidecar sees them",
        kind=GAUGE,
        series="endpoints",
        labels=(("state", "unhealthy"),),
    ),
    *_flags(CLIENT_KEY, "tramo_client_response_flags", tuple(flag for flag in FLAGS if flag is not NR)),
)
RESPONSE_TIME: Final = _client(
    "TargetResponseTime",
    "latency",
    "from the sending of the last attempt to the head of the service's answer",
    unit=MILLISECONDS,
    kind=HISTOGRAM,
    series="response_seconds",
)
SIDECAR_METRICS: Final = (
    _sidecar(
        "SnapshotAge",
        "snapshot_age",
        "time since the registry last confirmed the snapshot, or since the start if it never did",
        unit=SECONDS,
        series="tramo_snapshot_age_seconds",
    ),
    _sidecar("FeedAway", "feed_away", "1 while the feed is configured and cannot be read: the API is asked instead"),
    _sidecar("SnapshotRevision", "snapshot_revision", "revision of the snapshot in use", unit=NO_UNIT),
    _sidecar(
        "SidecarCpu",
        "cpu_seconds",
        "processor time of the sidecar; in CloudWatch per cent of one processor",
        unit=PERCENT,
        kind=COUNTER,
        series="process_cpu_seconds",
    ),
    _sidecar(
        "SidecarMemory", "memory", "resident memory of the sidecar", unit=BYTES, series="process_resident_memory_bytes"
    ),
    _sidecar("Shedding", "shedding", "1 while requests are refused because memory is short"),
    _sidecar("Findings", "findings", "mistakes that the sidecar sees in its own task; its page /ready lists them"),
    *_flags(SIDECAR_KEY, "tramo_forward_response_flags", (NR, DPE)),
)
METRICS: Final = (*SERVER_METRICS, *CLIENT_METRICS, RESPONSE_TIME, *SIDECAR_METRICS)
MESH_WIDE: Final = frozenset(
    (*(metric.name for metric in _statuses()), "HealthyEndpoints", "EjectedEndpoints", "UnhealthyEndpoints")
)
