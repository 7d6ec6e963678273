"""The dashboard's numbers, read from CloudWatch: from sections to plots, each with its series.

Rules:
- What a search expression finds in CloudWatch is found here by ListMetrics: metrics with exactly the one dimension.
- Only metrics that exist are asked for, since GetMetricData is billed by the metric.
- Sidecars send no zeros, so where a sum of theirs is missing it is zero. Anything else that is missing stays missing.
- The minute that is not over is left out: half a minute looks like half the traffic.
- A graph shows at most `MAX_SERIES`, the highest ones, and says how many it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from infra.dashboards.widgets import MESH, SERVICE, Graph, Line, Section

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

DEFAULT_MESH: Final = "Tramo"
SERVICE_KEYS: Final = ("DiscoveryName", "TargetDiscoveryName")
MAX_SERIES: Final = 16
"""More lines than these nobody tells apart."""
MAX_SERVICES: Final = 100
"""Each service has about thirty metrics on the overview, and a refresh costs a cent for every thousand of them."""
MAX_LISTED: Final = 50_000
"""Metrics of the namespace that are looked at; each service has about a dozen for each of its callers."""
QUERIES_PER_CALL: Final = 500  # GetMetricData's limit
RECENT: Final = timedelta(hours=3)  # the one window that ListMetrics offers
_REFERENCE: Final = re.compile(r"\$\{([^}]+)\}")

Dimensions = tuple[tuple[str, str], ...]
Values = list[float | None]


class ReadError(Exception):
    """CloudWatch could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric with one statistic."""

    namespace: str
    name: str
    dimensions: Dimensions
    statistic: str


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: its label, the service it is of (empty: none), and a value for each of the page's times."""

    label: str
    service: str
    statistic: str
    values: Values


@dataclass(frozen=True, slots=True)
class Plot:
    """One graph with its series, how many were left out, and why there are none if there are none."""

    title: str
    unit: str
    series: list[Series]
    left_out: int
    empty: str


@dataclass(frozen=True, slots=True)
class Part:
    """One section with its plots."""

    title: str
    text: str
    plots: list[Plot]


@dataclass(frozen=True, slots=True)
class Page:
    """All that is shown: times in seconds since 1970, services there are, the one that is shown in full."""

    source: str
    read_at: float
    period: int
    times: list[int]
    services: list[str]
    services_left_out: int
    service: str
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A series before its values are known."""

    label: str
    service: str
    metric: Metric


class Reader:
    """Reads the dashboard from one CloudWatch."""

    def __init__(
        self,
        client: CloudWatchClient,
        sections: Sequence[Section],
        source: str,
        references: Mapping[str, str] | None = None,
        period: int = 60,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        mesh: str = DEFAULT_MESH,
    ) -> None:
        """`mesh` is the CloudWatch namespace of the mesh's own metrics.

        `references` are names of the template's resources by what the sections call them, without `${}`.
        """
        self._client = client
        self._sections = sections
        self._source = source
        self._references = references or {}
        self.period = period
        self._clock = clock
        self._mesh = mesh

    def read(self, service: str, window: timedelta) -> Page:
        """Return the page of this window up to now, with this service in full or the first one. Raises ReadError."""
        now = self._clock()
        end = int(now.timestamp()) // self.period * self.period
        times = list(range(end - int(window.total_seconds()), end, self.period))
        try:
            listed = self._listed(recent=window <= RECENT)
            names = sorted({value for _, ((key, value), *more) in listed if key in SERVICE_KEYS and not more})
            shown = names[:MAX_SERVICES]
            chosen = service if service in names else next(iter(names), "")
            wanted = [
                [(graph, list(self._wanted(graph, chosen, shown, listed))) for graph in section.graphs]
                for section in self._sections
            ]
            metrics = {each.metric for graphs in wanted for _, found in graphs for each in found}
            values = self._values(sorted(metrics, key=repr), times)
        except (BotoCoreError, ClientError) as error:
            raise ReadError(str(error)) from error
        parts = [
            Part(section.title, section.text, [self._plot(graph, found, values) for graph, found in graphs])
            for section, graphs in zip(self._sections, wanted, strict=True)
        ]
        left_out = len(names) - len(shown)
        return Page(self._source, now.timestamp(), self.period, times, names, left_out, chosen, parts)

    def _listed(self, recent: bool) -> set[tuple[str, Dimensions]]:
        """Return name and dimensions of the mesh's metrics that have one dimension."""
        found: set[tuple[str, Dimensions]] = set()
        looked_at = 0
        window = {"RecentlyActive": "PT3H"} if recent else {}
        for page in self._client.get_paginator("list_metrics").paginate(Namespace=self._mesh, **window):  # type: ignore[arg-type]
            for metric in page["Metrics"]:
                dimensions = tuple((each["Name"], each["Value"]) for each in metric.get("Dimensions", []))
                if len(dimensions) == 1:
                    found.add((metric["MetricName"], dimensions))
            looked_at += len(page["Metrics"])
            if looked_at >= MAX_LISTED:
                break
        return found

    def _wanted(
        self, graph: Graph, chosen: str, shown: list[str], listed: set[tuple[str, Dimensions]]
    ) -> Iterator[_Wanted]:
        for line in graph.lines:
            metric = self._metric(line, chosen)
            if metric is None:
                continue
            if metric.namespace != self._mesh or not metric.dimensions or (metric.name, metric.dimensions) in listed:
                yield _Wanted(line.label or line.name, "", metric)
        for search in graph.searches:
            suffix = _suffix(graph, search.name, search.statistic)
            for name in shown:
                dimensions = ((search.dimension, name),)
                if (search.name, dimensions) in listed:
                    yield _Wanted(name + suffix, name, Metric(self._mesh, search.name, dimensions, search.statistic))

    def _metric(self, line: Line, chosen: str) -> Metric | None:
        """Return the metric of a line, None if it is of a resource of the template whose name is not known."""
        dimensions = []
        for key, value in line.dimensions.items():
            found = {name: self._references.get(name) for name in _REFERENCE.findall(value)}
            if None in found.values():
                return None
            resolved = _REFERENCE.sub(lambda match, found=found: found[match[1]] or "", value)  # type: ignore[misc]
            dimensions.append((key, chosen if resolved == SERVICE else resolved))
        namespace = self._mesh if line.namespace == MESH else line.namespace
        return Metric(namespace, line.name, tuple(dimensions), line.statistic)

    def _values(self, metrics: list[Metric], times: list[int]) -> dict[Metric, Values]:
        values: dict[Metric, Values] = {metric: [None] * len(times) for metric in metrics}
        places = {time: place for place, time in enumerate(times)}
        start = datetime.fromtimestamp(times[0], UTC)
        end = datetime.fromtimestamp(times[-1] + self.period, UTC)
        pages = self._client.get_paginator("get_metric_data")
        for first in range(0, len(metrics), QUERIES_PER_CALL):
            batch = metrics[first : first + QUERIES_PER_CALL]
            queries = [self._query(f"m{number}", metric) for number, metric in enumerate(batch)]
            for page in pages.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end):
                for result in page["MetricDataResults"]:
                    row = values[batch[int(result["Id"][1:])]]
                    for time, value in zip(result["Timestamps"], result["Values"], strict=True):
                        place = places.get(int(time.timestamp()))
                        if place is not None:
                            row[place] = value
        return values

    def _query(self, id: str, metric: Metric) -> MetricDataQueryTypeDef:
        return {
            "Id": id,
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in metric.dimensions],
                },
                "Period": self.period,
                "Stat": metric.statistic,
            },
        }

    def _plot(self, graph: Graph, wanted: list[_Wanted], values: Mapping[Metric, Values]) -> Plot:
        series = []
        for each in wanted:
            found = values[each.metric]
            if any(value is not None for value in found):
                if each.metric.namespace == self._mesh and each.metric.statistic == "Sum":
                    found = [value or 0.0 for value in found]
                series.append(Series(each.label, each.service, each.metric.statistic, found))
        highest = sorted(series, key=lambda each: max(value or 0.0 for value in each.values), reverse=True)
        kept = [each for each in series if each in highest[:MAX_SERIES]]
        return Plot(graph.title, graph.unit, kept, len(series) - len(kept), "" if kept else self._why_empty(graph))

    def _why_empty(self, graph: Graph) -> str:
        if graph.lines and all(self._metric(line, "") is None for line in graph.lines):
            return "Of the stack's own resources; known with --stack NAME"
        return "Nothing in this time"


def _suffix(graph: Graph, name: str, statistic: str) -> str:
    """Return what tells a search's lines from those of the graph's other searches."""
    if len({each.name for each in graph.searches}) > 1:
        return " " + name.removeprefix("ResponseFlag_").removesuffix("_Count")
    return f" {statistic}" if len(graph.searches) > 1 else ""
