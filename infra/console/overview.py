"""All services and who calls whom, read from the metrics and joined with what the registry knows.

Rules:
- Every service is a row, however many there are; what belongs on one screen, the page decides.
- "Now" is the last period of which anything is known, the same one for all, so that rows can be compared.
- Edges are read for the last periods only: they are drawn as they are now, and a mesh has more of them than services.
- A large mesh is read less often: at most `METRICS_PER_PERIOD` metrics a period on average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import Any, Final

from infra.console.mesh import (
    FAILURE_FLAGS,
    Edge,
    Sample,
    State,
    failing_since,
    judge,
    latest,
    probable_roots,
)
from infra.console.metrics import Dimensions, Listed, Metric, MetricReader, Times, Values
from infra.dashboards.widgets import MESH
from sidecar.core.metrics import CLIENT_KEY, SERVER_KEY

METRICS_PER_PERIOD: Final = 5_000
"""Five cents a minute in AWS, whatever the size of the mesh."""
EDGE_PERIODS: Final = 5
SPARK_POINTS: Final = 30
CODES: Final = tuple(f"HTTPCode_Target_{digit}XX_Count" for digit in (2, 3, 4, 5))
FLAGS: Final = tuple(f"ResponseFlag_{code}_Count" for code in FAILURE_FLAGS)
_RESPONSE_TIME: Final = "TargetResponseTime"
_PER_TARGET: Final = "RequestCountPerTarget"
_SERVER: Final = (("NewConnectionCount", "Sum"), ("ActiveConnectionCount", "Sum"), ("RequestCount", "Sum"))
_CLIENT: Final = (
    *((name, "Sum") for name in (*CODES, *FLAGS, "Retries")),
    *((_RESPONSE_TIME, each) for each in ("p50", "p95", "p99")),
    ("HealthyEndpoints", "Minimum"),
    ("EjectedEndpoints", "Maximum"),
    ("UnhealthyEndpoints", "Maximum"),
)
_EDGE: Final = (
    *((name, "Sum") for name in (*CODES, *FLAGS, _PER_TARGET)),
    (_RESPONSE_TIME, "p95"),
    ("HealthyEndpoints", "Maximum"),
    ("ZoneLocalShare", "Average"),
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A service as the registry lists it."""

    namespace: str
    name: str
    protocol: str
    ready: int
    endpoints: int


@dataclass(frozen=True, slots=True)
class Row:
    """A service: how it is now, and how it was in the window. Rates are a second, shares between 0 and 1."""

    name: str
    namespaces: list[str]
    protocol: str
    state: State
    reason: str
    since: int | None
    rate: float | None
    window_rate: float
    success: float | None
    window_success: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    retries: float
    healthy: float | None
    ejected: float
    unhealthy: float
    ready: int | None
    endpoints: int | None
    calls: Values = field(default_factory=list)
    failed: Values = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Overview:
    """All services and edges. `now` is the place in `times` that rows and edges speak of."""

    source: str
    read_at: float
    period: int
    times: list[int]
    now: int
    next_read: int
    """Seconds until it is read again."""
    metrics: int
    whole: bool
    services: list[Row]
    callers: list[str]
    """Sources of edges that offer no service: ECS services by their own names."""
    edges: list[Edge]
    roots: list[str]
    registry_error: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)


def read(
    reader: MetricReader,
    source: str,
    window: timedelta,
    period: int,
    registered: Sequence[Registered] = (),
) -> Overview:
    """Return the mesh as it is. Raises ReadError."""
    read_at = reader.now()
    times = Times.until(read_at, window, period)
    listed = reader.listed(window)
    asked = reader.asked
    services = _service_metrics(listed)
    values = reader.values([metric for found in services.values() for metric in found.values()], times)
    rows = {name: {key: values[metric] for key, metric in found.items()} for name, found in services.items()}
    now = latest((row for found in rows.values() for row in found.values()), len(times.starts))
    edges = _edges(reader, listed, Times(period, times.starts[: now + 1]).last(EDGE_PERIODS))
    known: dict[str, list[Registered]] = {}
    for each in registered:
        known.setdefault(each.name, []).append(each)
    shown = [_row(name, rows.get(name, {}), known.get(name, []), times, now) for name in sorted({*rows, *known})]
    failing = {each.name: (each.rate or 0.0) * (1 - (each.success or 0.0)) for each in shown if _fails(each)}
    metrics = reader.asked - asked
    return Overview(
        source=source,
        read_at=read_at,
        period=period,
        times=list(times.starts),
        now=now,
        next_read=period * max(ceil(metrics / METRICS_PER_PERIOD), 1),
        metrics=metrics,
        whole=listed.whole,
        services=shown,
        callers=sorted({edge.source for edge in edges} - {each.name for each in shown}),
        edges=edges,
        roots=probable_roots(failing, edges),
    )


def _fails(row: Row) -> bool:
    return row.state is State.FAILING


_Key = tuple[str, str]


def _service_metrics(listed: Listed) -> dict[str, dict[_Key, Metric]]:
    """Return the metrics of each service that exist, by name and statistic."""
    wanted: dict[str, list[_Key]] = {}
    for key, pairs in ((SERVER_KEY, _SERVER), (CLIENT_KEY, _CLIENT)):
        for name, statistic in pairs:
            wanted.setdefault(f"{key} {name}", []).append((name, statistic))
    found: dict[str, dict[_Key, Metric]] = {}
    for name, dimensions in listed.metrics:
        if len(dimensions) != 1:
            continue
        ((key, service),) = dimensions
        if key in (SERVER_KEY, CLIENT_KEY):
            of = found.setdefault(service, {})
            for pair in wanted.get(f"{key} {name}", ()):
                of[pair] = Metric(MESH, name, dimensions, pair[1])
    return found


def _row(name: str, rows: Mapping[_Key, Values], known: Sequence[Registered], times: Times, now: int) -> Row:
    protocol = known[0].protocol if known else "tcp" if _is_tcp(rows) else "http"
    samples = [_sample(rows, place, protocol == "tcp") for place in range(len(times.starts))]
    sample = samples[now] if samples else None
    verdict = judge(sample)
    first = failing_since(samples, now) if samples else None
    spoken = [each for each in samples if each is not None]
    calls, failed = sum(each.calls for each in spoken), sum(each.failed for each in spoken)
    seen = sum(each.calls for each in spoken if each.is_seen)
    seconds = max(len(times.starts) * times.period, 1)
    last = {statistic: _at(rows, (_RESPONSE_TIME, statistic), now) for statistic in ("p50", "p95", "p99")}
    return Row(
        name=name,
        namespaces=sorted(each.namespace for each in known),
        protocol=protocol,
        state=verdict.state,
        reason=verdict.reason,
        since=None if first is None else times.starts[first],
        rate=None if sample is None else sample.calls / times.period,
        window_rate=calls / seconds,
        success=_share(sample),
        window_success=(seen - failed) / seen if seen else None,
        p50=last["p50"],
        p95=last["p95"],
        p99=last["p99"],
        retries=0.0 if sample is None else sample.retries / times.period,
        healthy=None if sample is None else sample.healthy,
        ejected=0.0 if sample is None else sample.ejected,
        unhealthy=0.0 if sample is None else sample.unhealthy,
        ready=sum(each.ready for each in known) if known else None,
        endpoints=sum(each.endpoints for each in known) if known else None,
        calls=_spark([None if each is None else each.calls / times.period for each in samples]),
        failed=_spark([None if each is None else each.failed / times.period for each in samples]),
    )


def _share(sample: Sample | None) -> float | None:
    if sample is None or not sample.is_seen or not sample.calls:
        return None
    return (sample.calls - sample.failed) / sample.calls


def _is_tcp(rows: Mapping[_Key, Values]) -> bool:
    return not any((name, "Sum") in rows for name in (*CODES, "RequestCount"))


def _at(rows: Mapping[_Key, Values], key: _Key, place: int) -> float | None:
    values = rows.get(key)
    return None if values is None or not values else values[place]


def _sum(rows: Mapping[_Key, Values], names: Iterable[str], place: int) -> float:
    return sum(_at(rows, (name, "Sum"), place) or 0.0 for name in names)


def _sample(rows: Mapping[_Key, Values], place: int, tcp: bool) -> Sample | None:
    """Return what is known of a service in one period: None if nobody sent anything of it."""
    if all(values[place] is None for values in rows.values()):
        return None
    cut = _sum(rows, FLAGS, place)
    failed = cut + _sum(rows, CODES[3:], place)
    # An inbound proxy counts each connection; what never reached one is known by its flag only.
    calls = _sum(rows, ("NewConnectionCount",) if tcp else CODES, place) + cut
    is_seen = bool(calls)
    if not is_seen:
        calls = _sum(rows, ("RequestCount",), place)
    return Sample(
        calls=calls,
        is_seen=is_seen,
        failed=min(failed, calls),
        retries=_sum(rows, ("Retries",), place),
        open=_sum(rows, ("ActiveConnectionCount",), place) if tcp else 0.0,
        healthy=_at(rows, ("HealthyEndpoints", "Minimum"), place),
        ejected=_at(rows, ("EjectedEndpoints", "Maximum"), place) or 0.0,
        unhealthy=_at(rows, ("UnhealthyEndpoints", "Maximum"), place) or 0.0,
    )


def _spark(values: Values) -> Values:
    """Return means of a few periods each; where nothing is known there is a gap."""
    size = max(ceil(len(values) / SPARK_POINTS), 1)
    means: Values = []
    for first in range(0, len(values), size):
        known = [value for value in values[first : first + size] if value is not None]
        means.append(round(sum(known) / len(known), 3) if known else None)
    return means


_Pair = tuple[str, str]


def _edges(reader: MetricReader, listed: Listed, times: Times) -> list[Edge]:
    """Return who calls whom in the last period of these of which anything is known."""
    names: dict[Dimensions, list[str]] = {}  # of ECS services: what they offer
    found: dict[tuple[Dimensions, str], dict[_Key, Metric]] = {}
    statistics: dict[str, list[str]] = {}
    for name, statistic in _EDGE:
        statistics.setdefault(name, []).append(statistic)
    for name, dimensions in listed.metrics:
        if len(dimensions) != 3:
            continue
        values = dict(dimensions)
        caller: Dimensions = (
            ("ClusterName", values.get("ClusterName", "")),
            ("ServiceName", values.get("ServiceName", "")),
        )
        if SERVER_KEY in values and name == "NewConnectionCount":
            names.setdefault(caller, []).append(values[SERVER_KEY])
        elif CLIENT_KEY in values and name in statistics:
            of = found.setdefault((caller, values[CLIENT_KEY]), {})
            for statistic in statistics[name]:
                of[name, statistic] = Metric(MESH, name, dimensions, statistic)
    asked = [metric for metrics in found.values() for metric in metrics.values()]
    values_of = reader.values(asked, times)
    sums: dict[_Pair, Edge] = {}
    for (caller, target), metrics in found.items():
        rows = {key: values_of[metric] for key, metric in metrics.items()}
        if not any(value is not None for row in rows.values() for value in row):
            continue
        place = latest(rows.values(), len(times.starts))
        for source in sorted(names.get(caller, [dict(caller)["ServiceName"]])):
            if source != target:
                edge = _edge(source, target, rows, place, times.period)
                sums[source, target] = _added(sums.get((source, target)), edge)
    return [sums[pair] for pair in sorted(sums)]


def _edge(source: str, target: str, rows: Mapping[_Key, Values], place: int, period: int) -> Edge:
    cut = _sum(rows, FLAGS, place)
    answered = _sum(rows, CODES, place)
    if not answered and not _is_http(rows):
        targets = _at(rows, ("HealthyEndpoints", "Maximum"), place) or 1.0
        answered = max((_at(rows, (_PER_TARGET, "Sum"), place) or 0.0) * targets - cut, 0.0)
    return Edge(
        source,
        target,
        rate=(answered + cut) / period,
        failed=(cut + _sum(rows, CODES[3:], place)) / period,
        p95=_at(rows, (_RESPONSE_TIME, "p95"), place),
        zone_local=_at(rows, ("ZoneLocalShare", "Average"), place),
    )


def _is_http(rows: Mapping[_Key, Values]) -> bool:
    return any((name, "Sum") in rows for name in CODES)


def _added(known: Edge | None, more: Edge) -> Edge:
    """Return the edge of two ECS services that offer the same service: the slower one's time."""
    if known is None:
        return more
    slower = max((each for each in (known.p95, more.p95) if each is not None), default=None)
    return Edge(known.source, known.target, known.rate + more.rate, known.failed + more.failed, slower, None)
