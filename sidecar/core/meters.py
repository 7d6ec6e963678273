"""What the proxy counts, and its folding into CloudWatch metrics with Service Connect's names.

Rules:
- Inbound traffic is counted by the serving task under its `DiscoveryName`; what the service answered is counted by
  the calling task under `TargetDiscoveryName`, as Service Connect does. What concerns the sidecar itself has
  neither.
- Every metric is sent with two dimension sets: the discovery name alone, and with the ServiceName and ClusterName
  of the task that counted. A task that no service started has only the first.
- No dimension names a task: CloudWatch bills every combination. What is zero is not sent, but for
  HealthyEndpoints, whose zero is an outage; endpoints are told only of services that this task has called.
- Counters only grow; `take` gives what came since the last `take`. So Prometheus reads totals, CloudWatch gets
  differences, and neither disturbs the other.
- `MESH_WIDE` metrics are sent once more without any dimension: an alarm cannot search for services.
- `METRICS` is the list of all of them: dashboard, alarms and documentation are made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from sidecar.core.histogram import Histogram

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

Dimensions = tuple[tuple[str, str], ...]


class Datum(NamedTuple):
    """One CloudWatch metric datum: values with how often each came."""

    name: str
    unit: str
    dimensions: Dimensions
    values: list[float]
    counts: list[float]


class Metric(NamedTuple):
    """One metric: CloudWatch name and unit, first dimension, kind, Prometheus series with its labels, and meaning."""

    name: str
    unit: str
    key: str
    kind: str
    series: str
    meaning: str
    labels: tuple[tuple[str, str], ...] = ()


FLAGS: Final = {
    "UH": "the service has no endpoint that can take a request",
    "UF": "no connection to the service could be made",
    "UO": "the circuit breaker was open",
    "UT": "the service did not answer within its time-outs, or a stream was silent for too long",
    "URX": "all retries that the policy allows were used up",
    "UC": "the service's connection broke before its answer was whole",
    "UPE": "the service's answer was not valid HTTP",
    "OM": "the sidecar was short of memory",
    "NR": "no service of this name in the namespace",
    "DC": "the client went away before the answer was whole",
    "DPE": "the client broke the protocol",
}
"""Why the proxy failed or cut a request, in the words of Envoy's access log."""


def _flags(key: str, series: str, names: tuple[str, ...]) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            f"ResponseFlag_{flag}_Count",
            COUNT,
            key,
            COUNTER,
            series,
            f"requests where {FLAGS[flag]}",
            (("flag", flag),),
        )
        for flag in names
    )


def _statuses() -> tuple[Metric, ...]:
    return tuple(
        Metric(
            *(f"HTTPCode_Target_{digit}XX_Count", COUNT, CLIENT_KEY, COUNTER, "tramo_client_responses"),
            f"answers {digit}XX of the service, retried ones aside",
            (("class", f"{digit}xx"),),
        )
        for digit in (2, 3, 4, 5)
    )


SERVER_METRICS: Final = (
    Metric(
        *("ActiveConnectionCount", COUNT, SERVER_KEY, GAUGE, "tramo_server_connections"),
        "connections of clients that are open",
    ),
    Metric(
        *("NewConnectionCount", COUNT, SERVER_KEY, COUNTER, "tramo_server_connections_opened"),
        "connections that clients made",
    ),
    Metric(
        *("ProcessedBytes", BYTES, SERVER_KEY, COUNTER, "tramo_server_bytes"),
        "bytes on the clients' connections, both ways",
    ),
    Metric(
        *("RequestCount", COUNT, SERVER_KEY, COUNTER, "tramo_server_requests"),
        "requests that were answered",
    ),
    Metric(
        *("GrpcRequestCount", COUNT, SERVER_KEY, COUNTER, "tramo_server_grpc_requests"),
        "gRPC requests that were answered",
    ),
    *_flags(SERVER_KEY, "tramo_server_response_flags", ("UF", "UO", "UT", "URX", "UC", "UPE", "OM", "DC", "DPE")),
)
HEALTHY_ENDPOINTS: Final = Metric(
    *("HealthyEndpoints", COUNT, CLIENT_KEY, GAUGE, "tramo_client_endpoints"),
    "endpoints that take requests, as each sidecar sees them",
    (("state", "healthy"),),
)
CLIENT_METRICS: Final = (
    *_statuses(),
    Metric(
        *("RequestCountPerTarget", COUNT, CLIENT_KEY, COUNTER, "tramo_client_requests"),
        "requests to the service; in CloudWatch divided by the endpoints that take them",
    ),
    Metric(
        *("TargetProcessedBytes", BYTES, CLIENT_KEY, COUNTER, "tramo_client_bytes"),
        "bytes on the connections to the service, both ways",
    ),
    Metric(
        *("Retries", COUNT, CLIENT_KEY, COUNTER, "tramo_client_retries"),
        "attempts beyond a request's first",
    ),
    Metric(
        *("RetryBudgetExhausted", COUNT, CLIENT_KEY, COUNTER, "tramo_client_retry_budget_exhausted"),
        "retries that the budget forbade",
    ),
    Metric(
        *("Ejections", COUNT, CLIENT_KEY, COUNTER, "tramo_client_ejections"),
        "endpoints taken out of routing for their failures",
    ),
    Metric(
        *("RequestTimeouts", COUNT, CLIENT_KEY, COUNTER, "tramo_client_timeouts"),
        "requests ended by a time-out",
    ),
    Metric(
        *("ConnectErrors", COUNT, CLIENT_KEY, COUNTER, "tramo_client_connect_errors"),
        "connections to endpoints that could not be made",
    ),
    Metric(
        *("CircuitBreakerOverflows", COUNT, CLIENT_KEY, COUNTER, "tramo_client_overflows"),
        "requests refused by the circuit breaker",
    ),
    HEALTHY_ENDPOINTS,
    Metric(
        *("EjectedEndpoints", COUNT, CLIENT_KEY, GAUGE, "tramo_client_endpoints"),
        "endpoints out of routing for their failures, as each sidecar sees them",
        (("state", "ejected"),),
    ),
    Metric(
        *("UnhealthyEndpoints", COUNT, CLIENT_KEY, GAUGE, "tramo_client_endpoints"),
        "endpoints out of routing because a health check fails, as each sidecar sees them",
        (("state", "unhealthy"),),
    ),
    *_flags(CLIENT_KEY, "tramo_client_response_flags", tuple(flag for flag in FLAGS if flag != "NR")),
)
RESPONSE_TIME: Final = Metric(
    *("TargetResponseTime", MILLISECONDS, CLIENT_KEY, HISTOGRAM, "tramo_client_response_seconds"),
    "from the sending of the last attempt to the head of the service's answer",
)
SIDECAR_METRICS: Final = (
    Metric(
        *("SnapshotAge", SECONDS, SIDECAR_KEY, GAUGE, "tramo_snapshot_age_seconds"),
        "time since the API last confirmed the snapshot, or since the start if it never did",
    ),
    Metric(
        *("SnapshotRevision", NO_UNIT, SIDECAR_KEY, GAUGE, "tramo_snapshot_revision"),
        "revision of the snapshot in use",
    ),
    Metric(
        *("SidecarCpu", PERCENT, SIDECAR_KEY, COUNTER, "process_cpu_seconds"),
        "processor time of the sidecar; in CloudWatch per cent of one processor",
    ),
    Metric(
        *("SidecarMemory", BYTES, SIDECAR_KEY, GAUGE, "process_resident_memory_bytes"),
        "resident memory of the sidecar",
    ),
    *_flags(SIDECAR_KEY, "tramo_forward_response_flags", ("NR", "DPE")),
)
METRICS: Final = (*SERVER_METRICS, *CLIENT_METRICS, RESPONSE_TIME, *SIDECAR_METRICS)
MAX_DEPARTED: Final = 1000
"""Meters of services that left, about 1 MB: without a bound, names that come and go for months would fill memory."""
MESH_WIDE: Final = frozenset(
    (*(metric.name for metric in _statuses()), "HealthyEndpoints", "EjectedEndpoints", "UnhealthyEndpoints")
)


def _flag_names(metrics: tuple[Metric, ...]) -> tuple[str, ...]:
    return tuple(metric.labels[0][1] for metric in metrics if metric.name.startswith("ResponseFlag_"))


class Meter:
    """Values of some metrics, and what of them was taken already."""

    __slots__ = ("_metrics", "_taken", "flags", "name")

    flag_names: ClassVar[tuple[str, ...]] = ()
    """The flags among its metrics, in their order."""

    def __init__(self, name: str, metrics: tuple[Metric, ...]) -> None:
        self.name = name  # the discovery name
        self.flags: dict[str, int] = {}
        self._metrics = metrics
        self._taken = [0.0] * len(metrics)

    def values(self) -> list[float]:
        """One value per metric: of a counter the total since the start, of a gauge what is now."""
        raise NotImplementedError

    def _flag_values(self) -> list[float]:
        flags = self.flags
        return [float(flags.get(name, 0)) for name in self.flag_names]

    def count_flags(self, flags: str) -> None:
        """A request ended with these flags, separated by commas."""
        for flag in flags.split(","):
            self.flags[flag] = self.flags.get(flag, 0) + 1

    def rows(self) -> list[tuple[Metric, float]]:
        """Every metric with its value, for Prometheus."""
        return list(zip(self._metrics, self.values(), strict=True))

    def take(self) -> list[tuple[Metric, float]]:
        """What is not zero: of counters the growth since the last call, of gauges what is now."""
        values = self.values()
        found = []
        for metric, value, before in zip(self._metrics, values, self._taken, strict=True):
            moved = value - before if metric.kind == COUNTER else value
            if moved:
                found.append((metric, moved))
        self._taken = values
        return found


class ServerMeter(Meter):
    """Inbound traffic of one of this task's services."""

    __slots__ = ("active_connections", "bytes", "connections", "grpc_requests", "requests")

    flag_names = _flag_names(SERVER_METRICS)

    def __init__(self, name: str) -> None:
        Meter.__init__(self, name, SERVER_METRICS)
        self.active_connections = 0
        self.connections = 0
        self.bytes = 0
        self.requests = 0
        self.grpc_requests = 0

    def values(self) -> list[float]:
        """In the order of SERVER_METRICS."""
        counted = (self.active_connections, self.connections, self.bytes, self.requests, self.grpc_requests)
        return [*map(float, counted), *self._flag_values()]


class ClientMeter(Meter):
    """Outbound traffic of this task towards one service."""

    __slots__ = (
        "bytes",
        "connect_errors",
        "ejected",
        "ejections",
        "healthy",
        "latency",
        "overflows",
        "requests",
        "retries",
        "retry_budget_exhausted",
        "statuses",
        "targets",
        "timeouts",
        "unhealthy",
    )

    flag_names = _flag_names(CLIENT_METRICS)

    def __init__(self, name: str) -> None:
        Meter.__init__(self, name, CLIENT_METRICS)
        self.statuses = [0] * 10  # by the first digit of the status
        self.bytes = 0
        self.requests = 0
        self.targets = 1  # endpoints that took the requests
        self.latency = Histogram()
        self.retries = 0
        self.retry_budget_exhausted = 0
        self.ejections = 0
        self.timeouts = 0
        self.connect_errors = 0
        self.overflows = 0
        self.healthy = 0  # endpoints, when the sidecar last looked
        self.ejected = 0
        self.unhealthy = 0

    def answered(self, status: int, seconds: float) -> None:
        """An endpoint answered with this status after this long."""
        self.statuses[status // 100] += 1
        self.latency.record(seconds)

    def values(self) -> list[float]:
        """In the order of CLIENT_METRICS."""
        counted = (
            *self.statuses[2:6],
            *(self.requests, self.bytes, self.retries, self.retry_budget_exhausted, self.ejections, self.timeouts),
            *(self.connect_errors, self.overflows, self.healthy, self.ejected, self.unhealthy),
        )
        return [*map(float, counted), *self._flag_values()]

    def take(self) -> list[tuple[Metric, float]]:
        """As every meter's, but requests are divided by the targets, and endpoints are told of called services only."""
        if not self.requests and not self.flags:
            return []  # as most services of a namespace
        rows = Meter.take(self)
        if not self.requests:
            return [(metric, value) for metric, value in rows if metric.kind == COUNTER]
        if not self.healthy:
            rows.append((HEALTHY_ENDPOINTS, 0.0))
        return [
            (metric, value / max(self.targets, 1) if metric.name == "RequestCountPerTarget" else value)
            for metric, value in rows
        ]


class SidecarMeter(Meter):
    """The sidecar itself: what it routes by and what it uses."""

    __slots__ = ("_taken_uptime", "cpu_seconds", "memory", "snapshot_age", "snapshot_revision", "uptime")

    flag_names = _flag_names(SIDECAR_METRICS)

    def __init__(self) -> None:
        Meter.__init__(self, "", SIDECAR_METRICS)
        self.snapshot_age = 0.0
        self.snapshot_revision = 0
        self.cpu_seconds = 0.0  # since the process was started, as is `uptime`
        self.uptime = 0.0  # seconds, when the sidecar last looked
        self.memory = 0  # bytes
        self._taken_uptime = 0.0

    def values(self) -> list[float]:
        """In the order of SIDECAR_METRICS."""
        counted = (self.snapshot_age, float(self.snapshot_revision), self.cpu_seconds, float(self.memory))
        return [*counted, *self._flag_values()]

    def take(self) -> list[tuple[Metric, float]]:
        """As every meter's, but processor time is per cent of the time that passed."""
        passed, self._taken_uptime = self.uptime - self._taken_uptime, self.uptime
        return [
            (metric, 100.0 * value / max(passed, value) if metric.name == "SidecarCpu" else value)
            for metric, value in Meter.take(self)
        ]


def _nothing() -> None:
    """The gauges stay as they are."""


class Meters:
    """All meters of one sidecar."""

    __slots__ = ("_cluster_name", "_departed", "_service_name", "clients", "refresh", "servers", "sidecar")

    def __init__(self, service_name: str, cluster_name: str) -> None:
        self._service_name = service_name
        self._cluster_name = cluster_name
        self.servers: dict[str, ServerMeter] = {}
        self.clients: dict[str, ClientMeter] = {}
        self._departed: dict[str, None] = {}  # names of `clients` that left the namespace, the longest gone first
        self.sidecar = SidecarMeter()
        self.refresh: Callable[[], None] = _nothing  # brings the gauges up to date

    def server(self, discovery_name: str) -> ServerMeter:
        """The meter of one of this task's services."""
        meter = self.servers.get(discovery_name)
        if meter is None:
            meter = self.servers[discovery_name] = ServerMeter(discovery_name)
        return meter

    def client(self, discovery_name: str) -> ClientMeter:
        """The meter of traffic towards a service."""
        self._departed.pop(discovery_name, None)
        meter = self.clients.get(discovery_name)
        if meter is None:
            meter = self.clients[discovery_name] = ClientMeter(discovery_name)
        return meter

    def depart(self, discovery_name: str) -> None:
        """A service left the namespace. Its meter stays for what is under way, until `MAX_DEPARTED` have left later."""
        self._departed[discovery_name] = None
        if len(self._departed) > MAX_DEPARTED:
            longest_gone = next(iter(self._departed))
            del self._departed[longest_gone], self.clients[longest_gone]

    def take(self) -> list[Datum]:
        """All that moved since the last call and all gauges that are not zero, with their dimension sets."""
        self.refresh()
        data: list[Datum] = []
        totals: dict[Metric, float] = {}
        meters: list[tuple[str, Meter]] = [(SIDECAR_KEY, self.sidecar)]
        meters += [(SERVER_KEY, meter) for meter in self.servers.values()]
        meters += [(CLIENT_KEY, meter) for meter in self.clients.values()]
        for key, meter in meters:
            rows = meter.take()
            groups = meter.latency.take() if isinstance(meter, ClientMeter) else []
            for dimensions in self._dimension_sets(key, meter.name):
                data += [Datum(metric.name, metric.unit, dimensions, [value], [1.0]) for metric, value in rows]
                data += [
                    Datum(RESPONSE_TIME.name, RESPONSE_TIME.unit, dimensions, values, counts)
                    for values, counts in groups
                ]
            for metric, value in rows:
                if metric.name in MESH_WIDE:
                    totals[metric] = totals.get(metric, 0.0) + value
        data += [Datum(metric.name, metric.unit, (), [value], [1.0]) for metric, value in totals.items()]
        return data

    def _dimension_sets(self, key: str, discovery_name: str) -> list[Dimensions]:
        first: Dimensions = ((key, discovery_name),) if key else ()
        sets = [first]
        if self._service_name and self._cluster_name:
            sets.append((*first, ("ServiceName", self._service_name), ("ClusterName", self._cluster_name)))
        return sets
