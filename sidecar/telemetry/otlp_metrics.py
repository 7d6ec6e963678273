"""The meters as OTLP's metrics: totals since the start, gauges as they are, with OpenTelemetry's names if it has any.

Rules:
- Totals, not differences: a call that fails loses nothing, and the next one says it all.
- `http.server.request.duration` and `http.client.request.duration` are the semantic conventions'. What they do not
  know is `tramo.…`, Prometheus' series with dots: a collector that writes to Prometheus makes the same names of it.
- Of services that this task has never called only the gauges of their endpoints are sent, as on `/metrics`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from sidecar.core import durations, histogram, otlp
from sidecar.core.durations import Durations, Kind
from sidecar.core.meters import ClientMeter, Meters
from sidecar.core.metrics import BYTES, COUNTER, METRICS, RESPONSE_TIME, Metric
from sidecar.core.otlp import Attributes, Buckets, Point, Value
from sidecar.telemetry.prometheus import meaning_of

_NAMES: Final = {
    "process_cpu_seconds": "process.cpu.time",
    "process_resident_memory_bytes": "process.memory.usage",
}
_PREFIXES: Final = ("tramo_client_", "tramo_server_", "tramo_forward_", "tramo_")
SPANS: Final = "tramo.otlp.spans"


def name_of(series: str) -> str:
    """Return the metric's name: dots where Prometheus has underscores between words of a path."""
    if series in _NAMES:
        return _NAMES[series]
    prefix = next(prefix for prefix in _PREFIXES if series.startswith(prefix))
    return prefix.replace("_", ".") + series.removeprefix(prefix).removesuffix("_seconds")


def unit_of(metric: Metric) -> str:
    """Return the metric's unit, as UCUM writes it."""
    if metric.series.endswith("_seconds"):
        return "s"
    return "By" if metric.unit == BYTES else "1"


def metrics(meters: Meters, found: Durations, spans: dict[str, int], start: float, now: float) -> list[bytes]:
    """All metrics of this sidecar, each encoded; `spans` counts those that were exported by what became of them."""
    points: dict[str, list[Point]] = {metric.series: [] for metric in METRICS}
    latencies: list[Buckets] = []
    for metric, value in meters.sidecar.rows():
        points[metric.series].append(Point(metric.labels, value))
    for meter in (*meters.servers.values(), *meters.clients.values()):
        service = (("tramo.service", meter.name),)
        used = not isinstance(meter, ClientMeter) or meter.requests > 0 or bool(meter.flags)
        for metric, value in meter.rows():
            if used or metric.kind != COUNTER:
                points[metric.series].append(Point((*service, *metric.labels), value))
        if isinstance(meter, ClientMeter) and meter.latency.count:
            latencies.append(_latency(meter, service))
    by_series = {metric.series: metric for metric in METRICS}
    encoded = []
    for series, rows in points.items():
        metric = by_series[series]
        name, unit, meaning = name_of(series), unit_of(metric), meaning_of(series)
        if rows and metric.kind == COUNTER:
            encoded.append(otlp.counter(name, unit, meaning, rows, start, now))
        elif rows:
            encoded.append(otlp.gauge(name, unit, meaning, rows, now))
    if latencies:
        name, meaning = name_of(RESPONSE_TIME.series), meaning_of(RESPONSE_TIME.series)
        bounds = [bound / 1e6 for bound in histogram.BOUNDS]
        encoded.append(otlp.histogram(name, "s", meaning, latencies, bounds, start, now))
    outcomes = [Point((("result", result),), float(count)) for result, count in spans.items()]
    encoded.append(otlp.counter(SPANS, "1", "Spans for OTLP, by what became of them.", outcomes, start, now))
    return encoded + _durations(found, start, now)


def _latency(meter: ClientMeter, service: Attributes) -> Buckets:
    below = [0, *meter.latency.below(), meter.latency.count]
    counts = [upper - lower for lower, upper in pairwise(below)]
    return Buckets(service, counts, meter.latency.seconds)


def _durations(found: Durations, start: float, now: float) -> list[bytes]:
    encoded = []
    for inbound, name in ((True, "http.server.request.duration"), (False, "http.client.request.duration")):
        rows = [
            Buckets(kind_attributes(kind), duration.counts, duration.seconds)
            for kind, duration in found.series.items()
            if kind.inbound is inbound
        ]
        if rows:
            meaning = f"Duration of HTTP {'server' if inbound else 'client'} requests."
            encoded.append(otlp.histogram(name, "s", meaning, rows, durations.BOUNDS, start, now))
    return encoded


def kind_attributes(kind: Kind) -> Attributes:
    """Return the attributes of a series of requests."""
    if kind.is_overflow:
        return [("otel.metric.overflow", True)]
    found: list[tuple[str, Value]] = [
        ("http.request.method", kind.method or otlp.OTHER_METHOD),
        ("url.scheme", "http"),
        ("network.protocol.version", kind.version),
        ("tramo.service", kind.service),
    ]
    if not kind.inbound:
        found.append(("server.address", kind.service))
    if kind.status:
        found.append(("http.response.status_code", kind.status))
    if kind.grpc_status is not None:
        found += [("rpc.system", "grpc"), ("rpc.grpc.status_code", kind.grpc_status)]
    failed = otlp.error(kind.inbound, kind.status, kind.grpc_status, kind.flag)
    if failed:
        found.append(("error.type", failed))
    return found
