from __future__ import annotations

from typing import Any

import pytest

from registry.domain.bounds import REASON_CHARACTERS
from registry.domain.events import EventError
from registry.domain.service_events import ServiceEvent, ecs_service, parse_service_event
from tests.support.control_plane.ecs import CLUSTER, event


def test_an_action() -> None:
    assert parse_service_event(event("service_action")) == ServiceEvent(
        event_id="af3c496d-f4a8-65d1-70f4-a69d52e9b584",
        service="example/orders",
        at=1795375642.695,
        kind="ECS Service Action",
        name="SERVICE_STEADY_STATE",
        level="INFO",
        deployment=None,
        reason=None,
    )


def test_a_step_of_a_deployment() -> None:
    found = parse_service_event(event("deployment_failed"))
    assert found is not None
    assert (found.name, found.level, found.at) == ("SERVICE_DEPLOYMENT_FAILED", "ERROR", 1795350672.5)
    assert found.deployment == "ecs-svc/8646900195280463695"
    assert found.reason == "ECS deployment circuit breaker: task failed to start."


def test_a_service_of_before_arns_had_clusters() -> None:
    old = event("service_action") | {"resources": ["arn:aws:ecs:us-east-1:123456789012:service/orders"]}
    found = parse_service_event(old)
    assert found is not None
    assert found.service == ecs_service(CLUSTER, "orders") == "example/orders"


def test_reasons_are_cut() -> None:
    long = event("deployment_failed")
    long["detail"]["reason"] = "x" * 5000
    found = parse_service_event(long)
    assert found is not None
    assert found.reason == "x" * (REASON_CHARACTERS - 1) + "…"


@pytest.mark.parametrize("other", [event("fargate_running"), [], None, {}])
def test_other_events_are_not_ours(other: Any) -> None:
    assert parse_service_event(other) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"detail": None}, "detail"),
        ({"resources": []}, "resources"),
        ({"resources": ["arn:aws:ecs:us-east-1:1:task/example/orders"]}, "resources"),
        ({"detail": {"eventName": "X", "createdAt": "yesterday"}}, "detail.createdAt"),
        ({"detail": {"eventName": "X"}, "time": None}, "time"),
        ({"detail": {"createdAt": "2026-11-22T19:27:22Z"}}, "detail.eventName"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(EventError) as caught:
        parse_service_event(event("service_action") | change)
    assert caught.value.field == field
