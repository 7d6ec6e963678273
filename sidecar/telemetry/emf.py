"""Meters as lines of CloudWatch's embedded metric format on stdout, for tasks whose logs go to CloudWatch Logs.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

Rules:
- One document for each interval and dimension set, or several where it has more than `MAX_METRICS` metrics. A name
  stands in a document once.
- A distribution is an object of `Values` and `Counts` with its sum, count and extremes, as the CloudWatch agent and
  AWS's OpenTelemetry exporter write histograms; at most `MAX_VALUES` values, so a longer one is cut in two documents.
- Times are milliseconds since 1970.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from sidecar.core.meters import Datum, Dimensions
from sidecar.telemetry.output import Output
from sidecar.telemetry.schedule import Intervals

MAX_METRICS: Final = 100
MAX_VALUES: Final = 100


class EmfSink:
    """Writes the meters' counts."""

    def __init__(
        self,
        namespace: str,
        take: Callable[[], list[Datum]],
        output: Output,
        seconds: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._namespace = namespace
        self._take = take  # the counts since the last time
        self._output = output
        self._seconds = seconds
        self._wall = wall

    async def run(self) -> None:
        """Write for ever."""
        intervals = Intervals(self._seconds)
        while True:
            await intervals.wait()
            self.flush()

    def flush(self) -> None:
        """Write what came since the last time."""
        for document in documents(self._namespace, self._take(), self._wall()):
            self._output.write(msgspec.json.encode(document) + b"\n")


def documents(namespace: str, data: Iterable[Datum], wall: float) -> list[dict[str, Any]]:
    """Return the documents of these data, which are metrics of this CloudWatch namespace."""
    by_dimensions: dict[Dimensions, list[Datum]] = {}
    for datum in data:
        for part in _parts(datum):
            by_dimensions.setdefault(part.dimensions, []).append(part)
    found = []
    for dimensions, rows in by_dimensions.items():
        pages: list[dict[str, Datum]] = []
        for row in rows:
            page = next((page for page in pages if row.name not in page and len(page) < MAX_METRICS), None)
            if page is None:
                page = {}
                pages.append(page)
            page[row.name] = row
        found += [_document(namespace, dimensions, page, wall) for page in pages]
    return found


def _parts(datum: Datum) -> list[Datum]:
    return [
        datum._replace(values=datum.values[at : at + MAX_VALUES], counts=datum.counts[at : at + MAX_VALUES])
        for at in range(0, len(datum.values), MAX_VALUES)
    ]


def _document(namespace: str, dimensions: Dimensions, page: dict[str, Datum], wall: float) -> dict[str, Any]:
    directive = {
        "Namespace": namespace,
        "Dimensions": [[name for name, _ in dimensions]],
        "Metrics": [{"Name": datum.name, "Unit": datum.unit} for datum in page.values()],
    }
    return {
        "_aws": {"Timestamp": int(wall * 1000.0), "CloudWatchMetrics": [directive]},
        **dict(dimensions),
        **{name: _value(datum) for name, datum in page.items()},
    }


def _value(datum: Datum) -> float | dict[str, Any]:
    if len(datum.values) == 1 and datum.counts == [1.0]:
        return datum.values[0]
    return {
        "Values": datum.values,
        "Counts": datum.counts,
        "Min": min(datum.values),
        "Max": max(datum.values),
        "Count": sum(datum.counts),
        "Sum": sum(value * count for value, count in zip(datum.values, datum.counts, strict=True)),
    }
