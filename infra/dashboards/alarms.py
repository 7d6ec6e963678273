"""Alarms that are worth waking for, from the same lists of metrics as the dashboard.

Rules:
- An alarm is for what a person must look at: callers get errors, the mesh routes by stale data, or events were
  lost for good. What the mesh repairs by itself is on the dashboard only.
- Services are not known when the stack is made, so alarms look at what sidecars send without any dimension.
- Silence is no alarm: a mesh without traffic sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.dashboards.widgets import MESH, Line
from registry.metric_names import DRIFT, SWEEP_FAILURES
from sidecar.core.metrics import HEALTHY_ENDPOINTS, MESH_WIDE, SIDECAR_METRICS

ERROR_PERCENT: Final = 5
MIN_ANSWERS: Final = 100
"""Fewer answers a minute say nothing: one failure among ten would be ten per cent."""
STALE_SECONDS: Final = 300
UNHEALTHY_PERCENT: Final = 20
"""More than single endpoints: outlier detection deals with those, and never takes out more than half of a service."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: its name in the template, what it says, its metrics, and when it goes off."""

    name: str
    meaning: str
    lines: tuple[Line, ...]
    threshold: float
    period: int
    periods: int
    expression: str = ""  # of the metrics m1, m2, ...; empty: the one metric itself


def alarms() -> list[Alarm]:
    """Return all alarms."""
    (age,) = [metric for metric in SIDECAR_METRICS if metric.name == "SnapshotAge"]
    answers = sorted(name for name in MESH_WIDE if name.startswith("HTTPCode_"))  # 2XX to 5XX
    total, failed = _sum(answers, answers), _sum(answers, answers[-1:])
    endpoints = sorted(name for name in MESH_WIDE if name.endswith("Endpoints"))
    known = _sum(endpoints, endpoints)
    out = _sum(endpoints, [name for name in endpoints if name != HEALTHY_ENDPOINTS.name])
    return [
        Alarm(
            "DeadLettersAlarm",
            "Events could not be handled and wait in the dead-letter queue. List them with tramo redrive "
            "--dry-run, remove the cause, then run tramo redrive.",
            (Line("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "DeadLetters.QueueName"}, "Maximum"),),
            *(0, 60, 1),
        ),
        Alarm(
            "SweepFailuresAlarm",
            "The reconciler left out clusters or namespaces for 15 minutes; its log names them and says why.",
            (Line(MESH, SWEEP_FAILURES.name, {"service": SWEEP_FAILURES.function}),),
            *(0, 300, 3),
        ),
        Alarm(
            "DriftAlarm",
            "The reconciler had to correct records for 15 minutes: task events are being lost.",
            (Line(MESH, DRIFT.name, {"service": DRIFT.function}),),
            *(0, 300, 3),
        ),
        Alarm(
            "StaleSnapshotsAlarm",
            f"A sidecar has read neither feed nor API for {STALE_SECONDS} s: it routes by its last snapshot.",
            (Line(MESH, age.name, {}, "Maximum"),),
            *(STALE_SECONDS, 60, 3),
        ),
        Alarm(
            "ErrorRateAlarm",
            f"More than {ERROR_PERCENT} % of all answers in the mesh were 5XX for 5 minutes, among at least "
            f"{MIN_ANSWERS} a minute.",
            tuple(Line(MESH, name, {}) for name in answers),
            *(ERROR_PERCENT, 60, 5),
            f"IF({total}>={MIN_ANSWERS},100*{failed}/({total}),0)",
        ),
        Alarm(
            "UnhealthyEndpointsAlarm",
            f"More than {UNHEALTHY_PERCENT} % of the endpoints of services that are called were ejected or failed "
            "their health checks for 5 minutes.",
            tuple(Line(MESH, name, {}) for name in endpoints),
            *(UNHEALTHY_PERCENT, 60, 5),
            f"IF({known}>0,100*({out})/({known}),0)",
        ),
    ]


def _sum(names: list[str], summands: list[str]) -> str:
    """Return the expression that adds up some of an alarm's metrics; what was not sent is zero."""
    return "+".join(f"FILL(m{names.index(name) + 1},0)" for name in summands)


def resource(alarm: Alarm) -> dict[str, Any]:
    """Return the properties of the alarm's resource."""
    common = {
        "AlarmDescription": alarm.meaning,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": alarm.threshold,
        "EvaluationPeriods": alarm.periods,
        "TreatMissingData": "notBreaching",
        **{
            actions: {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
            for actions in ("AlarmActions", "OKActions")
        },
    }
    if not alarm.expression:
        (line,) = alarm.lines
        return {**common, **_metric(line), "Statistic": line.statistic, "Period": alarm.period}
    metrics = [
        {
            "Id": f"m{place}",
            "ReturnData": False,
            "MetricStat": {"Metric": _metric(line), "Period": alarm.period, "Stat": line.statistic},
        }
        for place, line in enumerate(alarm.lines, start=1)
    ]
    return {**common, "Metrics": [{"Id": "result", "Expression": alarm.expression}, *metrics]}


def _metric(line: Line) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": _value(value)} for name, value in line.dimensions.items()]
    namespace = {"Ref": "Mesh"} if line.namespace == MESH else line.namespace
    return {"Namespace": namespace, "MetricName": line.name, **({"Dimensions": dimensions} if dimensions else {})}


def _value(value: str) -> str | Mapping[str, list[str]]:
    """Return a dimension's value; `Resource.Attribute` is one of a resource of the template."""
    resource, dot, attribute = value.partition(".")
    return {"Fn::GetAtt": [resource, attribute]} if dot else value


def text() -> str:
    """Return the resources as lines of the template, one property a line."""
    lines = []
    for alarm in alarms():
        lines.append(f"  {alarm.name}:\n    Type: AWS::CloudWatch::Alarm\n    Properties:\n")
        lines += [f"      {name}: {json.dumps(value)}\n" for name, value in resource(alarm).items()]
    return "".join(lines)
