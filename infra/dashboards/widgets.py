"""The widgets of a CloudWatch dashboard as plain values.

Rules, from "Dashboard Body Structure and Syntax" and "Using search expressions" of the CloudWatch documentation:
- A dashboard is 24 columns wide. `place` fills rows from the left; a row is as high as its highest widget.
- Strings go through CloudFormation's `Fn::Sub`: `${Name}` is a parameter or resource of the template, and what
  CloudWatch itself shall replace is written `${!...}`.
- The services of a mesh are not known when the stack is made. Their metrics are found by search expressions,
  which give one line per value of a dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

COLUMNS: Final = 24
PERIOD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Widget:
    """One widget: its CloudWatch type and properties, its width in columns and its height in rows."""

    kind: str
    properties: Mapping[str, Any]
    width: int
    height: int = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a graph: a metric with exactly these dimensions, and how its values are summed up."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Sum"
    label: str = ""


def text(markdown: str, height: int = 2) -> Widget:
    """Return a text over the whole width."""
    return Widget("text", {"markdown": markdown, "background": "transparent"}, COLUMNS, height)


def search(title: str, namespace: str, dimension: str, metrics: Iterable[tuple[str, str]], width: int) -> Widget:
    """Return a graph with one line per metric and value of a dimension; `metrics` are (name, statistic)."""
    lines = []
    metrics = tuple(metrics)
    for place, (name, statistic) in enumerate(metrics, start=1):
        query = f'{{{namespace},{dimension}}} MetricName="{name}"'
        label = f"${{!PROP('Dim.{dimension}')}}" + (f" {name} {statistic}" if len(metrics) > 1 else "")
        expression = f"SEARCH('{query}', '{statistic}', {PERIOD_SECONDS})"
        lines.append([{"expression": expression, "id": f"search{place}", "label": label}])
    return _graph(title, lines, width)


def graph(title: str, lines: Iterable[Line], width: int) -> Widget:
    """Return a graph of metrics that are known by name."""
    return _graph(
        title,
        [
            [
                line.namespace,
                line.name,
                *(part for pair in line.dimensions.items() for part in pair),
                {"stat": line.statistic, "label": line.label or line.name},
            ]
            for line in lines
        ],
        width,
    )


def _graph(title: str, metrics: list[list[Any]], width: int) -> Widget:
    properties = {
        "title": title,
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": PERIOD_SECONDS,
        "metrics": metrics,
    }
    return Widget("metric", properties, width)


def place(widgets: Iterable[Widget]) -> list[dict[str, Any]]:
    """Return the widgets of the dashboard's body, each with its place."""
    placed = []
    x = y = row_height = 0
    for widget in widgets:
        if x + widget.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        placed.append(
            {
                "type": widget.kind,
                "x": x,
                "y": y,
                "width": widget.width,
                "height": widget.height,
                "properties": dict(widget.properties),
            }
        )
        x += widget.width
        row_height = max(row_height, widget.height)
    return placed
