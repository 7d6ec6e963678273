"""The console's plots: from the dashboard's graphs to series with a value for each period.

Rules:
- Counters are shown a second. What is open at a time is no counter: a sum of it over a longer period is divided by how
  often sidecars send in it.
- Sidecars send no zeros. Where anything was sent about the same thing, a missing sum is zero; where nothing was, there
  is a gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infra.console.metrics import Listed, Metric, MetricReader, Times, Values
from infra.dashboards.widgets import MESH, SERVICE, Graph, Line, Section
from sidecar.core.metrics import COUNTER, METRICS

_REFERENCE: Final = re.compile(r"\$\{([^}]+)\}")
_COUNTERS: Final = frozenset(
    (metric.name, metric.key) for metric in METRICS if metric.kind == COUNTER and metric.unit in ("Count", "Bytes")
)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot."""

    label: str
    values: Values


@dataclass(frozen=True, slots=True)
class Plot:
    """One graph with its series, and why there are none if there are none. `unit` includes `/s` for rates."""

    title: str
    unit: str
    series: list[Series]
    empty: str


@dataclass(frozen=True, slots=True)
class Part:
    """One section with its plots."""

    title: str
    text: str
    plots: list[Plot]


def read(
    reader: MetricReader,
    sections: Sequence[Section],
    times: Times,
    listed: Listed,
    sending: int,
    service: str = "",
    references: Mapping[str, str] | None = None,
) -> list[Part]:
    """Return sections with their values. `sending` is how often sidecars send, in seconds. Raises ReadError.

    `references` are names of the template's resources by what the sections call them, without `${}`.
    """
    known = references or {}
    wanted = [
        [(graph, list(_wanted(graph, service, known, listed))) for graph in section.graphs] for section in sections
    ]
    metrics = [metric for graphs in wanted for _, found in graphs for _, metric in found]
    values = reader.values(metrics, times)
    said = [any(values[metric][place] is not None for metric in values) for place in range(len(times.starts))]
    return [
        Part(
            section.title,
            section.text,
            [_plot(graph, found, values, said, times.period, sending, known) for graph, found in graphs],
        )
        for section, graphs in zip(sections, wanted, strict=True)
    ]


def _wanted(graph: Graph, service: str, references: Mapping[str, str], listed: Listed) -> Iterable[tuple[Line, Metric]]:
    for line in graph.lines:
        metric = _metric(line, service, references)
        if metric is not None and (metric.namespace != MESH or listed.has(metric)):
            yield line, metric


def _metric(line: Line, service: str, references: Mapping[str, str]) -> Metric | None:
    """Return the metric of a line, None if it is of a resource of the template whose name is not known."""
    dimensions = []
    for key, value in line.dimensions.items():
        found = {name: references.get(name) for name in _REFERENCE.findall(value)}
        if None in found.values():
            return None
        resolved = _REFERENCE.sub(lambda match, found=found: found[match[1]] or "", value)  # type: ignore[misc]
        dimensions.append((key, service if resolved == SERVICE else resolved))
    return Metric(line.namespace, line.name, tuple(dimensions), line.statistic)


def _plot(
    graph: Graph,
    wanted: Sequence[tuple[Line, Metric]],
    values: Mapping[Metric, Values],
    said: Sequence[bool],
    period: int,
    sending: int,
    references: Mapping[str, str],
) -> Plot:
    rates = [_is_counter(metric) for _, metric in wanted]
    unit = f"{graph.unit}/s" if rates and all(rates) else graph.unit
    series = []
    for (line, metric), rate in zip(wanted, rates, strict=True):
        found = values[metric]
        if all(value is None for value in found):
            continue
        if metric.namespace == MESH and metric.statistic == "Sum":
            found = [(value or 0.0) if spoken else None for value, spoken in zip(found, said, strict=True)]
            share = period if rate and unit.endswith("/s") else max(period / sending, 1.0) if not rate else 1.0
            found = [None if value is None else value / share for value in found]
        series.append(Series(line.label or line.name, found))
    return Plot(graph.title, unit, series, "" if series else _why_empty(graph, references))


def _is_counter(metric: Metric) -> bool:
    key = metric.dimensions[0][0] if metric.dimensions else ""
    return metric.namespace == MESH and metric.statistic == "Sum" and (metric.name, key) in _COUNTERS


def _why_empty(graph: Graph, references: Mapping[str, str]) -> str:
    if graph.lines and all(_metric(line, "", references) is None for line in graph.lines):
        return "Of the stack's own resources; known with --stack NAME"
    return "Nothing in this time"
