"""The meters in OpenTelemetry's names, units and kinds."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from sidecar.core import otlp
from sidecar.core.durations import Durations, Kind
from sidecar.core.flags import UH
from sidecar.core.meters import Meters
from sidecar.core.metrics import METRICS
from sidecar.telemetry.otlp_metrics import metrics, name_of
from tests.support.wire.otlp_collector import read_metrics, values


def encoded(meters: Meters, durations: Durations | None = None) -> dict[str, Metric]:
    parts = metrics(meters, durations or Durations(), {"sent": 3, "dropped": 1}, 100.0, 160.0)
    _, found = read_metrics(otlp.request(b"", "1", parts))
    assert len({metric.name for metric in found}) == len(found)
    return {metric.name: metric for metric in found}


def points(metric: Metric) -> dict[tuple[Any, ...], float]:
    rows = metric.sum.data_points or metric.gauge.data_points
    return {tuple(values(row.attributes).values()): row.as_double for row in rows}


def test_what_the_meters_counted() -> None:
    meters = Meters("web-svc", "main")
    meters.server("web").requests = 5
    client = meters.client("orders")
    client.requests, client.healthy, client.retries, client.bytes = 2, 3, 1, 900
    client.answered(200, 0.3)
    client.answered(503, 0.3)
    meters.sidecar.memory = 1 << 20
    found = encoded(meters)
    assert points(found["tramo.server.requests"]) == {("web",): 5.0}
    assert points(found["tramo.client.requests"]) == {("orders",): 2.0}
    assert points(found["tramo.client.retries"]) == {("orders",): 1.0}
    assert points(found["tramo.client.responses"])["orders", "5xx"] == 1.0
    assert points(found["tramo.client.endpoints"])["orders", "healthy"] == 3.0
    assert points(found["process.memory.usage"]) == {(): float(1 << 20)}
    assert points(found["tramo.otlp.spans"]) == {("sent",): 3.0, ("dropped",): 1.0}
    assert (found["tramo.client.bytes"].unit, found["process.cpu.time"].unit) == ("By", "s")
    (latency,) = found["tramo.client.response"].histogram.data_points
    assert (latency.count, sum(latency.bucket_counts), latency.sum) == (2, 2, 0.6)
    assert len(latency.bucket_counts) == len(latency.explicit_bounds) + 1
    slot = next(at for at, bound in enumerate(latency.explicit_bounds) if bound > 0.3)
    assert latency.bucket_counts[slot] == 2


def test_services_that_were_never_called_show_their_endpoints_only() -> None:
    meters = Meters("", "")
    meters.client("orders").healthy = 2
    found = encoded(meters)
    assert "tramo.client.requests" not in found
    assert points(found["tramo.client.endpoints"])["orders", "healthy"] == 2.0


def test_durations_are_by_method_status_and_error() -> None:
    durations = Durations()
    durations.record(Kind(True, "web", "GET", "1.1", 200, None, ""), 0.02)
    durations.record(Kind(False, "orders", "GET", "2", 503, None, UH.code), 0.02)
    durations.record(Kind(False, "orders", "POST", "2", 200, 14, ""), 0.02)
    found = encoded(Meters("", ""), durations)
    (server,) = found["http.server.request.duration"].histogram.data_points
    assert (server.count, found["http.server.request.duration"].unit) == (1, "s")
    assert values(server.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "tramo.service": "web",
        "http.response.status_code": 200,
    }
    refused, grpc = (values(row.attributes) for row in found["http.client.request.duration"].histogram.data_points)
    assert (refused["server.address"], refused["error.type"]) == ("orders", "UH")
    assert (grpc["rpc.grpc.status_code"], grpc["error.type"]) == (14, "14")


def test_every_series_has_a_name_of_its_own() -> None:
    series = {metric.series for metric in METRICS}
    assert len({name_of(each) for each in series}) == len(series)
    assert name_of("tramo_client_retry_budget_exhausted") == "tramo.client.retry_budget_exhausted"
    assert name_of("tramo_snapshot_age_seconds") == "tramo.snapshot_age"
