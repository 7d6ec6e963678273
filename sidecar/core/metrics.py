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
            meaning=f"answers {digit}XX of the service, retried ones aside",
            labels=(("class", f"{digit}xx"),),
        )
        for digit in (2, 3, 4, 5)
    )


SERVER_METRICS: Final = (
    Metric(
        name="ActiveConnectionCount",
        unit=COUNT,
        key=SERVER_KEY,
        kind=GAUGE,
        series="tramo_server_connections",
        attribute="active_connections",
        meaning="connections of clients that are open",
    ),
    Metric(
        name="NewConnectionCount",
        unit=COUNT,
        key=SERVER_KEY,
        kind=COUNTER,
        series="tramo_server_connections_opened",
        attribute="connections",
        meaning="connections that clients made",
    ),
    Metric(
        name="ProcessedBytes",
        unit=BYTES,
        key=SERVER_KEY,
        kind=COUNTER,
        series="tramo_server_bytes",
        attribute="bytes",
        meaning="bytes on the clients' connections, both ways",
    ),
    Metric(
        name="RequestCount",
        unit=COUNT,
        key=SERVER_KEY,
        kind=COUNTER,
        series="tramo_server_requests",
        attribute="requests",
        meaning="requests that were answered",
    ),
    Metric(
        name="GrpcRequestCount",
        unit=COUNT,
        key=SERVER_KEY,
        kind=COUNTER,
        series="tramo_server_grpc_requests",
        attribute="grpc_requests",
        meaning="gRPC requests that were answered",
    ),
    *_flags(SERVER_KEY, "tramo_server_response_flags", (UF, UO, UT, URX, UC, UPE, OM, DC, DPE)),
)
HEALTHY_ENDPOINTS: Final = Metric(
    name="HealthyEndpoints",
    unit=COUNT,
    key=CLIENT_KEY,
    kind=GAUGE,
    series="tramo_client_endpoints",
    attribute="healthy",
    meaning="endpoints that take requests, as each sidecar sees them",
    labels=(("state", "healthy"),),
)
ZONE_LOCAL_SHARE: Final = Metric(
    name="ZoneLocalShare",
    unit=PERCENT,
    key=CLIENT_KEY,
    kind=COUNTER,
    series="tramo_client_zone_local_attempts",
    attribute="zone_local",
    meaning="attempts at endpoints in the caller's zone; in CloudWatch per cent of those at endpoints of known zones",
)
CLIENT_METRICS: Final = (
    *_statuses(),
    Metric(
        name="RequestCountPerTarget",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_requests",
        attribute="requests",
        meaning="requests to the service; in CloudWatch divided by the endpoints that take them",
    ),
    Metric(
        name="TargetProcessedBytes",
        unit=BYTES,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_bytes",
        attribute="bytes",
        meaning="bytes on the connections to the service, both ways",
    ),
    Metric(
        name="Retries",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_retries",
        attribute="retries",
        meaning="attempts beyond a request's first",
    ),
    Metric(
        name="RetryBudgetExhausted",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_retry_budget_exhausted",
        attribute="retry_budget_exhausted",
        meaning="retries that the budget forbade",
    ),
    Metric(
        name="Ejections",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_ejections",
        attribute="ejections",
        meaning="endpoints taken out of routing for their failures",
    ),
    Metric(
        name="RequestTimeouts",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_timeouts",
        attribute="timeouts",
        meaning="requests ended by a time-out",
    ),
    Metric(
        name="ConnectErrors",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_connect_errors",
        attribute="connect_errors",
        meaning="connections to endpoints that could not be made",
    ),
    Metric(
        name="CircuitBreakerOverflows",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=COUNTER,
        series="tramo_client_overflows",
        attribute="overflows",
        meaning="requests refused by the circuit breaker",
    ),
    ZONE_LOCAL_SHARE,
    HEALTHY_ENDPOINTS,
    Metric(
        name="EjectedEndpoints",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=GAUGE,
        series="tramo_client_endpoints",
        attribute="ejected",
        meaning="endpoints out of routing for their failures, as each sidecar sees them",
        labels=(("state", "ejected"),),
    ),
    Metric(
        name="UnhealthyEndpoints",
        unit=COUNT,
        key=CLIENT_KEY,
        kind=GAUGE,
        series="tramo_client_endpoints",
        attribute="unhealthy",
        meaning="endpoints out of routing because a health check fails, as each sidecar sees them",
        labels=(("state", "unhealthy"),),
    ),
    *_flags(CLIENT_KEY, "tramo_client_response_flags", tuple(flag for flag in FLAGS if flag is not NR)),
)
RESPONSE_TIME: Final = Metric(
    name="TargetResponseTime",
    unit=MILLISECONDS,
    key=CLIENT_KEY,
    kind=HISTOGRAM,
    series="tramo_client_response_seconds",
    attribute="latency",
    meaning="from the sending of the last attempt to the head of the service's answer",
)
SIDECAR_METRICS: Final = (
    Metric(
        name="SnapshotAge",
        unit=SECONDS,
        key=SIDECAR_KEY,
        kind=GAUGE,
        series="tramo_snapshot_age_seconds",
        attribute="snapshot_age",
        meaning="time since the registry last confirmed the snapshot, or since the start if it never did",
    ),
    Metric(
        name="FeedAway",
        unit=COUNT,
        key=SIDECAR_KEY,
        kind=GAUGE,
        series="tramo_feed_away",
        attribute="feed_away",
        meaning="1 while the feed is configured and cannot be read: the API is asked instead",
    ),
    Metric(
        name="SnapshotRevision",
        unit=NO_UNIT,
        key=SIDECAR_KEY,
        kind=GAUGE,
        series="tramo_snapshot_revision",
        attribute="snapshot_revision",
        meaning="revision of the snapshot in use",
    ),
    Metric(
        name="SidecarCpu",
        unit=PERCENT,
        key=SIDECAR_KEY,
        kind=COUNTER,
        series="process_cpu_seconds",
        attribute="cpu_seconds",
        meaning="processor time of the sidecar; in CloudWatch per cent of one processor",
    ),
    Metric(
        name="SidecarMemory",
        unit=BYTES,
        key=SIDECAR_KEY,
        kind=GAUGE,
        series="process_resident_memory_bytes",
        attribute="memory",
        meaning="resident memory of the sidecar",
    ),
    Metric(
        name="Shedding",
        unit=COUNT,
        key=SIDECAR_KEY,
        kind=GAUGE,
        series="tramo_shedding",
        attribute="shedding",
        meaning="1 while requests are refused because memory is short",
    ),
    Metric(
        name="Findings",
        unit=COUNT,
        key=SIDECAR_KEY,
        kind=GAUGE,
        series="tramo_findings",
        attribute="findings",
        meaning="mistakes that the sidecar sees in its own task; its page /ready lists them",
    ),
    *_flags(SIDECAR_KEY, "tramo_forward_response_flags", (NR, DPE)),
)
METRICS: Final = (*SERVER_METRICS, *CLIENT_METRICS, RESPONSE_TIME, *SIDECAR_METRICS)
MESH_WIDE: Final = frozenset(
    (*(metric.name for metric in _statuses()), "HealthyEndpoints", "EjectedEndpoints", "UnhealthyEndpoints")
)
