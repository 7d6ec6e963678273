"""A CloudWatch in memory that knows the calls of the console, with AWS's limits; for meshes of a thousand services."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

LISTED_PER_PAGE: Final = 500
QUERIES_PER_CALL: Final = 500
VALUES_PER_PAGE: Final = 100_800

Dimensions = tuple[tuple[str, str], ...]
_Key = tuple[str, Dimensions]


class FakeCloudWatch:
    """Holds data as `datum` makes them; `error` is raised by each call while it is set."""

    def __init__(self, data: Iterable[dict[str, Any]]) -> None:
        self.error: Exception | None = None
        self.calls: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._kept: dict[_Key, dict[float, list[tuple[float, float]]]] = {}
        for each in data:
            key = (each["MetricName"], tuple(sorted((one["Name"], one["Value"]) for one in each["Dimensions"])))
            values = self._kept.setdefault(key, {}).setdefault(each["Timestamp"].timestamp(), [])
            values.extend(zip(each["Values"], each["Counts"], strict=True))

    def get_paginator(self, name: str) -> FakePaginator:
        """Return one of the two paginators."""
        return FakePaginator(self, name)

    def list_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the pages of the metrics that there are."""
        listed = [
            {"MetricName": name, "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions]}
            for name, dimensions in self._kept
        ]
        for first in range(0, max(len(listed), 1), LISTED_PER_PAGE):
            self._called("list_metrics")
            yield {"Metrics": listed[first : first + LISTED_PER_PAGE]}

    def get_metric_data(
        self, queries: Sequence[dict[str, Any]], start: datetime, end: datetime
    ) -> Iterator[dict[str, Any]]:
        """Yield the pages of the values of some metrics, newest first."""
        if len(queries) > QUERIES_PER_CALL:
            raise AssertionError(f"{len(queries)} queries in one call")
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        page: list[dict[str, Any]] = []
        count = 0
        for query in queries:
            found = self._values(query["MetricStat"], start.timestamp(), end.timestamp())
            times = sorted(found, reverse=True)
            if count + len(times) > VALUES_PER_PAGE:
                self._called("get_metric_data")
                yield {"MetricDataResults": page}
                page, count = [], 0
            count += len(times)
            page.append(
                {
                    "Id": query["Id"],
                    "Timestamps": [datetime.fromtimestamp(time, UTC) for time in times],
                    "Values": [found[time] for time in times],
                }
            )
        self._called("get_metric_data")
        yield {"MetricDataResults": page}
        with self._lock:
            self._at_once -= 1

    def _called(self, name: str) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(name)

    def _values(self, stat: dict[str, Any], start: float, end: float) -> dict[float, float]:
        metric, period = stat["Metric"], stat["Period"]
        key = (metric["MetricName"], tuple(sorted((one["Name"], one["Value"]) for one in metric["Dimensions"])))
        periods: dict[float, list[tuple[float, float]]] = {}
        for at, values in self._kept.get(key, {}).items():
            if start <= at < end:
                periods.setdefault(start + (at - start) // period * period, []).extend(values)
        return {at: _statistic(stat["Stat"], values) for at, values in periods.items()}


class FakePaginator:
    """botocore's way to ask for all pages."""

    def __init__(self, cloudwatch: FakeCloudWatch, name: str) -> None:
        self._cloudwatch = cloudwatch
        self._name = name

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages."""
        if self._name == "list_metrics":
            return self._cloudwatch.list_metrics()
        queries = arguments["MetricDataQueries"]
        return self._cloudwatch.get_metric_data(queries, arguments["StartTime"], arguments["EndTime"])


def _statistic(name: str, values: list[tuple[float, float]]) -> float:
    if name == "Sum":
        return sum(value * count for value, count in values)
    if name == "Minimum":
        return min(value for value, _ in values)
    if name == "Maximum":
        return max(value for value, _ in values)
    total = sum(count for _, count in values)
    if name == "Average":
        return sum(value * count for value, count in values) / total
    wanted = ceil(total * float(name.removeprefix("p")) / 100)
    seen = 0.0
    for value, count in sorted(values):
        seen += count
        if seen >= wanted:
            return value
    raise AssertionError(f"no {name} of {values}")
