"""Alarms name what the code sends, and the template holds what the generator makes."""

from __future__ import annotations

from typing import Any

import pytest

from infra.dashboards import alarms, build
from registry.metric_names import METRICS
from sidecar.core.flags import FLAGS
from sidecar.core.meters import Meters
from tests.support.control_plane import sam

RESOURCES = sam.resources("AWS::CloudWatch::Alarm")


def metrics(properties: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of one alarm."""
    if "MetricName" in properties:
        return [properties]
    return [each["MetricStat"]["Metric"] for each in properties["Metrics"] if "MetricStat" in each]


def sent() -> set[tuple[str, tuple[str, ...]]]:
    """Return name and dimensions of all in CloudWatch's namespace of the mesh that either plane sends."""
    meters = Meters("", "")
    client = meters.client("orders")
    for meter in (client, meters.sidecar):
        for name in type(meter).__slots__:
            if isinstance(getattr(meter, name), int | float):
                setattr(meter, name, 1)
        for flag in FLAGS:
            meter.count_flags((flag,))
    for status in (200, 301, 404, 503):
        client.answered(status, 0.01)
    sidecars = {(datum.name, tuple(name for name, _ in datum.dimensions)) for datum in meters.take()}
    return sidecars | {(metric.name, ("service",)) for metric in METRICS}


def test_the_template_holds_what_the_generator_makes() -> None:
    assert alarms.text() in build.TEMPLATE.read_text(), "run `make dashboard`"
    assert set(RESOURCES) == {alarm.name for alarm in alarms.alarms()}


@pytest.mark.parametrize("name", sorted(RESOURCES))
def test_every_metric_of_an_alarm_is_one_that_is_sent(name: str) -> None:
    for metric in metrics(RESOURCES[name]):
        dimensions = tuple(each["Name"] for each in metric.get("Dimensions", []))
        if metric["Namespace"] == {"Ref": "Mesh"}:
            assert (metric["MetricName"], dimensions) in sent()
        else:
            assert (metric["Namespace"], dimensions) == ("AWS/SQS", ("QueueName",))


@pytest.mark.parametrize("name", sorted(RESOURCES))
def test_an_alarm_tells_the_topic_if_there_is_one_and_silence_is_none(name: str) -> None:
    properties = RESOURCES[name]
    assert properties["TreatMissingData"] == "notBreaching"
    for actions in ("AlarmActions", "OKActions"):
        condition, topic, _ = properties[actions]["Fn::If"]
        assert (condition, topic) == ("HasAlarmTopic", [{"Ref": "AlarmTopic"}])


def test_the_rate_of_errors_is_of_all_answers() -> None:
    properties = RESOURCES["ErrorRateAlarm"]
    assert [each["MetricName"] for each in metrics(properties)] == [
        f"HTTPCode_Target_{each}XX_Count" for each in "2345"
    ]
    (expression,) = [each["Expression"] for each in properties["Metrics"] if "Expression" in each]
    total = "FILL(m1,0)+FILL(m2,0)+FILL(m3,0)+FILL(m4,0)"
    assert expression == f"IF({total}>=100,100*FILL(m4,0)/({total}),0)"


def test_the_share_of_unhealthy_endpoints_is_of_all_that_could_serve() -> None:
    properties = RESOURCES["UnhealthyEndpointsAlarm"]
    assert [each["MetricName"] for each in metrics(properties)] == [
        "EjectedEndpoints",
        "HealthyEndpoints",
        "UnhealthyEndpoints",
    ]
    (expression,) = [each["Expression"] for each in properties["Metrics"] if "Expression" in each]
    known = "FILL(m1,0)+FILL(m2,0)+FILL(m3,0)"
    assert expression == f"IF({known}>0,100*(FILL(m1,0)+FILL(m3,0))/({known}),0)"


def test_a_template_without_the_marks_is_an_error() -> None:
    with pytest.raises(build.MarkError, match="end of alarms"):
        build.replace_alarms("Resources:\n", "new\n")
