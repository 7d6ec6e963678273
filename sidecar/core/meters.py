"""What the proxy counts, and its folding into CloudWatch metrics with Service Connect's names.

Rules:
- Every metric is sent with two dimension sets: the discovery name alone, and with the ServiceName and ClusterName
  of the task that counted. A task that no service started has only the first.
- No dimension names a task: CloudWatch bills every combination. What is zero is not sent, except
  HealthyEndpoints, whose zero is an outage, and ZoneLocalShare, whose zero is news as well; endpoints are told only of
  services that this task has called.
- Counters only grow; `take` gives what came since the last `take`. So Prometheus reads totals, CloudWatch gets
  differences, and neither disturbs the other.
- Gauges are what somebody wrote last: who takes the counts brings them up to date before.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from sidecar.core.flags import Flags
from sidecar.core.histogram import Histogram
from sidecar.core.metrics import (
    CLIENT_KEY,
    CLIENT_METRICS,
    COUNTER,
    HEALTHY_ENDPOINTS,
    MESH_WIDE,
    RESPONSE_TIME,
    SERVER_KEY,
    SERVER_METRICS,
    SIDECAR_KEY,
    SIDECAR_METRICS,
    ZONE_LOCAL_SHARE,
    Metric,
)

MAX_DEPARTED: Final = 1000
"""Meters of services that left, about 1 MB: without a bound, names that come and go for months would fill memory."""

Dimensions = tuple[tuple[str, str], ...]


class Datum(NamedTuple):
    """One CloudWatch metric datum: values with how often each came."""

    name: str
    unit: str
    dimensions: Dimensions
    values: list[float]
    counts: list[float]


class Meter:
    """Values of some metrics, and what of them was taken already."""

    __slots__ = ("_metrics", "_taken", "flags", "name")

    def __init__(self, name: str, metrics: tuple[Metric, ...]) -> None:
        self.name = name  # the discovery name
        self.flags: Counter[str] = Counter()  # by code
        self._metrics = metrics
        self._taken = [0.0] * len(metrics)

    def _value(self, metric: Metric) -> float:
        """Of a counter the total since the start, of a gauge what is now."""
        value: Any = getattr(self, metric.attribute)
        return float(value if metric.item is None else value[metric.item])

    def count_flags(self, flags: Flags) -> None:
        """Count a request that ended with these flags."""
        for flag in flags:
            self.flags[flag.code] += 1

    def rows(self) -> list[tuple[Metric, float]]:
        """Every metric with its value, for Prometheus."""
        return [(metric, self._value(metric)) for metric in self._metrics]

    def take(self) -> list[tuple[Metric, float]]:
        """Return what is not zero: of counters the growth since the last call, of gauges what is now."""
        values = [self._value(metric) for metric in self._metrics]
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

    def __init__(self, name: str) -> None:
        Meter.__init__(self, name, SERVER_METRICS)
        self.active_connections = 0
        self.connections = 0
        self.bytes = 0
        self.requests = 0
        self.grpc_requests = 0


class ClientMeter(Meter):
    """Outbound traffic of this task towards one service."""

    __slots__ = (
        "_taken_zone_known",
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
        "zone_known",
        "zone_local",
    )

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
        self.zone_known = 0  # attempts at endpoints whose zone is known, as is this task's
        self.zone_local = 0  # those of them within the zone
        self._taken_zone_known = 0

    def tried(self, zone: str, endpoint_zone: str) -> None:
        """Count a request from a task of this zone to an endpoint of that one; empty if unknown."""
        if zone and endpoint_zone:
            self.zone_known += 1
            self.zone_local += zone == endpoint_zone

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer of an endpoint, with this status after this long."""
        self.counted(status)
        self.latency.record(seconds)

    def counted(self, status: int) -> None:
        """Count an answer by its status; of a gRPC call that is known only at its end."""
        self.statuses[status // 100] += 1

    def take(self) -> list[tuple[Metric, float]]:
        """Take what every meter has, but endpoints of called services only, as the metrics' meanings say."""
        if not self.requests and not self.flags:
            return []  # as most services of a namespace
        rows = Meter.take(self)
        if not self.requests:
            return [(metric, value) for metric, value in rows if metric.kind == COUNTER]
        if not self.healthy:
            rows.append((HEALTHY_ENDPOINTS, 0.0))
        tried, self._taken_zone_known = self.zone_known - self._taken_zone_known, self.zone_known
        if tried:
            local = sum(value for metric, value in rows if metric is ZONE_LOCAL_SHARE)
            rows = [row for row in rows if row[0] is not ZONE_LOCAL_SHARE]
            rows.append((ZONE_LOCAL_SHARE, 100.0 * local / tried))
        return [
            (metric, value / max(self.targets, 1) if metric.name == "RequestCountPerTarget" else value)
            for metric, value in rows
        ]


class SidecarMeter(Meter):
    """The sidecar itself: what it routes by and what it uses."""

    __slots__ = (
        "_taken_uptime",
        "cpu_seconds",
        "feed_away",
        "findings",
        "memory",
        "shedding",
        "snapshot_age",
        "snapshot_revision",
        "uptime",
    )

    def __init__(self) -> None:
        Meter.__init__(self, "", SIDECAR_METRICS)
        self.snapshot_age = 0.0
        self.snapshot_revision = 0
        self.cpu_seconds = 0.0  # since the process was started, as is `uptime`
        self.uptime = 0.0  # seconds, when the sidecar last looked
        self.memory = 0  # bytes
        self.feed_away = False
        self.findings = 0
        self.shedding = False
        self._taken_uptime = 0.0

    def take(self) -> list[tuple[Metric, float]]:
        """Take what every meter has; processor time is per cent of the time that passed."""
        passed, self._taken_uptime = self.uptime - self._taken_uptime, self.uptime
        return [
            (metric, 100.0 * value / max(passed, value) if metric.name == "SidecarCpu" else value)
            for metric, value in Meter.take(self)
        ]


class Meters:
    """All meters of one sidecar."""

    __slots__ = ("_cluster_name", "_departed", "_service_name", "clients", "servers", "sidecar")

    def __init__(self, service_name: str, cluster_name: str) -> None:
        self._service_name = service_name
        self._cluster_name = cluster_name
        self.servers: dict[str, ServerMeter] = {}
        self.clients: dict[str, ClientMeter] = {}
        self._departed: dict[str, None] = {}  # names of `clients` that left the namespace, the longest gone first
        self.sidecar = SidecarMeter()

    def server(self, discovery_name: str) -> ServerMeter:
        """Return the meter of one of this task's services."""
        meter = self.servers.get(discovery_name)
        if meter is None:
            meter = self.servers[discovery_name] = ServerMeter(discovery_name)
        return meter

    def client(self, discovery_name: str) -> ClientMeter:
        """Return the meter of traffic towards a service."""
        self._departed.pop(discovery_name, None)
        meter = self.clients.get(discovery_name)
        if meter is None:
            meter = self.clients[discovery_name] = ClientMeter(discovery_name)
        return meter

    def depart(self, discovery_name: str) -> None:
        """Let a service go. Its meter stays for what is under way, until `MAX_DEPARTED` have left later."""
        self._departed[discovery_name] = None
        if len(self._departed) > MAX_DEPARTED:
            longest_gone = next(iter(self._departed))
            del self._departed[longest_gone], self.clients[longest_gone]

    def take(self) -> list[Datum]:
        """Return all that moved since the last call and all gauges that are not zero, with their dimension sets."""
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
