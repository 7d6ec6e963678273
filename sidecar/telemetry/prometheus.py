"""The meters as text for Prometheus: its own format 0.0.4, and OpenMetrics 1.0 for those who ask for it.

https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md

Rules:
- Counters are totals since the start. They end in `_total`; OpenMetrics names the family without it.
- All samples of a family stand together, under one HELP and one TYPE.
- A service that this task has never called shows its endpoints only: its counters are all zero, and a namespace
  has many services.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sidecar.core.histogram import BOUNDS, Histogram
from sidecar.core.meters import ClientMeter, Meters
from sidecar.core.metrics import COUNTER, GAUGE, METRICS, RESPONSE_TIME

TEXT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Family(NamedTuple):
    """One metric family: name without `_total`, kind, help, and its samples (suffix, labels, value)."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, Labels, float]]


HELP: Final = {
    "tramo_client_responses": "Answers of the service by class, of gRPC by grpc-status, retried ones aside.",
    "tramo_client_endpoints": "Endpoints of the service as the balancer sees them; those that start or drain aside.",
    "tramo_client_requests": "Requests to the service.",
    "tramo_client_response_flags": "Requests that the proxy failed or cut, by response flag.",
    "tramo_server_response_flags": "Requests that the proxy failed or cut, by response flag.",
    "tramo_forward_response_flags": "Requests that the forward proxy refused, by response flag.",
    "process_cpu_seconds": "Processor time of the sidecar.",
}
"""Of series whose metrics in CloudWatch each say one part only."""


def families(meters: Meters, extra: Iterable[Family] = ()) -> list[Family]:
    """All families of this sidecar."""
    found = {metric.series: Family(metric.series, metric.kind, meaning_of(metric.series), []) for metric in METRICS}
    for metric, value in meters.sidecar.rows():
        found[metric.series].samples.append((_suffix(metric.kind), metric.labels, value))
    for meter in (*meters.servers.values(), *meters.clients.values()):
        service = (("service", meter.name),)
        used = not isinstance(meter, ClientMeter) or meter.requests > 0 or bool(meter.flags)
        for metric, value in meter.rows():
            if used or metric.kind == GAUGE:
                found[metric.series].samples.append((_suffix(metric.kind), (*service, *metric.labels), value))
        if used and isinstance(meter, ClientMeter):
            found[RESPONSE_TIME.series].samples.extend(_histogram(meter.latency, service))
    return [*(family for family in found.values() if family.samples), *extra]


def _suffix(kind: str) -> str:
    return "_total" if kind == COUNTER else ""


def meaning_of(series: str) -> str:
    """Return what a series says, in one sentence."""
    if series in HELP:
        return HELP[series]
    (meaning,) = [metric.meaning for metric in METRICS if metric.series == series]
    return f"{meaning[0].upper()}{meaning[1:]}."


def _histogram(histogram: Histogram, labels: Labels) -> list[tuple[str, Labels, float]]:
    samples: list[tuple[str, Labels, float]] = [
        ("_bucket", (*labels, ("le", repr(bound / 1e6))), float(below))
        for bound, below in zip(BOUNDS, histogram.below(), strict=True)
    ]
    samples.append(("_bucket", (*labels, ("le", "+Inf")), float(histogram.count)))
    samples.append(("_sum", labels, histogram.seconds))
    samples.append(("_count", labels, float(histogram.count)))
    return samples


def render(found: Sequence[Family], openmetrics: bool) -> bytes:
    """Return the text of these families."""
    lines = []
    for family in found:
        name = family.name if openmetrics or family.kind != COUNTER else f"{family.name}_total"
        lines.append(f"# HELP {name} {_escape_help(family.help)}\n# TYPE {name} {family.kind}\n")
        for suffix, labels, value in family.samples:
            text = ",".join(f'{label}="{_escape(content)}"' for label, content in labels)
            lines.append(
                f"{family.name}{suffix}{{{text}}} {_number(value)}\n"
                if text
                else f"{family.name}{suffix} {_number(value)}\n"
            )
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def wants_openmetrics(accept: bytes | None) -> bool:
    """Return whether this Accept field takes OpenMetrics; Prometheus names it first when it does."""
    return accept is not None and b"application/openmetrics-text" in accept.lower()


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
