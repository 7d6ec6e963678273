"""The dashboard shows every metric of both planes, and the template holds what the generator makes."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from infra.dashboards import build
from infra.dashboards.widgets import (
    COLUMNS,
    MESH,
    SECTIONS,
    SERVICE,
    Graph,
    Line,
    Section,
    Widget,
    place,
    search,
    widget,
)
from registry.metric_names import METRICS
from sidecar.core.flags import FLAGS
from sidecar.core.meters import Meters
from sidecar.core.metrics import MESH_WIDE
from sidecar.core.metrics import METRICS as SIDECAR_METRICS
from tests.support.control_plane import sam

PSEUDO = {"AWS::Region", "AWS::StackName"}


def template_body() -> str:
    written: str = sam.resources("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]["Fn::Sub"]
    return written


def graphs() -> list[dict[str, Any]]:
    widgets = json.loads(template_body())["widgets"]
    return [each["properties"] for each in widgets if each["type"] == "metric"]


def one_service(properties: dict[str, Any]) -> bool:
    """Say whether this graph is one of the one service that is chosen."""
    return SERVICE in json.dumps(properties)


def metrics(properties_of: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return dimension and metric of every line of these graphs in CloudWatch's namespace of the mesh."""
    found: set[tuple[str, str]] = set()
    for properties in properties_of:
        for line in properties["metrics"]:
            if isinstance(line[0], dict):
                query = re.match(r"SEARCH\('\{\"\$\{Mesh\}\",(\w+)\} MetricName=\"(\w+)\"'", line[0]["expression"])
                assert query is not None, line
                found.add((query[1], query[2]))
            elif line[0] == MESH:
                found.add((line[3] if len(line) > 3 else "", line[1]))
    return found


def sent_by_sidecars() -> set[tuple[str, str]]:
    """Return first dimension and name of all that a sidecar's meters really send."""
    meters = Meters("", "")
    server, client = meters.server("orders"), meters.client("orders")
    for meter in (server, client, meters.sidecar):
        for name in type(meter).__slots__:
            if isinstance(getattr(meter, name), int | float):
                setattr(meter, name, 1)
        for flag in FLAGS:
            meter.count_flags((flag,))
    for status in (200, 301, 404, 503):
        client.answered(status, 0.01)
    return {(datum.dimensions[0][0] if datum.dimensions else "", datum.name) for datum in meters.take()}


def test_the_list_of_metrics_is_what_sidecars_send() -> None:
    listed = {(metric.key, metric.name) for metric in SIDECAR_METRICS}
    assert sent_by_sidecars() == listed | {("", name) for name in MESH_WIDE}


def test_the_template_holds_what_the_generator_makes() -> None:
    assert template_body() == build.body(), "run `make dashboard`"


def test_every_metric_is_shown() -> None:
    functions = {(metric.function, metric.name) for metric in METRICS}
    assert metrics([each for each in graphs() if not one_service(each)]) == functions | sent_by_sidecars()


def test_the_one_service_is_shown_by_metrics_that_are_sent() -> None:
    shown = [each for each in graphs() if one_service(each)]
    lines = [line for each in shown for line in each["metrics"]]
    assert {(line[2], line[1]) for line in lines} == {each for each in sent_by_sidecars() if each[0]}, (
        "all of a service"
    )
    assert {line[3] for line in lines} == {SERVICE}
    times = [line[-1]["stat"] for line in lines if line[1] == "TargetResponseTime"]
    assert times == ["p50", "p90", "p99"]


def test_the_one_service_is_chosen_from_those_that_send() -> None:
    (variable,) = json.loads(template_body())["variables"]
    assert (variable["pattern"], variable["inputType"]) == (SERVICE, "select")
    found = re.fullmatch(r"\{\"\$\{Mesh\}\",(\w+)\} MetricName=\"(\w+)\"", variable["search"])
    assert found is not None
    assert (found[1], found[2]) in sent_by_sidecars()
    assert variable["populateFrom"] == found[1]


def test_the_page_shows_what_the_stack_shows() -> None:
    assert SECTIONS.read_text() == build.sections_json(), "run `make dashboard`"
    assert msgspec.json.decode(build.sections_json(), type=list[Section]) == build.sections()


AWS_METRICS = {
    ("AWS/Lambda", ("FunctionName",)): {"Duration", "Errors", "IteratorAge", "Throttles"},
    ("AWS/ApiGateway", ("ApiName", "Stage")): {"4XXError", "5XXError", "Count", "Latency"},
    ("AWS/DynamoDB", ("TableName",)): {"ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"},
    ("AWS/SQS", ("QueueName",)): {"ApproximateNumberOfMessagesVisible"},
}
"""What AWS's services send of themselves, from their pages on CloudWatch metrics."""


def test_metrics_of_aws_are_asked_for_by_the_dimensions_that_they_have() -> None:
    lines = [line for each in graphs() for line in each["metrics"] if isinstance(line[0], str)]
    found = {((line[0], tuple(line[2:-1:2])), line[1]) for line in lines if line[0] != MESH}
    assert found == {(key, name) for key, names in AWS_METRICS.items() for name in names}


def test_functions_send_their_metrics_under_the_name_that_the_template_gives_them() -> None:
    services = {
        each["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        for each in sam.resources("AWS::Lambda::Function").values()
        if "POWERTOOLS_SERVICE_NAME" in each.get("Environment", {}).get("Variables", {})
    }
    assert {metric.function for metric in METRICS} == services


def test_every_reference_is_to_something_in_the_template() -> None:
    references = set(re.findall(r"\$\{([^!}][^}]*)\}", template_body()))
    known = sam.expand()["Resources"].keys() | sam.expand()["Parameters"].keys()
    assert {each.partition(".")[0] for each in references} - PSEUDO <= known
    assert "${!PROP('Dim.DiscoveryName')}" in template_body()  # left for CloudWatch


def test_widgets_stand_side_by_side_within_the_columns() -> None:
    widgets = json.loads(template_body())["widgets"]
    cells: set[tuple[int, int]] = set()
    for each in widgets:
        area = {
            (x, y)
            for x in range(each["x"], each["x"] + each["width"])
            for y in range(each["y"], each["y"] + each["height"])
        }
        assert not cells & area, each
        assert max(x for x, _ in area) < COLUMNS
        cells |= area


def test_a_row_is_as_high_as_its_highest_widget() -> None:
    places = place([Widget("metric", {}, 12, 3), Widget("metric", {}, 12, 9), Widget("metric", {}, 8, 6)])
    assert [(each["x"], each["y"]) for each in places] == [(0, 0), (12, 0), (0, 9)]


def test_a_search_with_several_metrics_says_which() -> None:
    made = widget(search("Latency", "Tramo", "TargetDiscoveryName", [("Time", "p50"), ("Time", "p99")]))
    first, second = (line[0] for line in made.properties["metrics"])
    assert first["expression"] == """SEARCH('{"Tramo",TargetDiscoveryName} MetricName="Time"', 'p50', 60)"""
    assert first["label"] == "${!PROP('Dim.TargetDiscoveryName')} Time p50"
    assert {first["id"], second["id"]} == {"search1", "search2"}


def test_a_line_is_namespace_name_and_dimensions() -> None:
    made = widget(Graph("Errors", (Line("AWS/Lambda", "Errors", {"FunctionName": "${Api}"}),), unit="ms"))
    assert made.properties["metrics"] == [
        ["AWS/Lambda", "Errors", "FunctionName", "${Api}", {"stat": "Sum", "label": "Errors"}]
    ]
    assert made.properties["yAxis"]["left"]["label"] == "ms"


def test_a_new_body_replaces_the_old_one_only() -> None:
    template = f"Resources:\n{build.BEGIN}        old\n        lines\n\nOutputs:\n"
    assert build.replace(template, "new\n") == f"Resources:\n{build.BEGIN}        new\n\nOutputs:\n"


def test_a_template_without_a_dashboard_is_an_error() -> None:
    with pytest.raises(build.MarkError, match="DashboardBody"):
        build.replace("Resources:\n", "new\n")
