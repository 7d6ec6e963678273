from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pynamodb.exceptions import UpdateError

from publisher.app import publish_all
from registry.domain.layout import Head, part_of
from registry.domain.snapshot import Document, Part, assemble
from registry.dynamodb.keys import HEAD, namespace_key, part_key, service_key
from registry.dynamodb.snapshot_store import SnapshotStore
from registry.dynamodb.store import Store, open_store
from registry.publishing import ATTEMPTS, Changes, PublishConflictError, Publisher
from tests.support.control_plane import aws, building
from tests.support.control_plane.building import record, task
from tests.support.control_plane.ecs import NAMESPACE
from tests.support.control_plane.schemas import check

NOW = 1_795_345_200.0
Delete = Callable[[str], None]


@pytest.fixture
def publisher(store: Store) -> Publisher:
    return Publisher(store, clock=lambda: NOW, pause=lambda _: None)


@pytest.fixture
def delete(dynamodb_endpoint: str, table: str) -> Delete:
    """Delete an item of the namespace by its sort key."""

    def run(sk: str) -> None:
        key = {"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": sk}}
        aws.client("dynamodb", dynamodb_endpoint).delete_item(TableName=table, Key=key)

    return run


def declare(store: Store, *names: str, **arguments: Any) -> None:
    for name in names:
        building.declare(store, name, **arguments)


def tasks(*ids: str) -> Changes:
    return Changes(tasks=frozenset(ids))


def services(*names: str) -> Changes:
    return Changes(services=frozenset(names))


def document(store: Store) -> Document:
    head = store.snapshots.head(NAMESPACE, consistent=True)
    assert head is not None
    found = assemble(NAMESPACE, *_read(store, head))
    check("snapshot", found)
    return found


def _read(store: Store, head: Head) -> tuple[Head, list[Part]]:
    head, parts = store.snapshots.read(NAMESPACE, head)
    return head, list(parts.values())


def endpoints(store: Store) -> dict[str, list[str]]:
    return {
        each["name"]: [endpoint["id"].partition("/")[0] for endpoint in each["endpoints"]]
        for each in document(store)["services"]
    }


def test_a_namespace_of_clients_only_has_a_snapshot(store: Store, publisher: Publisher) -> None:
    store.tasks.apply(task("aa", endpoints=()))
    published = publisher.publish(NAMESPACE, tasks("aa"))
    assert (published.revision, published.is_new) == (1, True)
    assert document(store)["services"] == []
    assert not publisher.publish(NAMESPACE, tasks("aa")).is_new


def test_the_first_publication_has_everything(store: Store, publisher: Publisher) -> None:
    declare(store, "orders", "stock")
    store.tasks.apply(task("aa"))
    store.tasks.apply(task("bb", "stock"))
    publisher.publish(NAMESPACE, tasks("aa"))
    assert endpoints(store) == {"orders": ["aa"], "stock": ["bb"]}


def test_later_ones_change_what_changed(store: Store, publisher: Publisher) -> None:
    declare(store, "orders", "stock")
    store.tasks.apply(task("aa"))
    publisher.publish(NAMESPACE, tasks("aa"))
    store.tasks.apply(task("cc"))
    store.tasks.apply(task("bb", "stock"))
    publisher.publish(NAMESPACE, tasks("bb", "cc"))
    assert endpoints(store) == {"orders": ["aa", "cc"], "stock": ["bb"]}
    store.tasks.apply(record("fargate_stopped", task_arn=task("aa").task_arn))
    publisher.publish(NAMESPACE, tasks("aa"))
    assert endpoints(store) == {"orders": ["cc"], "stock": ["bb"]}
    revisions = {each["name"]: each["revision"] for each in document(store)["services"]}
    assert (document(store)["revision"], revisions) == (3, {"orders": 3, "stock": 2})


def test_the_last_endpoints_end_leaves_the_name_and_vip(store: Store, publisher: Publisher) -> None:
    declare(store, "orders")
    store.tasks.apply(task("aa"))
    publisher.publish(NAMESPACE, tasks("aa"))
    store.tasks.apply(record("fargate_stopped", task_arn=task("aa").task_arn))
    publisher.publish(NAMESPACE, tasks("aa"))
    (service,) = document(store)["services"]
    assert (service["vip"], service["endpoints"]) == ("127.254.0.2", [])


def test_a_tombstone_without_endpoints_leaves_the_services_its_stream_record_names(
    store: Store, publisher: Publisher
) -> None:
    declare(store, "orders")
    store.tasks.apply(task("aa"))
    publisher.publish(NAMESPACE, tasks("aa"))
    store.tasks.apply(record("fargate_stopped", task_arn=task("aa").task_arn, endpoints=()))
    publisher.publish(NAMESPACE, Changes(frozenset({"aa"}), frozenset({"orders"})))
    assert endpoints(store) == {"orders": []}


def test_an_item_that_expired_has_no_endpoint(store: Store, publisher: Publisher, delete: Delete) -> None:
    declare(store, "orders")
    store.tasks.apply(task("aa"))
    publisher.publish(NAMESPACE, tasks("aa"))
    delete("TASK#aa")
    publisher.publish(NAMESPACE, Changes(frozenset({"aa"}), frozenset({"orders"})))
    assert endpoints(store) == {"orders": []}


def test_a_policy_is_published(store: Store, publisher: Publisher) -> None:
    declare(store, "orders")
    store.tasks.apply(task("aa"))
    publisher.publish(NAMESPACE, tasks("aa"))
    store.services.set_policy(NAMESPACE, "orders", {"retries": {"count": 1}}, None, now=1.0)
    assert publisher.publish(NAMESPACE, services("orders")).revision == 2
    (service,) = document(store)["services"]
    assert service["policy"] == {"retries": {"count": 1}}
    assert endpoints(store) == {"orders": ["aa"]}


def test_a_removed_service_is_told_as_removed(store: Store, publisher: Publisher, delete: Delete) -> None:
    declare(store, "orders", "stock")
    publisher.publish(NAMESPACE, services("orders"))
    delete(service_key("orders"))
    publisher.publish(NAMESPACE, services("orders"))
    assert list(endpoints(store)) == ["stock"]
    head = store.snapshots.head(NAMESPACE, consistent=True)
    assert head is not None
    head, parts = store.snapshots.read(NAMESPACE, head, newer_than=1)
    assert assemble(NAMESPACE, head, parts.values(), since=1)["removed"] == ["orders"]


def test_a_task_whose_service_is_not_registered_is_no_endpoint(store: Store, publisher: Publisher) -> None:
    store.tasks.apply(task("aa", "ghost"))
    publisher.publish(NAMESPACE, tasks("aa"))
    assert document(store)["services"] == []


@pytest.mark.parametrize("damage", ["missing", "undecodable"])
def test_a_broken_part_is_built_anew(
    store: Store, publisher: Publisher, delete: Delete, dynamodb_endpoint: str, table: str, damage: str
) -> None:
    declare(store, "orders")
    for each in ("aa", "bb"):
        store.tasks.apply(task(each))
    publisher.publish(NAMESPACE, tasks("aa"))
    number = part_of("orders")
    if damage == "missing":
        delete(part_key(number, 0))
    else:
        aws.client("dynamodb", dynamodb_endpoint).update_item(
            TableName=table,
            Key={"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": part_key(number, 0)}},
            UpdateExpression="SET #d = :d",
            ExpressionAttributeNames={"#d": "data"},
            ExpressionAttributeValues={":d": {"B": b"damaged"}},
        )
    fresh = open_store(table, aws.REGION, dynamodb_endpoint)
    assert publisher.publish(NAMESPACE, tasks("bb")).is_new
    assert endpoints(fresh) == {"orders": ["aa", "bb"]}
    head = fresh.snapshots.latest(NAMESPACE)
    assert head is not None
    part = fresh.snapshots.stored(NAMESPACE, head, [number])[number].part
    assert part.floor == 2  # no delta for readers from before this publication


def test_a_lost_head_is_built_anew_above_what_readers_know(store: Store, publisher: Publisher, delete: Delete) -> None:
    declare(store, "orders", "stock")
    for each in ("aa", "bb", "cc"):
        store.tasks.apply(task(each))
        publisher.publish(NAMESPACE, tasks(each))
    before = document(store)
    delete(HEAD)
    assert publisher.publish(NAMESPACE, tasks("aa")).revision > before["revision"]
    assert endpoints(store) == {"orders": ["aa", "bb", "cc"], "stock": []}


def test_publishers_at_the_same_time_lose_nothing(store: Store, dynamodb_endpoint: str, table: str) -> None:
    """Ten tasks of two services, each published by one of four publishers, each with its own connection."""
    declare(store, "orders", "stock")
    ids = [f"{number:02d}" for number in range(10)]
    rounds = random.Random(3)  # noqa: S311 - a repeatable shuffle
    publishers = [Publisher(open_store(table, aws.REGION, dynamodb_endpoint), clock=lambda: NOW) for _ in range(4)]

    def work(place: int) -> int:
        each = ids[place]
        store.tasks.apply(task(each, "orders" if place % 2 else "stock"))
        return publishers[place % 4].publish(NAMESPACE, tasks(each)).conflicts

    order = list(range(10))
    rounds.shuffle(order)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, order))
    found = endpoints(store)
    assert found == {"orders": ids[1::2], "stock": ids[0::2]}
    assert document(store)["revision"] <= 10


class _Overtaken(SnapshotStore):
    """A snapshot store before whose first writes another publisher writes."""

    others: list[Callable[[], Any]]

    def publish(self, *arguments: Any, **more: Any) -> bool:
        if self.others:
            self.others.pop(0)()
        return super().publish(*arguments, **more)


def overtaken(dynamodb_endpoint: str, table: str, others: list[Callable[[], Any]]) -> Publisher:
    store = open_store(table, aws.REGION, dynamodb_endpoint)
    snapshots = _Overtaken(store.snapshots._table)
    snapshots.others = others
    return Publisher(dataclasses.replace(store, snapshots=snapshots), lambda: NOW, lambda _: None)


def test_an_overtaken_publisher_reads_all_again(
    store: Store, publisher: Publisher, dynamodb_endpoint: str, table: str
) -> None:
    declare(store, "orders")
    store.tasks.apply(task("aa", address="10.0.0.1"))
    publisher.publish(NAMESPACE, tasks("aa"))
    store.tasks.apply(task("aa", address="10.0.0.2", version=4))

    def other() -> None:
        store.tasks.apply(task("aa", address="10.0.0.3", version=5))
        store.tasks.apply(task("bb"))
        publisher.publish(NAMESPACE, tasks("aa", "bb"))

    slow = overtaken(dynamodb_endpoint, table, [other])
    published = slow.publish(NAMESPACE, tasks("aa"))
    assert (published.conflicts, published.is_new) == (1, False)
    (service,) = document(store)["services"]
    assert [each["address"] for each in service["endpoints"]] == ["10.0.0.3", "10.0.1.163"]


def test_a_publisher_that_always_loses_gives_up(
    store: Store, publisher: Publisher, dynamodb_endpoint: str, table: str
) -> None:
    declare(store, "orders")
    publisher.publish(NAMESPACE, services("orders"))
    numbers = iter(range(100))

    def other() -> None:
        each = f"x{next(numbers)}"
        store.tasks.apply(task(each))
        publisher.publish(NAMESPACE, tasks(each))

    store.tasks.apply(task("aa"))
    slow = overtaken(dynamodb_endpoint, table, [other] * ATTEMPTS)
    failed = publish_all(slow, {NAMESPACE: tasks("aa")})
    assert isinstance(failed[NAMESPACE], PublishConflictError)


def noise(name: str, size: int) -> Document:
    """Return a policy of so many bytes that gzip cannot shrink."""
    return {"noise": random.Random(name).randbytes(size // 2).hex()}  # noqa: S311


def test_a_service_that_does_not_fit_costs_that_service(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Its neighbours in the part go on, and it stays as it was published last."""
    names = [f"s{number}" for number in range(200) if part_of(f"s{number}") == part_of("s0")][:3]
    small = dataclasses.replace(store, snapshots=SnapshotStore(store.snapshots._table, largest_part=4000))
    publisher = Publisher(small, lambda: NOW, lambda _: None)
    declare(store, *names)
    for each in names:
        store.tasks.apply(task(f"t{each}", each))
    publisher.publish(NAMESPACE, services(*names))
    store.services.set_policy(NAMESPACE, names[0], noise("large", 12_000), None, now=1.0)
    store.services.set_policy(NAMESPACE, names[1], noise("small", 500), None, now=1.0)
    failed = publish_all(publisher, {NAMESPACE: services(*names)})
    assert failed == {}
    found = {each["name"]: each for each in document(small)["services"]}
    assert (found[names[0]]["policy"], found[names[1]]["policy"]) == ({}, noise("small", 500))
    assert endpoints(small) == {name: [f"t{name}"] for name in sorted(names)}
    assert "too large" in caplog.text
    again = publisher.publish(NAMESPACE, services(*names))
    assert not again.is_new
    assert again.left_out == {names[0]}
    store.services.set_policy(NAMESPACE, names[0], noise("large", 600), None, now=1.0)
    assert publisher.publish(NAMESPACE, services(names[0])).left_out == frozenset()


def test_a_first_publication_leaves_out_what_does_not_fit(store: Store) -> None:
    small = dataclasses.replace(store, snapshots=SnapshotStore(store.snapshots._table, largest_part=4000))
    declare(store, "orders", "stock")
    store.services.set_policy(NAMESPACE, "orders", noise("large", 12_000), None, now=1.0)
    published = Publisher(small, lambda: NOW, lambda _: None).publish(NAMESPACE, services("orders"))
    assert published.left_out == {"orders"}
    assert list(endpoints(small)) == ["stock"]


def test_one_namespaces_trouble_does_not_keep_others_back(store: Store, dynamodb_endpoint: str, table: str) -> None:
    def trouble() -> None:
        raise UpdateError("for a test")

    store.tasks.apply(task("aa", endpoints=(), namespace="b.local"))
    slow = overtaken(dynamodb_endpoint, table, [trouble])
    failed = publish_all(slow, {"a.local": tasks("zz"), "b.local": tasks("aa")})
    assert list(failed) == ["a.local"]
    assert store.snapshots.head("b.local", consistent=True) is not None
