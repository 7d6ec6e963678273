from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane.schemas import GOLDEN_SNAPSHOTS, check, is_valid


def golden(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(next(p for p in GOLDEN_SNAPSHOTS if p.stem == name).read_text())
    return document


@pytest.mark.parametrize("path", GOLDEN_SNAPSHOTS, ids=lambda path: path.stem)
def test_golden_snapshots_are_valid(path: Path) -> None:
    check("snapshot", json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("revision",), 0),
        (("schema",), 2),
        (("generated_at",), "yesterday"),
        (("services", 0, "vip"), "10.0.0.1"),
        (("services", 0, "vip"), "127.254.256.1"),
        (("services", 0, "protocol"), "udp"),
        (("services", 0, "name"), "Orders"),
        (("services", 1, "endpoints", 0, "state"), "gone"),
        (("services", 1, "endpoints", 0, "port"), 0),
        (("services", 1, "endpoints", 0, "id"), "no-slash"),
        (("services", 1, "endpoints", 0, "protocol"), "udp"),
        (("since",), 41),
    ],
)
def test_wrong_values_are_refused(where: tuple[Any, ...], value: object) -> None:
    document = copy.deepcopy(golden("shop"))
    target: Any = document
    for step in where[:-1]:
        target = target[step]
    target[where[-1]] = value
    assert not is_valid("snapshot", document)


@pytest.mark.parametrize("field", ["schema", "namespace", "revision", "generated_at", "services"])
def test_every_field_of_a_snapshot_is_required(field: str) -> None:
    document = golden("shop")
    del document[field]
    assert not is_valid("snapshot", document)


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"load_balancing": {"algorithm": "round_robin"}},
        {"retries": {"count": 0, "budget_percent": 12.5, "on": ["connect_failure", "503"]}},
        {"timeouts": {"request_seconds": 0, "idle_seconds": 300, "connect_seconds": 0.25}},
        {"outlier_detection": {"consecutive_failures": 5, "max_ejection_percent": 50}},
        {"circuit_breaker": {"max_connections": 1, "max_pending_requests": 0, "max_requests": 1}},
        {"load_balancing": {"slow_start_seconds": 60}, "http": {"accept_http_10": True}},
        {"timeouts": {"per_try_seconds": 0.5, "tcp_idle_seconds": 0}},
        {"health_check": {"protocol": "http", "path": "/healthz?deep=1", "statuses": [200, 204]}},
        {"health_check": {"protocol": "grpc", "grpc_service": "shop.Orders", "interval_seconds": 0.5}},
    ],
)
def test_policies(policy: dict[str, Any]) -> None:
    check("policy", policy)


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {"retry": {}},
        {"load_balancing": {"algorithm": "random"}},
        {"retries": {"count": -1}},
        {"retries": {"count": 1.5}},
        {"retries": {"on": ["503", "503"]}},
        {"timeouts": {"connect_seconds": 0}},
        {"timeouts": {"request_seconds": "5"}},
        {"outlier_detection": {"max_ejection_percent": 101}},
        {"circuit_breaker": {"max_connections": 0}},
        {"load_balancing": {"slow_start_seconds": -1}},
        {"http": {"accept_http_10": "yes"}},
        {"health_check": {"protocol": "udp"}},
        {"health_check": {"path": "healthz"}},
        {"health_check": {"path": "/a\r\nx: y"}},
        {"health_check": {"statuses": []}},
        {"health_check": {"statuses": [100]}},
        {"health_check": {"grpc_service": "a/b"}},
        {"health_check": {"interval_seconds": 0}},
        {"health_check": {"unhealthy_threshold": 0}},
    ],
)
def test_wrong_policies(policy: Any) -> None:
    assert not is_valid("policy", policy)
