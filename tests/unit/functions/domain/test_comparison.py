from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from registry.domain.comparison import PUBLISHING_SECONDS, Difference, compare
from registry.domain.reports import Health
from registry.domain.rules import TaskRecord
from registry.domain.service import ServiceRecord
from registry.domain.snapshot import Document, Part, endpoints_of, service_document
from tests.support.control_plane.building import declaration, service, task

ORDERS = service()
AA, BB = task("aa"), task("bb")
NOW = AA.changed_at + 3600
NOTHING = Difference(frozenset(), frozenset())


def published(*tasks: TaskRecord, service: ServiceRecord = ORDERS) -> Document:
    return service_document(service, [endpoints_of(each)[service.name] for each in tasks], 7)


def difference(tasks: list[TaskRecord], *documents: Document, now: float = NOW, **services: ServiceRecord) -> Any:
    known = services or {"orders": ORDERS}
    return compare(tasks, known, [Part({each["name"]: each}) for each in documents], now)


def found(tasks: set[str], services: set[str]) -> Difference:
    return Difference(frozenset(tasks), frozenset(services))


def test_what_is_published_as_registered_is_no_difference() -> None:
    assert difference([AA, BB], published(AA, BB)) == NOTHING
    assert not NOTHING


def test_an_endpoint_that_was_never_published() -> None:
    assert difference([AA, BB], published(AA)) == found({"bb"}, {"orders"})


@pytest.mark.parametrize("now", [{"gone": True}, {"address": "10.9.9.9"}, {"desired_status": "STOPPED"}])
def test_an_endpoint_whose_change_was_never_published(now: dict[str, Any]) -> None:
    assert difference([replace(AA, **now), BB], published(AA, BB)) == found({"aa"}, {"orders"})


def test_an_endpoint_of_a_task_that_has_no_item() -> None:
    assert difference([BB], published(AA, BB)) == found({"aa"}, {"orders"})


def test_a_task_that_left_a_service() -> None:
    stock = service("stock")
    moved = task("aa", "stock")
    documents = published(AA), service_document(stock, [], 3)
    assert difference([moved], *documents, orders=ORDERS, stock=stock) == found({"aa"}, {"orders", "stock"})


def test_a_service_whose_policy_or_definition_was_never_published() -> None:
    for new in (replace(ORDERS, policy={"retries": {"count": 1}}), service("orders", declaration(app_protocol="grpc"))):
        assert difference([AA], published(AA), orders=new) == found(set(), {"orders"})


def test_a_service_that_was_never_published_and_one_that_is_no_more() -> None:
    new, old = service("new"), service("old")
    assert difference([], service_document(old, [], 1), new=new) == found(set(), {"new", "old"})


def test_endpoints_of_a_service_that_is_not_registered_are_not_missed() -> None:
    assert difference([AA, task("xx", "ghost")], published(AA)) == NOTHING


@pytest.mark.parametrize("recent", ["changed_at", "health_at"])
def test_what_changed_a_moment_ago_may_be_on_its_way(recent: str) -> None:
    facts: dict[str, Any] = {"health": Health.UNHEALTHY, "desired_status": "STOPPED", recent: NOW}
    changed = replace(AA, **facts)
    assert difference([changed, BB], published(AA, BB), now=NOW + PUBLISHING_SECONDS - 1) == NOTHING
    assert difference([changed, BB], published(AA, BB), now=NOW + PUBLISHING_SECONDS) == found({"aa"}, {"orders"})
