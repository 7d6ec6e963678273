from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from registry.domain.events import DETAIL_TYPE, EventError, PortBinding, TaskEvent, parse_event, parse_task
from tests.support.control_plane.ecs import EVENTS, event

TASK_EVENTS = sorted(path.stem for path in EVENTS.glob("*.json") if event(path.stem)["detail-type"] == DETAIL_TYPE)
NOW = 1_795_345_200.0


def parsed(name: str) -> TaskEvent:
    return parse_event(event(name))


@pytest.mark.parametrize("name", TASK_EVENTS)
def test_every_shape_is_read(name: str) -> None:
    found = parsed(name)
    detail = event(name)["detail"]
    assert found.version == detail["version"]
    assert found.task_arn == detail["taskArn"]
    assert (found.last_status, found.desired_status) == (detail["lastStatus"], detail["desiredStatus"])


@pytest.mark.parametrize("name", TASK_EVENTS)
def test_the_api_tells_the_same(name: str) -> None:
    detail = event(name)["detail"]
    for attachment in detail["attachments"]:
        if attachment["type"] == "eni":
            attachment["type"] = "ElasticNetworkInterface"
    for field in ("createdAt", "startedAt", "stoppingAt", "stoppedAt"):
        if field in detail:
            detail[field] = datetime.fromisoformat(detail[field])
    updated = datetime.fromisoformat(detail.pop("updatedAt")).timestamp()
    found = parse_task(detail, NOW)
    assert dataclasses.replace(found, changed_at=updated) == parsed(name)


def test_a_running_fargate_task() -> None:
    found = parsed("fargate_running")
    assert found.task_id == "a1173316d40a45dea9b1a2c3d4e5f601"
    assert found.address == "10.0.1.163"
    assert found.zone == "us-east-1b"
    assert found.started_by == "ecs-svc/8646900195280463695"
    assert found.group == "service:orders"
    assert found.started_at == datetime(2026, 11, 22, 11, 2, 34, 325000, UTC).timestamp()
    assert found.bindings == ()
    assert found.container_instance_arn is None


def test_a_stopped_task_says_why() -> None:
    found = parsed("fargate_stopped")
    assert found.stop_code == "ServiceSchedulerInitiated"
    assert found.stopped_at == datetime(2026, 11, 22, 11, 29, 11, 177000, UTC).timestamp()


def test_an_address_may_come_late() -> None:
    assert parsed("eni_late").address is None


def test_only_network_interfaces_have_addresses() -> None:
    assert parsed("several_attachments").address == "10.0.1.163"


def test_a_task_with_ipv6_only() -> None:
    assert parsed("ipv6_only").address == "2600:1f18:1:2::a"


def test_ipv4_is_preferred() -> None:
    both = event("fargate_running")
    both["detail"]["attachments"][0]["details"].insert(0, {"name": "privateIPv6Address", "value": "2600::1"})
    assert parse_event(both).address == "10.0.1.163"


def test_the_containers_interface_helps_out() -> None:
    changed = event("fargate_running")
    changed["detail"]["attachments"] = []
    assert parse_event(changed).address == "10.0.1.163"


def test_bridge_bindings_are_tcp_and_counted_once() -> None:
    found = parsed("ec2_bridge")
    assert found.address is None
    assert found.bindings == (PortBinding("app", 8080, 32769), PortBinding("tramo", 15100, 32770))
    assert found.container_instance_arn is not None


def test_overrides_are_not_kept() -> None:
    kept = repr(parsed("overrides_with_secrets"))
    assert "do-not-keep" not in kept
    assert parsed("overrides_with_secrets") == parsed("fargate_running")


def test_unknown_fields_and_odd_values_change_nothing() -> None:
    assert parsed("unknown_fields") == parsed("fargate_running")
    assert parsed("cpu_null") == parsed("fargate_running")
    assert parsed("injected_container") == parsed("fargate_running")


def test_health_is_only_in_the_api() -> None:
    detail = event("fargate_running")["detail"]
    assert parsed("fargate_running").health is None
    assert parse_task(detail | {"healthStatus": "HEALTHY"}, NOW).health == "HEALTHY"
    assert parse_task(detail | {"healthStatus": "UNHEALTHY"}, NOW).health == "UNHEALTHY"
    assert parse_task(detail | {"healthStatus": "UNKNOWN"}, NOW).health is None


def test_times_of_the_api() -> None:
    detail = event("fargate_running")["detail"]
    del detail["updatedAt"]
    detail["createdAt"], detail["startedAt"] = 100, 200.5
    assert parse_task(detail, NOW).changed_at == 200.5
    del detail["createdAt"], detail["startedAt"]
    assert parse_task(detail, NOW).changed_at == NOW


def test_a_time_without_zone_is_utc() -> None:
    changed = event("fargate_running")
    changed["detail"]["startedAt"] = "2026-11-22T11:02:34"
    assert parse_event(changed).started_at == datetime(2026, 11, 22, 11, 2, 34, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "$"),
        ([], "$"),
        ({}, "source"),
        ({"source": "aws.ec2"}, "source"),
        (event("service_action"), "detail-type"),
        (event("fargate_running") | {"detail": None}, "detail"),
    ],
)
def test_what_is_no_task_event(value: object, field: str) -> None:
    with pytest.raises(EventError) as caught:
        parse_event(value)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("taskArn", None),
        ("clusterArn", 7),
        ("taskDefinitionArn", ""),
        ("lastStatus", None),
        ("desiredStatus", None),
        ("version", None),
        ("version", "3"),
        ("version", True),
        ("version", -1),
        ("startedAt", "soon"),
        ("stoppedAt", []),
    ],
)
def test_the_field_at_fault_is_named(field: str, value: Any) -> None:
    changed = event("fargate_running")
    changed["detail"][field] = value
    with pytest.raises(EventError, match=f"^detail.{field}") as caught:
        parse_event(changed)
    assert caught.value.field == f"detail.{field}"
    if field != "taskArn":
        assert caught.value.task == event("fargate_running")["detail"]["taskArn"]


def test_a_task_without_any_time() -> None:
    changed = event("fargate_running")
    del changed["time"]
    for field in ("updatedAt", "startedAt", "createdAt"):
        del changed["detail"][field]
    with pytest.raises(EventError, match="neither it nor any other time"):
        parse_event(changed)


@pytest.mark.parametrize(
    ("field", "value", "mistake"),
    [
        ("startedAt", 1_795_349_160_000, "1795349160000 is no time between 1970 and 2100 in epoch seconds"),
        ("startedAt", float("nan"), "nan is no time between 1970 and 2100 in epoch seconds"),
        ("createdAt", "9999-12-31T23:59:59-23:59", "253402387139.0 is no time"),
        ("updatedAt", "0001-01-01T00:00:00", "-62135596800.0 is no time"),
        ("version", 2**53 + 1, "a whole number from 0 to 9007199254740992 was expected"),
        ("taskArn", "arn:aws:ecs:us-east-1:123456789012:task/example/" + "x" * 256, "it has 256 of at most 255"),
        ("group", "g" * 2049, "it has 2049 of at most 2048 characters"),
    ],
)
def test_what_breaks_a_bound_is_named(field: str, value: object, mistake: str) -> None:
    changed = event("fargate_running")
    changed["detail"][field] = value
    with pytest.raises(EventError) as caught:
        parse_event(changed)
    assert caught.value.field == f"detail.{field}"
    assert caught.value.reason.startswith(mistake)


@pytest.mark.parametrize(
    "text", ["10.0.1.5/24", "localhost", "10.0.1", "0.0.0.0", "224.0.0.1", "fe80::1%eth0", "10.0.1.05"]
)
def test_an_address_that_nobody_can_connect_to_is_named(text: str) -> None:
    changed = event("fargate_running")
    changed["detail"]["attachments"][0]["details"][-1]["value"] = text
    with pytest.raises(EventError) as caught:
        parse_event(changed)
    assert caught.value.field == "detail.attachments (privateipv4address)"


def test_a_long_reason_is_shortened() -> None:
    changed = event("fargate_stopped")
    changed["detail"]["stoppedReason"] = "r" * 600
    assert parse_event(changed).stopped_reason == "r" * 499 + "…"
