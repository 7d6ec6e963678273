"""The section of the control plane: the functions, their API, the table and the queue of dead letters."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from infra.dashboards.data_plane import NAMESPACE
from infra.dashboards.widgets import Graph, Line, Section
from registry.metric_names import METRICS, PUBLISH_TIME, SNAPSHOT_ENDPOINTS, SNAPSHOT_SERVICES, Metric

FUNCTIONS: Final = ("Registrar", "Reconciler", "Publisher", "Api")
"""The functions' resources in the template."""
_API: Final = {"ApiName": "${AWS::StackName}", "Stage": "live"}
_DEAD_LETTERS: Final = {"QueueName": "${DeadLetters.QueueName}"}


_APART: Final = (PUBLISH_TIME, SNAPSHOT_SERVICES, SNAPSHOT_ENDPOINTS)
"""Metrics whose sum over a minute says nothing."""


def _line(metric: Metric, statistic: str, label: str) -> Line:
    return Line(NAMESPACE, metric.name, {"service": metric.function}, statistic, label)


def control_plane() -> Section:
    """Return the section."""
    return Section(
        "Control plane",
        "From the ECS event to the snapshot that sidecars read.",
        (
            *(
                Graph(
                    function.capitalize(),
                    tuple(Line(NAMESPACE, each.name, {"service": function}) for each in found if each not in _APART),
                )
                for function, found in groupby(METRICS, key=lambda metric: metric.function)
            ),
            Graph(
                "Time to publish",
                tuple(_line(PUBLISH_TIME, each, each) for each in ("p50", "p99")),
                unit="ms",
            ),
            Graph(
                "Services and endpoints in all snapshots",
                tuple(_line(each, "Maximum", each.name) for each in (SNAPSHOT_SERVICES, SNAPSHOT_ENDPOINTS)),
            ),
            Graph(
                "Function errors and throttles",
                tuple(
                    Line("AWS/Lambda", name, {"FunctionName": f"${{{function}}}"}, label=f"{function} {name}")
                    for name in ("Errors", "Throttles")
                    for function in FUNCTIONS
                ),
            ),
            Graph(
                "Function duration p99",
                tuple(
                    Line("AWS/Lambda", "Duration", {"FunctionName": f"${{{function}}}"}, "p99", function)
                    for function in FUNCTIONS
                ),
                unit="ms",
            ),
            Graph(
                "Age of stream records",
                (Line("AWS/Lambda", "IteratorAge", {"FunctionName": "${Publisher}"}, "Maximum", "Publisher"),),
                unit="ms",
            ),
            Graph(
                "API requests and errors",
                tuple(Line("AWS/ApiGateway", name, _API) for name in ("Count", "4XXError", "5XXError")),
            ),
            Graph(
                "API latency",
                tuple(Line("AWS/ApiGateway", "Latency", _API, each, each) for each in ("p50", "p99")),
                unit="ms",
            ),
            Graph(
                "Registry capacity units",
                tuple(
                    Line("AWS/DynamoDB", name, {"TableName": "${Registry}"})
                    for name in ("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits")
                ),
            ),
            Graph(
                "Dead letters (should be 0)",
                (Line("AWS/SQS", "ApproximateNumberOfMessagesVisible", _DEAD_LETTERS, "Maximum"),),
            ),
        ),
    )
