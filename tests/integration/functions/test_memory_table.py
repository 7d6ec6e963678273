"""The table in memory ends with the items that DynamoDB has after the same calls."""

from __future__ import annotations

import dataclasses
from typing import Any

from registry.domain.leftovers import EMPTY_SECONDS
from registry.domain.offer import Alias
from registry.domain.owners import Claim, NamespaceRules
from registry.dynamodb.store import Store
from registry.publishing import Changes, Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.building import declare, record, task
from tests.support.control_plane.ecs import NAMESPACE
from tests.support.control_plane.memory_table import MemoryTable

NOW = 1_795_345_200.0


def act(store: Store) -> list[object]:
    """Make every kind of call, and return the answers."""
    answers: list[object] = []
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    removed: list[str] = []
    declare(store, "orders")
    declare(store, "orders", name="orders:8", at=2.0)
    declare(store, "stock")
    for each in (task("aa"), task("bb", "stock"), record("fargate_stopped", task_arn=task("aa").task_arn)):
        answers.append(store.tasks.apply(each))
    answers.append(store.tasks.apply(task("aa")))
    orders = store.services.get(NAMESPACE, "orders")
    assert orders is not None
    alias = Alias("orders", 80)
    answers += [orders, store.services.shrink(NAMESPACE, orders, orders.declarations[:1], [alias])]
    answers.append(store.services.shrink(NAMESPACE, orders, orders.declarations[:1], [alias]))
    answers += [store.services.aliases.move(NAMESPACE, alias, holder, "stock") for holder in ("orders", None, None)]
    answers.append(store.services.aliases.all(NAMESPACE))
    answers.append(store.services.set_policy(NAMESPACE, "stock", {"retries": {"count": 1}}, 0, now=1.0))
    answers.append(store.services.set_allowed(NAMESPACE, "stock", ["arn:aws:iam::123456789012:role/x"], 0))
    answers.append(store.owners.set_rules(NAMESPACE, NamespaceRules(clusters=("example",)), 0, NOW))
    store.owners.refuse(NAMESPACE, Claim("stock", "arn:x", "evil:1", "no", NOW))
    answers.append(store.owners.refused(NAMESPACE, NOW))
    publisher = Publisher(store, lambda: NOW, lambda _: None)
    answers.append(
        publisher.publish(NAMESPACE, Changes(frozenset({"aa", "bb"}), frozenset({"orders", "stock"}))).revision
    )
    store.tasks.apply(record("fargate_stopped", task_arn=task("bb").task_arn))
    stock = store.services.get(NAMESPACE, "stock")
    assert stock is not None
    answers += [store.services.set_idle(NAMESPACE, stock, since) for since in (NOW, None, NOW)]
    outdated = dataclasses.replace(stock, revision=stock.revision + 1)
    answers += [store.removals.service(NAMESPACE, each, NOW) for each in (outdated, stock, stock)]
    answers.append(store.removals.namespace(NAMESPACE, NOW + 2 * EMPTY_SECONDS, removed.append))  # it has rules
    store.tasks.ensure_namespace("empty.local", NOW)
    publisher.publish("empty.local", Changes())
    answers += [
        store.removals.namespace("empty.local", NOW + after, removed.append)
        for after in (0.0, EMPTY_SECONDS, EMPTY_SECONDS)
    ]
    answers.append(removed)
    answers.append(sorted(each.task_id for each in store.tasks.all(NAMESPACE)))
    answers.append(store.services.all(NAMESPACE))
    return answers


def plain(items: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """Return items by their keys, without what is random: the epoch, and what holds it."""
    return {
        (item["pk"]["S"], item["sk"]["S"]): {name: value for name, value in item.items() if name != "epoch"}
        for item in items
    }


def test_the_table_in_memory_does_what_dynamodb_does(store: Store, dynamodb_endpoint: str, table: str) -> None:
    memory = MemoryTable()
    assert act(memory.open()) == act(store)
    found = aws.client("dynamodb", dynamodb_endpoint).scan(TableName=table)["Items"]
    assert plain(list(memory.items.values())).keys() == plain(found).keys()
