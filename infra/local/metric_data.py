"""GetMetricData and ListMetrics of the local CloudWatch, over the values that moto keeps.

moto's own know no percentiles, take a query without dimensions for one of all dimensions, and look through every
value once for each minute of each query, while all other requests wait. These look once. Queries with expressions
are left to moto.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from moto.cloudwatch.models import MetricDatum

_TARGET: Final = "GraniteServiceVersion20100801."
_JSON: Final = "application/x-amz-json-1.0"

_Key = tuple[str, str, tuple[tuple[str, str], ...]]
_Environ = dict[str, Any]
_StartResponse = Callable[..., Any]


class MetricQueries:
    """A WSGI application that answers the two calls itself and passes everything else on."""

    def __init__(
        self,
        application: Callable[[_Environ, _StartResponse], Iterable[bytes]],
        values: Callable[[], Sequence[object]],
    ) -> None:
        self._application = application
        self._values = values

    def __call__(self, environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
        if target not in (f"{_TARGET}GetMetricData", f"{_TARGET}ListMetrics"):
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        request = json.loads(body)
        data = [value for value in self._values() if isinstance(value, MetricDatum)]
        if target.endswith("ListMetrics"):
            answer = list_metrics(request, data)
        elif all("MetricStat" in query for query in request["MetricDataQueries"]):
            answer = metric_data(request, data)
        else:
            return self._application({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
        start_response("200 OK", [("Content-Type", _JSON)])
        return [json.dumps(answer).encode()]


def metric_data(request: Mapping[str, Any], data: Iterable[MetricDatum]) -> dict[str, Any]:
    """Return the answer of GetMetricData; times are seconds since 1970, the first period begins at StartTime."""
    begin, end = float(request["StartTime"]), float(request["EndTime"])
    queries = request["MetricDataQueries"]
    wanted: dict[_Key, dict[int, dict[float, list[float]]]] = {}
    for query in queries:
        wanted.setdefault(_wanted(query), {})[int(query["MetricStat"]["Period"])] = {}
    names = {key[1] for key in wanted}
    for datum in data:
        if datum.name not in names or (periods := wanted.get(_key(datum))) is None:
            continue
        at = datum.timestamp.replace(tzinfo=datum.timestamp.tzinfo or UTC).timestamp()  # without one it is UTC
        if begin <= at < end:
            for period, buckets in periods.items():
                buckets.setdefault(begin + (at - begin) // period * period, []).append(datum.value)
    ascending = request.get("ScanBy") == "TimestampAscending"
    results = []
    for query in queries:
        stat = query["MetricStat"]
        buckets = wanted[_wanted(query)][int(stat["Period"])]
        times = sorted(buckets, reverse=not ascending)
        results.append(
            {
                "Id": query["Id"],
                "Label": query.get("Label") or stat["Metric"]["MetricName"],
                "Timestamps": times,
                "Values": [statistic(stat["Stat"], buckets[time]) for time in times],
                "StatusCode": "Complete",
            }
        )
    return {"MetricDataResults": results, "Messages": []}


def list_metrics(request: Mapping[str, Any], data: Iterable[MetricDatum]) -> dict[str, Any]:
    """Return the answer of ListMetrics, all on one page."""
    filters = [(each["Name"], each.get("Value")) for each in request.get("Dimensions", [])]
    found = []
    for namespace, name, dimensions in sorted({_key(datum) for datum in data}):
        values = dict(dimensions)
        if (
            request.get("Namespace", namespace) == namespace
            and request.get("MetricName", name) == name
            and all(key in values and value in (None, values[key]) for key, value in filters)
        ):
            listed = [{"Name": key, "Value": value} for key, value in dimensions]
            found.append({"Namespace": namespace, "MetricName": name, "Dimensions": listed})
    return {"Metrics": found}


def statistic(name: str, values: list[float]) -> float:
    """Return a statistic of some values, such as `Sum` or `p99.9`. Raises ValueError for one that is unknown."""
    match name:
        case "Sum":
            return math.fsum(values)
        case "Average":
            return math.fsum(values) / len(values)
        case "Minimum":
            return min(values)
        case "Maximum":
            return max(values)
        case "SampleCount":
            return float(len(values))
    if not name.startswith("p"):
        raise ValueError(f"the local CloudWatch has no statistic {name!r}")
    rank = math.ceil(float(name[1:]) / 100.0 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def _wanted(query: Mapping[str, Any]) -> _Key:
    metric = query["MetricStat"]["Metric"]
    dimensions = sorted((each["Name"], each["Value"]) for each in metric.get("Dimensions", []))
    return metric["Namespace"], metric["MetricName"], tuple(dimensions)


def _key(datum: MetricDatum) -> _Key:
    return datum.namespace, datum.name, tuple(sorted((str(each.name), str(each.value)) for each in datum.dimensions))
