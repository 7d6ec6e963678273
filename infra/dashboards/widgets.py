"""The dashboard as plain values, and their form as CloudWatch's dashboard body.

Rules, from "Dashboard Body Structure and Syntax" and "Using search expressions" of the CloudWatch documentation:
- A dashboard is sections of graphs. It is 24 columns wide; `place` fills rows from the left, and a row is as high as
  its highest widget.
- Strings go through CloudFormation's `Fn::Sub`: `${Name}` is a parameter or resource of the template, and what
  CloudWatch itself shall replace is written `${!...}`.
- The services of a mesh are not known when the stack is made. Their metrics are found by search expressions,
  which give one line per value of a dimension.
- Graphs of one service name it `SERVICE`; CloudWatch puts the one that is chosen there, and so does `tramo console`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

COLUMNS: Final = 24
GRAPH_WIDTH: Final = 8
GRAPH_HEIGHT: Final = 6
TEXT_HEIGHT: Final = 2
PERIOD_SECONDS: Final = 60
SECTIONS: Final = Path(__file__).with_name("sections.json")
"""The whole dashboard as `make dashboard` wrote it, for who has not the functions' code."""
MESH: Final = "${Mesh}"
"""CloudWatch's namespace of the mesh's own metrics: the template's parameter, or who reads puts the name there."""
SERVICE: Final = "TRAMO_SERVICE"
"""Discovery names have no capitals, so no service is called so, and nothing else in the body is."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a graph: a metric with exactly these dimensions, and how its values are summed up."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Sum"
    label: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """Lines of a graph: one for each value of this dimension that the metric has."""

    namespace: str
    dimension: str
    name: str
    statistic: str = "Sum"


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph over time. `unit` stands at its axis: empty for plain numbers, else `ms`, `s`, `%` or `bytes`."""

    title: str
    lines: tuple[Line, ...] = ()
    searches: tuple[Search, ...] = ()
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Graphs that belong together, under a heading and a sentence of Markdown."""

    title: str
    text: str
    graphs: tuple[Graph, ...]


@dataclass(frozen=True, slots=True)
class Widget:
    """One widget: its CloudWatch type and properties, its width in columns and its height in rows."""

    kind: str
    properties: Mapping[str, Any]
    width: int
    height: int


def search(title: str, namespace: str, dimension: str, metrics: Iterable[tuple[str, str]], unit: str = "") -> Graph:
    """Return a graph with one line per metric and value of a dimension; `metrics` are (name, statistic)."""
    return Graph(title, (), tuple(Search(namespace, dimension, name, each) for name, each in metrics), unit)


def heading(section: Section) -> Widget:
    """Return a section's title and text, over the whole width."""
    markdown = f"## {section.title}\n{section.text}"
    return Widget("text", {"markdown": markdown, "background": "transparent"}, COLUMNS, TEXT_HEIGHT)


def widget(graph: Graph) -> Widget:
    """Return a graph as CloudWatch draws it."""
    metrics: list[list[Any]] = [
        [
            line.namespace,
            line.name,
            *(part for pair in line.dimensions.items() for part in pair),
            {"stat": line.statistic, "label": line.label or line.name},
        ]
        for line in graph.lines
    ]
    for place, each in enumerate(graph.searches, start=1):
        query = f'{{"{each.namespace}",{each.dimension}}} MetricName="{each.name}"'
        suffix = f" {each.name} {each.statistic}" if len(graph.searches) > 1 else ""
        expression = f"SEARCH('{query}', '{each.statistic}', {PERIOD_SECONDS})"
        label = f"${{!PROP('Dim.{each.dimension}')}}{suffix}"
        metrics.append([{"expression": expression, "id": f"search{place}", "label": label}])
    axis = {"min": 0, "showUnits": False, **({"label": graph.unit} if graph.unit else {})}
    properties = {
        "title": graph.title,
        "region": "${AWS::Region}",
        "view": "timeSeries",
        "period": PERIOD_SECONDS,
        "yAxis": {"left": axis},
        "metrics": metrics,
    }
    return Widget("metric", properties, GRAPH_WIDTH, GRAPH_HEIGHT)


def place(widgets: Iterable[Widget]) -> list[dict[str, Any]]:
    """Return the widgets of the dashboard's body, each with its place."""
    placed = []
    x = y = row_height = 0
    for each in widgets:
        if x + each.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        placed.append(
            {
                "type": each.kind,
                "x": x,
                "y": y,
                "width": each.width,
                "height": each.height,
                "properties": dict(each.properties),
            }
        )
        x += each.width
        row_height = max(row_height, each.height)
    return placed
