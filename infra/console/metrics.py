"""What the console asks of CloudWatch: which metrics there are, and their values.

Rules:
- Only metrics that exist are asked for, since GetMetricData is billed by the metric.
- A list of metrics is kept for `LIST_SECONDS`: of a large mesh it takes a hundred calls, and CloudWatch itself lists a
  new metric only after minutes.
- A call asks for 500 metrics, which is CloudWatch's limit, and `PARALLEL_CALLS` are under way at a time.
- What is missing stays missing (None). What a missing value means, the caller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from infra.client.stack import DEFAULT_MESH
from infra.dashboards.widgets import MESH

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

RECENT: Final = timedelta(hours=3)  # the one window that ListMetrics offers
QUERIES_PER_CALL: Final = 500  # GetMetricData's limit
PARALLEL_CALLS: Final = 5
"""GetMetricData allows 50 calls a second for the whole account; others want some of them."""
MAX_LISTED: Final = 200_000
"""Metrics of the namespace that are looked at: those of about 3,000 services with three callers each."""
LIST_SECONDS: Final = 300.0
DOLLARS_PER_METRIC: Final = 0.01 / 1000  # GetMetricData

Dimensions = tuple[tuple[str, str], ...]
Values = list[float | None]


class ReadError(Exception):
    """CloudWatch could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric with one statistic; the namespace `MESH` stands for the one of the mesh that is read."""

    namespace: str
    name: str
    dimensions: Dimensions
    statistic: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The mesh's metrics, each by name and dimensions in the order of the dimensions' names."""

    metrics: frozenset[tuple[str, Dimensions]]
    whole: bool
    """False if there are more than `MAX_LISTED`."""

    def has(self, metric: Metric) -> bool:
        """Return whether a metric exists."""
        return (metric.name, tuple(sorted(metric.dimensions))) in self.metrics


@dataclass(frozen=True, slots=True)
class Times:
    """Beginnings of the periods of a window, in seconds since 1970, oldest first."""

    period: int
    starts: tuple[int, ...]

    @classmethod
    def until(cls, now: float, window: timedelta, period: int) -> Times:
        """Return the periods of a window that are over: half a minute looks like half the traffic."""
        end = int(now) // period * period
        return cls(period, tuple(range(end - int(window.total_seconds()), end, period)))

    def last(self, count: int) -> Times:
        """Return the last periods."""
        return Times(self.period, self.starts[-count:])


class MetricReader:
    """Reads the metrics of one CloudWatch; `calls` and `asked` count the calls of GetMetricData and their metrics."""

    def __init__(
        self,
        client: CloudWatchClient,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        mesh: str = DEFAULT_MESH,
    ) -> None:
        """`mesh` is the CloudWatch namespace of the mesh's own metrics."""
        self.mesh = mesh
        self._client = client
        self._clock = clock
        self._lists: dict[bool, tuple[float, Listed]] = {}
        self.calls = 0
        self.asked = 0

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return self._clock().timestamp()

    def listed(self, window: timedelta) -> Listed:
        """Return the mesh's metrics that had values in a window. Raises ReadError."""
        recent = window <= RECENT
        kept = self._lists.get(recent)
        now = self.now()
        if kept is not None and kept[1].metrics and now - kept[0] < LIST_SECONDS:
            return kept[1]
        try:
            found = self._list(recent)
        except (BotoCoreError, ClientError) as error:
            raise ReadError(str(error)) from error
        self._lists[recent] = (now, found)
        return found

    def _list(self, recent: bool) -> Listed:
        found: set[tuple[str, Dimensions]] = set()
        window = {"RecentlyActive": "PT3H"} if recent else {}
        for page in self._client.get_paginator("list_metrics").paginate(Namespace=self.mesh, **window):  # type: ignore[arg-type]
            for metric in page["Metrics"]:
                dimensions = sorted((each["Name"], each["Value"]) for each in metric.get("Dimensions", []))
                found.add((metric["MetricName"], tuple(dimensions)))
            if len(found) >= MAX_LISTED:
                return Listed(frozenset(found), whole=False)
        return Listed(frozenset(found), whole=True)

    def values(self, metrics: Sequence[Metric], times: Times) -> dict[Metric, Values]:
        """Return a value for each period and metric. Raises ReadError."""
        wanted = list(dict.fromkeys(metrics))
        batches = [wanted[first : first + QUERIES_PER_CALL] for first in range(0, len(wanted), QUERIES_PER_CALL)]
        values: dict[Metric, Values] = {}
        if not batches or not times.starts:
            return {metric: [None] * len(times.starts) for metric in wanted}
        try:
            with ThreadPoolExecutor(min(PARALLEL_CALLS, len(batches))) as threads:
                for found in threads.map(lambda batch: self._batch(batch, times), batches):
                    values.update(found)
        except (BotoCoreError, ClientError) as error:
            raise ReadError(str(error)) from error
        self.calls += len(batches)
        self.asked += len(wanted)
        return values

    def _batch(self, metrics: Sequence[Metric], times: Times) -> dict[Metric, Values]:
        values: dict[Metric, Values] = {metric: [None] * len(times.starts) for metric in metrics}
        places = {time: place for place, time in enumerate(times.starts)}
        queries = [_query(f"m{number}", metric, times.period, self.mesh) for number, metric in enumerate(metrics)]
        start = datetime.fromtimestamp(times.starts[0], UTC)
        end = datetime.fromtimestamp(times.starts[-1] + times.period, UTC)
        pages = self._client.get_paginator("get_metric_data")
        for page in pages.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end):
            for result in page["MetricDataResults"]:
                row = values[metrics[int(result["Id"][1:])]]
                for time, value in zip(result["Timestamps"], result["Values"], strict=True):
                    place = places.get(int(time.timestamp()))
                    if place is not None:
                        row[place] = value
        return values


def _query(id: str, metric: Metric, period: int, mesh: str) -> MetricDataQueryTypeDef:
    return {
        "Id": id,
        "MetricStat": {
            "Metric": {
                "Namespace": mesh if metric.namespace == MESH else metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in metric.dimensions],
            },
            "Period": period,
            "Stat": metric.statistic,
        },
    }
