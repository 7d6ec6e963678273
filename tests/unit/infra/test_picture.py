"""What differs between two pictures of a mesh."""

from __future__ import annotations

from typing import Any

import pytest

from infra.cli.picture import PictureError, changes, made, read


def endpoint(task: str, definition: str = "orders:7", state: str = "ready") -> dict[str, Any]:
    return {
        "id": f"{task}/orders",
        "address": "10.0.1.5",
        "port": 15100,
        "state": state,
        "task_definition": definition,
    }


def service(*endpoints: dict[str, Any], name: str = "orders", **more: Any) -> dict[str, Any]:
    fields = {"protocol": "http", "vip": "127.254.0.2", "aliases": [{"dns_name": name, "port": 80}], "policy": {}}
    return {"name": name, "endpoints": list(endpoints), **fields, **more}


def picture(*services: dict[str, Any]) -> dict[str, Any]:
    return made("2026-11-29T12:00:00Z", {"shop.local": {"revision": 4, "services": list(services)}})


def told(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.sign, each.what) for each in changes(before, after)]


def test_a_mesh_is_equal_to_itself() -> None:
    assert told(picture(service(endpoint("aa"))), picture(service(endpoint("aa")))) == []


def test_services_come_and_go() -> None:
    assert told(picture(), picture(service(endpoint("aa")))) == [
        ("+", "new service, http"),
        ("+", "ready endpoints of orders:7: 0 → 1"),
    ]
    assert told(picture(service(endpoint("aa"))), picture()) == [("-", "the service is gone")]


def test_a_rollout_is_shown_by_definition_and_state() -> None:
    before = picture(service(endpoint("aa"), endpoint("bb")))
    after = picture(service(endpoint("bb", state="draining"), endpoint("cc", "orders:8")))
    assert told(before, after) == [
        ("+", "draining endpoints of orders:7: 0 → 1"),
        ("-", "ready endpoints of orders:7: 2 → 0"),
        ("+", "ready endpoints of orders:8: 0 → 1"),
    ]


def test_tasks_that_others_replaced_are_counted() -> None:
    before, after = picture(service(endpoint("aa"))), picture(service(endpoint("bb")))
    assert told(before, after) == [("~", "1 endpoints replaced by others of the same definition")]


def test_protocol_aliases_and_policy_are_compared_field_by_field() -> None:
    before = service(policy={"timeouts": {"request_seconds": 9, "idle_seconds": 60}})
    after = service(
        protocol="grpc",
        aliases=[{"dns_name": "orders", "port": 81}],
        policy={"timeouts": {"request_seconds": 5, "idle_seconds": 60}, "retries": {"count": 1}},
    )
    assert told(picture(before), picture(after)) == [
        ("~", "protocol http → grpc"),
        ("-", "alias orders:80"),
        ("+", "alias orders:81"),
        ("~", "policy retries.count default → 1"),
        ("~", "policy timeouts.request_seconds 9 → 5"),
    ]


@pytest.mark.parametrize("document", [[], {}, {"namespaces": []}, {"tramo": 2, "namespaces": {}}])
def test_what_is_no_picture_is_refused(document: Any) -> None:
    with pytest.raises(PictureError):
        read(document)
