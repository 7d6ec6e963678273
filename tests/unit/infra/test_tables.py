"""The output of the commands, held against golden files: names and places of columns are what scripts rely on.

To write them again: TRAMO_WRITE_GOLDEN=1 pytest tests/unit/infra/test_tables.py
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from infra.cli import report, tables
from infra.cli.ecs import service_row, task_row
from infra.cli.tables import Column, show

GOLDEN = Path(__file__).parent / "golden"

TASK = {
    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/shop/a1173316d40a45dea9",
    "group": "service:orders",
    "taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/orders:2",
    "availabilityZone": "us-east-1a",
    "attachments": [{"details": [{"name": "privateIPv4Address", "value": "127.4.0.1"}]}],
    "lastStatus": "RUNNING",
    "desiredStatus": "RUNNING",
    "healthStatus": "HEALTHY",
}
GONE = {
    **TASK,
    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/shop/feedbeef",
    "group": "family:orders",
    "attachments": [],
    "lastStatus": "STOPPED",
    "desiredStatus": "STOPPED",
    "healthStatus": "UNKNOWN",
    "stoppedReason": "Essential container in task exited",
}
SERVICE: dict[str, Any] = {
    "serviceName": "orders",
    "taskDefinition": "arn:aws:ecs:us-east-1:123456789012:task-definition/orders:2",
    "desiredCount": 3,
    "runningCount": 4,
    "pendingCount": 1,
    "deployments": [
        {"id": f"ecs-svc/{n}", "rolloutState": "IN_PROGRESS", "rolloutStateReason": "in progress.", "failedTasks": 0}
        for n in range(2)
    ],
}
PHASE = report.Phase("orders scales from 1 to 3", 412, 0, {"a11733 v1": 212, "feedbe v1": 200}, {"feedbe": 1.25}, 4.0)

CASES: dict[str, tuple[tuple[Column, ...], list[tables.Row]]] = {
    "services": (
        tables.SERVICES,
        [
            {
                "namespace": "shop.local",
                "name": "orders",
                "protocol": "http",
                "aliases": ["orders:80", "orders.shop.local:80"],
                "vip": "127.254.0.2",
                "ready": 2,
                "endpoints": 3,
                "revision": 41,
            },
            {
                "namespace": "shop.local",
                "name": "cache",
                "protocol": "tcp",
                "aliases": [],
                "vip": "127.254.0.12",
                "ready": 0,
                "endpoints": 0,
                "revision": 7,
            },
        ],
    ),
    "endpoints": (
        tables.ENDPOINTS,
        [
            {
                "namespace": "shop.local",
                "id": "a1173316d40a45dea9/orders",
                "address": "127.4.0.1",
                "port": 15100,
                "zone": "us-east-1a",
                "state": "ready",
                "weight": 100,
                "task_definition": "orders:2",
                "deployment": None,
                "since": "2026-11-22T12:00:00Z",
            }
        ],
    ),
    "tasks": (tables.TASKS, [task_row(TASK), task_row(GONE)]),
    "scaled": (tables.SCALED, [service_row(SERVICE)]),
    "status": (
        tables.STATUS,
        [
            {
                "cluster": "shop",
                "services": "4/4 steady",
                "tasks": "5/5 running",
                "events": 61,
                "dead_letter_count": 1,
                "api": "http://127.0.0.1:40001/live (away)",
                "ecs": "http://127.0.0.1:40002",
                "aws": "http://127.0.0.1:40003",
            }
        ],
    ),
    "dead_letters": (
        tables.DEAD_LETTERS,
        [{"time": "2026-11-22T12:00:00Z", "function": "Registrar", "error": "Registrar: ValueError: on purpose"}],
    ),
    "phases": (report.PHASES, [report.row(PHASE)]),
    "metrics": (
        report.metric_columns(["web", "cache"]),
        report.metric_rows(
            {
                ("RequestCount", "web"): 4472.0,
                ("TargetResponseTime", "web"): 15.064,
                ("NewConnectionCount", "cache"): 4.0,
            },
            ["web", "cache"],
        ),
    ),
    "nothing": (tables.TASKS, []),
}


@pytest.mark.parametrize("name", CASES)
def test_tables_are_as_they_were(name: str) -> None:
    columns, rows = CASES[name]
    stream = io.StringIO()
    show(stream, "table", columns, rows)
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("TRAMO_WRITE_GOLDEN"):
        golden.write_text(stream.getvalue())
    assert stream.getvalue() == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_json_has_the_same_rows(name: str) -> None:
    columns, rows = CASES[name]
    stream = io.StringIO()
    show(stream, "json", columns, rows)
    printed = json.loads(stream.getvalue())
    assert printed == rows
    assert {column.key for column in columns} <= set().union(*printed) or not rows


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    columns, rows = CASES["tasks"]
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        show(stream, "table", columns, rows)
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[32m" in terminal.getvalue()


def test_a_rollout_is_complete_with_one_completed_deployment() -> None:
    one = {**SERVICE["deployments"][0], "rolloutState": "COMPLETED"}
    done: dict[str, Any] = {**SERVICE, "runningCount": 3, "pendingCount": 0, "deployments": [one]}
    assert service_row(done)["rollout"] == "COMPLETED"
    assert service_row({**done, "deployments": [one, one]})["rollout"] == "IN_PROGRESS"
    assert service_row({**done, "desiredCount": 4})["rollout"] == "IN_PROGRESS", "it scales"
