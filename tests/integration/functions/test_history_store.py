from __future__ import annotations

import dataclasses
import json

from registrar.app import handle
from registry import metric_names
from registry.aws.ecs import Lookups
from registry.domain.service_events import ServiceEvent, parse_service_event
from registry.dynamodb.history_store import KEPT_SECONDS, LATEST
from registry.dynamodb.store import Store
from tests.support.control_plane.ecs import NAMESPACE, FakeEcs, event, task_definition

NOW = 1_795_376_000.0


def happened(number: int) -> ServiceEvent:
    found = parse_service_event(event("deployment_failed"))
    assert found is not None
    return dataclasses.replace(found, event_id=f"e{number}", at=NOW - 1000 + number)


def test_events_are_kept_once_whatever_their_order(store: Store, lookups: Lookups) -> None:
    for name in ("service_action", "deployment_failed", "service_action"):
        assert handle(event(name), store, lookups, NOW) is metric_names.SERVICE_EVENTS
    action, failed = (parse_service_event(event(name)) for name in ("service_action", "deployment_failed"))
    assert store.history.latest("example/orders", NOW) == [action, failed]
    assert store.history.latest("other/orders", NOW) == []
    assert store.tasks.namespaces() == []


def test_the_latest_are_shown_newest_first(store: Store) -> None:
    for number in range(LATEST + 5):
        store.history.add(happened(number))
    found = store.history.latest("example/orders", NOW)
    assert [each.event_id for each in found] == [f"e{number}" for number in range(LATEST + 4, 4, -1)]


def test_what_has_expired_is_not_shown_though_it_is_there(store: Store) -> None:
    store.history.add(happened(0))
    store.history.add(happened(500))
    found = store.history.latest("example/orders", NOW - 1000 + KEPT_SECONDS + 100)
    assert [each.event_id for each in found] == ["e500"]


def test_a_service_knows_the_ecs_service_that_declared_it(store: Store, lookups: Lookups) -> None:
    handle(event("fargate_running"), store, lookups, NOW)
    service = store.services.get(NAMESPACE, "orders")
    assert service is not None
    assert service.latest.ecs_service == "example/orders"


def test_tasks_that_no_service_started_have_no_history(store: Store) -> None:
    services = [{"portName": "http", "discoveryName": "orders"}]
    raw = json.dumps({"namespace": NAMESPACE, "standalone": True, "services": services})
    started = event("standalone")
    definition = task_definition(started["detail"]["taskDefinitionArn"].rpartition("/")[2], raw_label=raw)
    ecs = FakeEcs(definition)
    handle(started, store, Lookups(lambda: ecs, lambda: ecs), NOW)
    service = store.services.get(NAMESPACE, "orders")
    assert service is not None
    assert service.latest.ecs_service is None
