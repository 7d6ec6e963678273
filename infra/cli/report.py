"""What the demo found out, without IO: from two states of the load generator's tally to the row of a phase.

A tally is one line of the load generator (infra/examples/shop/apps/load.py); it is cumulative, so a phase is the
difference of two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from infra.cli.tables import Column, Row


@dataclass(frozen=True, slots=True)
class Answers:
    """What came from one task of orders. `first_at` in seconds since the epoch."""

    version: str
    count: int
    first_at: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What the load generator has seen since it began."""

    sent: int = 0
    succeeded: int = 0
    failed: int = 0
    final: bool = False
    answers: Mapping[str, Answers] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase. `joined`: seconds from the RUNNING event of each new task to its first request."""

    name: str
    requests: int
    failed: int
    per_endpoint: Mapping[str, int]
    joined: Mapping[str, float]
    seconds: float


PHASES: Final = (
    Column("PHASE", "phase"),
    Column("SECONDS", "seconds", right=True),
    Column("REQUESTS", "requests", right=True),
    Column("FAILED", "failed", right=True),
    Column("REQUESTS PER ENDPOINT OF ORDERS", "per_endpoint"),
    Column("RUNNING → FIRST REQUEST", "joined"),
)


def read_tally(text: str) -> Tally:
    """Return the last whole line of the load generator's output, an empty tally if there is none."""
    lines = text.rpartition("\n")[0].splitlines()
    if not lines:
        return Tally()
    document: Mapping[str, Any] = json.loads(lines[-1])
    return Tally(
        sent=document["sent"],
        succeeded=document["succeeded"],
        failed=document["failed"],
        final=document["final"],
        answers={task: Answers(**answers) for task, answers in document["answers"].items()},
        errors=tuple(document["errors"]),
    )


def phase(name: str, before: Tally, after: Tally, running_at: Mapping[str, float], seconds: float) -> Phase:
    """Return what happened between two tallies; `running_at` has the times of the RUNNING events of new tasks."""
    counts = {
        task: answers.count - (before.answers[task].count if task in before.answers else 0)
        for task, answers in after.answers.items()
    }
    return Phase(
        name=name,
        requests=after.succeeded + after.failed - before.succeeded - before.failed,
        failed=after.failed - before.failed,
        per_endpoint={f"{task[:6]} v{after.answers[task].version}": count for task, count in counts.items() if count},
        joined={
            task[:6]: after.answers[task].first_at - at for task, at in running_at.items() if task in after.answers
        },
        seconds=seconds,
    )


def row(done: Phase) -> Row:
    """Return the row of a phase for the table."""
    return {
        "phase": done.name,
        "seconds": f"{done.seconds:.1f}",
        "requests": done.requests,
        "failed": done.failed,
        "per_endpoint": ", ".join(f"{task}: {count}" for task, count in done.per_endpoint.items()),
        "joined": ", ".join(f"{task} {seconds:.1f} s" for task, seconds in done.joined.items()),
    }


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that the demo reads back: which statistic, and by which dimension it stands for a service."""

    name: str
    statistic: str
    unit: str
    dimension: str


METRICS: Final = (
    Metric("ActiveConnectionCount", "Maximum", "Count", "DiscoveryName"),
    Metric("NewConnectionCount", "Sum", "Count", "DiscoveryName"),
    Metric("ProcessedBytes", "Sum", "Bytes", "DiscoveryName"),
    Metric("RequestCount", "Sum", "Count", "DiscoveryName"),
    Metric("GrpcRequestCount", "Sum", "Count", "DiscoveryName"),
    Metric("HTTPCode_Target_2XX_Count", "Sum", "Count", "TargetDiscoveryName"),
    Metric("HTTPCode_Target_3XX_Count", "Sum", "Count", "TargetDiscoveryName"),
    Metric("HTTPCode_Target_4XX_Count", "Sum", "Count", "TargetDiscoveryName"),
    Metric("HTTPCode_Target_5XX_Count", "Sum", "Count", "TargetDiscoveryName"),
    Metric("RequestCountPerTarget", "Sum", "Count", "TargetDiscoveryName"),
    Metric("TargetProcessedBytes", "Sum", "Bytes", "TargetDiscoveryName"),
    Metric("TargetResponseTime", "Average", "Milliseconds", "TargetDiscoveryName"),
)
"""Service Connect's twelve, in the order in which AWS documents them."""


def metric_columns(services: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns of the table of metrics: a column for every service."""
    return (
        Column("METRIC", "metric"),
        Column("STATISTIC", "statistic"),
        Column("UNIT", "unit"),
        *(Column(service.upper(), service, right=True) for service in services),
    )


def metric_rows(values: Mapping[tuple[str, str], float], services: Sequence[str]) -> list[Row]:
    """Return a row for every metric; `values` are by metric and service, what is missing was never sent."""
    return [
        {
            "metric": metric.name,
            "statistic": metric.statistic,
            "unit": metric.unit,
            **{service: _number(values.get((metric.name, service))) for service in services},
        }
        for metric in METRICS
    ]


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def verdict(final: Tally, request_count: float | None) -> list[str]:
    """Return what is wrong at the end, nothing if all is well."""
    faults: list[str] = []
    if final.failed:
        faults.append(f"{final.failed} of {final.sent} requests failed, the last of them: " + "; ".join(final.errors))
    if not final.final or final.succeeded + final.failed != final.sent:
        faults.append(f"the load generator sent {final.sent} requests and saw {final.succeeded + final.failed} end")
    if not final.sent:
        faults.append("the load generator sent nothing")
    if request_count != final.sent:
        shown = "nothing" if request_count is None else f"{request_count:.0f}"
        faults.append(f"CloudWatch's RequestCount of web is {shown}, but the load generator sent {final.sent}")
    return faults
