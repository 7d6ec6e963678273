"""The whole way of the data: event, registrar, stream, publisher, API."""

from __future__ import annotations

from typing import Any

from publisher.app import changes_of
from registrar.app import handle
from registry import metric_names
from registry.aws.ecs import Lookups
from registry.domain import snapshot
from registry.dynamodb.store import Store
from registry.publishing import Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.ecs import NAMESPACE, event, life
from tests.support.control_plane.schemas import check

NOW = 1_795_345_200.0


def published(store: Store) -> dict[str, Any]:
    head = store.snapshots.head(NAMESPACE, consistent=True)
    assert head is not None
    head, parts = store.snapshots.read(NAMESPACE, head)
    document = snapshot.assemble(NAMESPACE, head, parts.values())
    check("snapshot", document)
    return document


def test_an_event_becomes_an_endpoint_and_goes_again(
    store: Store, lookups: Lookups, dynamodb_endpoint: str, table: str
) -> None:
    publisher = Publisher(store, clock=lambda: NOW, pause=lambda _: None)

    assert handle(event("fargate_running"), store, lookups, NOW) is metric_names.EVENTS_APPLIED
    changes = changes_of(aws.stream_records(dynamodb_endpoint, table))
    assert list(changes) == [NAMESPACE]
    assert publisher.publish(NAMESPACE, changes[NAMESPACE]).revision == 1

    document = published(store)
    assert document["revision"] == 1
    (service,) = document["services"]
    assert service["vip"] == "127.254.0.2"
    assert service["aliases"] == [
        {"dns_name": "orders", "port": 80},
        {"dns_name": "orders.shop.local", "port": 80},
    ]
    assert service["endpoints"] == [
        {
            "id": "a1173316d40a45dea9b1a2c3d4e5f601/http",
            "address": "10.0.1.163",
            "port": 15100,
            "protocol": "http",
            "zone": "us-east-1b",
            "state": "ready",
            "weight": 100,
            "task_definition": "orders:7",
            "deployment": "ecs-svc/8646900195280463695",
            "created_at": "2026-11-22T11:02:13.877Z",
            "since": "2026-11-22T11:02:34.325Z",
        }
    ]

    assert handle(event("fargate_running"), store, lookups, NOW) is metric_names.EVENTS_STALE
    assert not publisher.publish(NAMESPACE, changes[NAMESPACE]).is_new

    handle(event("fargate_draining"), store, lookups, NOW)
    publisher.publish(NAMESPACE, changes[NAMESPACE])
    assert published(store)["services"][0]["endpoints"][0]["state"] == "draining"

    handle(event("fargate_stopped"), store, lookups, NOW)
    publisher.publish(NAMESPACE, changes_of(aws.stream_records(dynamodb_endpoint, table))[NAMESPACE])
    document = published(store)
    assert document["revision"] == 3
    assert document["services"][0]["endpoints"] == []


def test_every_event_of_a_life_is_published(store: Store, lookups: Lookups) -> None:
    publisher = Publisher(store, clock=lambda: NOW, pause=lambda _: None)
    states, declared = [], []
    for each in life("0123456789abcdef"):
        handle(each, store, lookups, NOW)
        changes = {"dynamodb": {"Keys": {"pk": {"S": f"NAMESPACE#{NAMESPACE}"}, "sk": {"S": "TASK#0123456789abcdef"}}}}
        publisher.publish(NAMESPACE, changes_of([changes])[NAMESPACE])
        services = published(store)["services"]
        states.append([endpoint["state"] for service in services for endpoint in service["endpoints"]])
        declared.append(len(services))
    assert declared == [0, 0, 0, 1, 1, 1, 1, 1], "a service is what a task that runs says"
    assert states == [[], [], [], ["ready"], ["draining"], ["draining"], ["draining"], []]
