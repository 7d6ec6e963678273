"""What the mesh's metrics cost in CloudWatch, counted from what meters really send.

CloudWatch bills a metric by name and set of dimensions for each hour in which it gets values, so failures cost only
while they last. https://aws.amazon.com/cloudwatch/pricing/, US East, the first 10,000 metrics.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.meters import Meters

DOLLARS_A_METRIC: Final = 0.30  # a month
DOLLARS_A_CALL: Final = 0.01 / 1000  # PutMetricData
CALLS_A_MONTH: Final = 730 * 60

_Sent = set[tuple[str, tuple[tuple[str, str], ...]]]


def table() -> str:
    """Return the table of the documentation."""
    rows = [
        ("a service that is called, HTTP", len(_serving("web-svc", grpc=False)), ""),
        ("a gRPC service besides", len(_serving("web-svc", grpc=True) - _serving("web-svc", grpc=False)), ""),
        (
            "the first service that calls it",
            len(_calling("web-svc")),
            "those by `TargetDiscoveryName` alone are shared",
        ),
        ("each further one", len(_calling("shop-svc") - _calling("web-svc")), ""),
        ("each ECS service with sidecars", len(_own("web-svc") - _own("shop-svc")), "snapshot, processor, memory"),
        ("the mesh", len(_own("web-svc") & _own("shop-svc")) + len(_mesh_wide()), "without dimensions"),
    ]
    lines = [f"| {what} | {count} | ${count * DOLLARS_A_METRIC:.2f} | {note} |\n" for what, count, note in rows]
    calls = f"| each task: PutMetricData once a minute | | ${CALLS_A_MONTH * DOLLARS_A_CALL:.2f} | by the call |\n"
    return "| what | metrics | a month | |\n|---|---|---|---|\n" + "".join(lines) + calls


def _serving(ecs_service: str, *, grpc: bool) -> _Sent:
    meters = Meters(ecs_service, "main")
    meter = meters.server("orders")
    meter.active_connections = meter.connections = meter.bytes = meter.requests = 1
    meter.grpc_requests = int(grpc)
    return _sent(meters)


def _calling(ecs_service: str) -> _Sent:
    """Return what a service sends that calls another one, without failures."""
    meters = Meters(ecs_service, "main")
    meter = meters.client("orders")
    meter.requests = meter.bytes = meter.healthy = 1
    meter.answered(200, 0.01)
    return {(name, dimensions) for name, dimensions in _sent(meters) if dimensions}


def _own(ecs_service: str) -> _Sent:
    meters = Meters(ecs_service, "main")
    own = meters.sidecar
    own.snapshot_age = own.snapshot_revision = own.cpu_seconds = own.uptime = own.memory = 1
    return _sent(meters)


def _mesh_wide() -> _Sent:
    meters = Meters("", "")
    meter = meters.client("orders")
    meter.requests = meter.healthy = 1
    meter.answered(200, 0.01)
    return {(name, dimensions) for name, dimensions in _sent(meters) if not dimensions}


def _sent(meters: Meters) -> _Sent:
    return {(datum.name, datum.dimensions) for datum in meters.take()}
