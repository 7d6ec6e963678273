"""Publications that were lost are found by a sweep and made up for."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.publications import Publications
from registry.domain.layout import part_of
from registry.domain.snapshot import Document, assemble
from registry.dynamodb.keys import HEAD, namespace_key, part_key
from registry.dynamodb.snapshot_store import SnapshotStore
from registry.dynamodb.store import Store
from registry.publishing import Changes, Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.building import declare, record, task
from tests.support.control_plane.ecs import NAMESPACE

NOW = task("aa").changed_at + 3600
log = logging.getLogger("test-publications")


def warn(message: str, **keys: Any) -> None:
    log.warning(message, extra=keys)


@pytest.fixture
def publisher(store: Store) -> Publisher:
    return Publisher(store, clock=lambda: NOW, pause=lambda _: None)


@pytest.fixture
def repair(store: Store, publisher: Publisher) -> Callable[[], int]:
    def run() -> int:
        return Publications(store, publisher, NOW, warn).repair(NAMESPACE, list(store.tasks.all(NAMESPACE))).drift

    return run


@pytest.fixture
def delete(dynamodb_endpoint: str, table: str) -> Callable[[str], None]:
    def run(sk: str) -> None:
        key = {"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": sk}}
        aws.client("dynamodb", dynamodb_endpoint).delete_item(TableName=table, Key=key)

    return run


def populate(store: Store, publisher: Publisher) -> None:
    """Two tasks of orders and one of stock, published."""
    for name in ("orders", "stock"):
        declare(store, name)
    for each in (task("aa"), task("bb"), task("cc", "stock")):
        store.tasks.apply(each)
    publisher.publish(NAMESPACE, Changes(frozenset({"aa", "bb", "cc"})))


def document(store: Store) -> Document:
    head = store.snapshots.head(NAMESPACE, consistent=True)
    assert head is not None
    head, parts = store.snapshots.read(NAMESPACE, head)
    return assemble(NAMESPACE, head, parts.values())


def endpoints(store: Store) -> dict[str, list[str]]:
    services = document(store)["services"]
    return {each["name"]: [endpoint["id"][:2] for endpoint in each["endpoints"]] for each in services}


def test_nothing_is_done_where_nothing_was_lost(
    store: Store, publisher: Publisher, repair: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    populate(store, publisher)
    assert repair() == 0
    assert (document(store)["revision"], caplog.records) == (1, [])


def test_lost_starts_stops_and_policies_are_published(
    store: Store, publisher: Publisher, repair: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    populate(store, publisher)
    store.tasks.apply(record("fargate_stopped", task_arn=task("aa").task_arn))
    store.tasks.apply(task("dd"))
    store.services.set_policy(NAMESPACE, "stock", {"retries": {"count": 1}}, None, now=1.0)
    assert repair() == 2
    assert endpoints(store) == {"orders": ["bb", "dd"], "stock": ["cc"]}
    assert document(store)["services"][1]["policy"] == {"retries": {"count": 1}}
    (line,) = caplog.records
    assert (line.__dict__["tasks"], line.__dict__["services"]) == (["aa", "dd"], ["orders", "stock"])
    assert repair() == 0


def test_a_lost_policy_alone_is_published(store: Store, publisher: Publisher, repair: Callable[[], int]) -> None:
    populate(store, publisher)
    store.services.set_policy(NAMESPACE, "stock", {"retries": {"count": 1}}, None, now=1.0)
    assert repair() == 1
    assert document(store)["revision"] == 2


def test_an_endpoint_whose_item_is_gone_goes(
    store: Store, publisher: Publisher, repair: Callable[[], int], delete: Callable[[str], None]
) -> None:
    populate(store, publisher)
    delete("TASK#aa")
    assert repair() == 1
    assert endpoints(store) == {"orders": ["bb"], "stock": ["cc"]}


def test_a_namespace_that_was_never_published_is(store: Store, publisher: Publisher, repair: Callable[[], int]) -> None:
    declare(store)
    store.tasks.apply(task("aa"))
    assert repair() == 1
    assert endpoints(store) == {"orders": ["aa"]}


@pytest.mark.parametrize("lost", [HEAD, part_key(part_of("orders"), 0)])
def test_a_lost_head_or_part_is_built_anew(
    store: Store, publisher: Publisher, repair: Callable[[], int], delete: Callable[[str], None], lost: str
) -> None:
    populate(store, publisher)
    delete(lost)
    fresh = Publications(_reopened(store), publisher, NOW, warn)
    assert fresh.repair(NAMESPACE, list(store.tasks.all(NAMESPACE))).drift > 0
    assert endpoints(store) == {"orders": ["aa", "bb"], "stock": ["cc"]}
    assert repair() == 0


def _reopened(store: Store) -> Store:
    """The same table as another process sees it, with nothing remembered."""
    return dataclasses.replace(store, snapshots=SnapshotStore(store.snapshots._table))


def test_many_losses_are_published_some_at_a_time(
    store: Store, publisher: Publisher, repair: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    populate(store, publisher)
    monkeypatch.setattr("reconciler.publications.TASKS_AT_ONCE", 2)
    for each in ("dd", "ee", "ff"):
        store.tasks.apply(task(each))
    assert repair() == 3
    assert endpoints(store)["orders"] == ["aa", "bb", "dd", "ee", "ff"]
    assert document(store)["revision"] == 3


def restored(store: Store) -> tuple[Publisher, Callable[[], int]]:
    """Return the publisher and the reconciler's repair for a copy of the table, which has another stream."""
    publisher = Publisher(store, clock=lambda: NOW, pause=lambda _: None, stream="of the restored table")
    publications = Publications(store, publisher, NOW, warn)
    return publisher, lambda: publications.repair(NAMESPACE, list(store.tasks.all(NAMESPACE))).drift


def test_a_restored_snapshot_has_another_epoch_though_nothing_changed(store: Store, publisher: Publisher) -> None:
    populate(store, publisher)
    before = document(store)
    _, repair = restored(store)
    assert repair() == 0
    after = document(store)
    assert after["epoch"] != before["epoch"]
    assert after == before | {"epoch": after["epoch"]}
    assert repair() == 0
    assert document(store) == after, "once is enough"


def test_a_change_of_a_restored_table_is_published_in_its_own_epoch(store: Store, publisher: Publisher) -> None:
    populate(store, publisher)
    before = document(store)["epoch"]
    store.tasks.apply(task("dd", "stock"))
    anew, _ = restored(store)
    published = anew.publish(NAMESPACE, Changes(frozenset({"dd"})))
    after = document(store)
    assert published.is_new
    assert (after["revision"], after["epoch"] == before) == (2, False)
    assert endpoints(store)["stock"] == ["cc", "dd"]


def test_a_snapshot_of_an_earlier_release_gets_an_epoch(
    store: Store, publisher: Publisher, repair: Callable[[], int]
) -> None:
    populate(store, publisher)
    heads = store.snapshots._table.heads
    heads(namespace_key(NAMESPACE), HEAD).update(actions=[heads.epoch.remove(), heads.stream.remove()])
    assert "epoch" not in document(store)
    assert repair() == 0
    assert document(store)["epoch"]
