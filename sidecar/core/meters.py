"""What the proxy counts, and its folding into CloudWatch metrics with Service Connect's names.

Rules:
- Inbound traffic is counted by the serving task under its `DiscoveryName`; what the service answered is counted by
  the calling task under `TargetDiscoveryName`, as Service Connect does.
- Every metric is sent with two dimension sets: the discovery name alone, and with the ServiceName and ClusterName
  of the task that counted. A task that no service started has only the first.
- No dimension names a task: CloudWatch bills every combination. Counters that did not move are not sent.
- `take` moves the counts out: what it returned is counted nowhere else any more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.core.histogram import Histogram

COUNT: Final = "Count"
BYTES: Final = "Bytes"
MILLISECONDS: Final = "Milliseconds"

Dimensions = tuple[tuple[str, str], ...]


class Datum(NamedTuple):
    """One CloudWatch metric datum: values with how often each came."""

    name: str
    unit: str
    dimensions: Dimensions
    values: list[float]
    counts: list[float]


class ServerMeter:
    """Inbound traffic of one of this task's services."""

    __slots__ = ("active_connections", "bytes", "connections", "discovery_name", "grpc_requests", "requests")

    def __init__(self, discovery_name: str) -> None:
        self.discovery_name = discovery_name
        self.active_connections = 0
        self.connections = 0
        self.bytes = 0
        self.requests = 0
        self.grpc_requests = 0

    def take(self) -> list[tuple[str, str, float]]:
        """Name, unit and value of what moved since the last call."""
        found = [
            ("ActiveConnectionCount", COUNT, self.active_connections),
            ("NewConnectionCount", COUNT, self.connections),
            ("ProcessedBytes", BYTES, self.bytes),
            ("RequestCount", COUNT, self.requests),
            ("GrpcRequestCount", COUNT, self.grpc_requests),
        ]
        self.connections = self.bytes = self.requests = self.grpc_requests = 0
        return [(name, unit, float(value)) for name, unit, value in found if value]


class ClientMeter:
    """Outbound traffic of this task towards one service."""

    __slots__ = (
        "bytes",
        "connect_errors",
        "discovery_name",
        "ejections",
        "latency",
        "overflows",
        "requests",
        "retries",
        "statuses",
        "targets",
        "timeouts",
    )

    def __init__(self, discovery_name: str) -> None:
        self.discovery_name = discovery_name
        self.statuses = [0] * 10  # by the first digit of the status
        self.bytes = 0
        self.requests = 0
        self.targets = 1  # endpoints that took the requests
        self.latency = Histogram()
        self.retries = 0
        self.ejections = 0
        self.timeouts = 0
        self.connect_errors = 0
        self.overflows = 0

    def answered(self, status: int, seconds: float) -> None:
        """An endpoint answered with this status after this long."""
        self.statuses[status // 100] += 1
        self.latency.record(seconds)

    def take(self) -> list[tuple[str, str, float]]:
        """Name, unit and value of what moved since the last call, the histogram aside."""
        found: list[tuple[str, str, float]] = [
            (f"HTTPCode_Target_{digit}XX_Count", COUNT, self.statuses[digit]) for digit in (2, 3, 4, 5)
        ]
        found += [
            ("RequestCountPerTarget", COUNT, self.requests / max(self.targets, 1)),
            ("TargetProcessedBytes", BYTES, self.bytes),
            ("Retries", COUNT, self.retries),
            ("Ejections", COUNT, self.ejections),
            ("RequestTimeouts", COUNT, self.timeouts),
            ("ConnectErrors", COUNT, self.connect_errors),
            ("CircuitBreakerOverflows", COUNT, self.overflows),
        ]
        self.statuses = [0] * 10
        self.bytes = self.requests = self.retries = self.ejections = 0
        self.timeouts = self.connect_errors = self.overflows = 0
        return [(name, unit, float(value)) for name, unit, value in found if value]


class Meters:
    """All meters of one sidecar."""

    __slots__ = ("_clients", "_cluster_name", "_servers", "_service_name")

    def __init__(self, service_name: str, cluster_name: str) -> None:
        self._service_name = service_name
        self._cluster_name = cluster_name
        self._servers: dict[str, ServerMeter] = {}
        self._clients: dict[str, ClientMeter] = {}

    def server(self, discovery_name: str) -> ServerMeter:
        """The meter of one of this task's services."""
        meter = self._servers.get(discovery_name)
        if meter is None:
            meter = self._servers[discovery_name] = ServerMeter(discovery_name)
        return meter

    def client(self, discovery_name: str) -> ClientMeter:
        """The meter of traffic towards a service."""
        meter = self._clients.get(discovery_name)
        if meter is None:
            meter = self._clients[discovery_name] = ClientMeter(discovery_name)
        return meter

    def take(self) -> list[Datum]:
        """All that moved since the last call, with both dimension sets."""
        data: list[Datum] = []
        for server in self._servers.values():
            rows = server.take()
            for dimensions in self._dimension_sets("DiscoveryName", server.discovery_name):
                data += [Datum(name, unit, dimensions, [value], [1.0]) for name, unit, value in rows]
        for client in self._clients.values():
            rows = client.take()
            groups = client.latency.take()
            for dimensions in self._dimension_sets("TargetDiscoveryName", client.discovery_name):
                data += [Datum(name, unit, dimensions, [value], [1.0]) for name, unit, value in rows]
                data += [
                    Datum("TargetResponseTime", MILLISECONDS, dimensions, values, counts) for values, counts in groups
                ]
        return data

    def _dimension_sets(self, key: str, discovery_name: str) -> list[Dimensions]:
        sets: list[Dimensions] = [((key, discovery_name),)]
        if self._service_name and self._cluster_name:
            sets.append(
                (
                    (key, discovery_name),
                    ("ServiceName", self._service_name),
                    ("ClusterName", self._cluster_name),
                )
            )
        return sets
