"""Services and namespaces that nobody uses any more go, and callers learn it."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.publications import Publications
from registry.domain.leftovers import EMPTY_SECONDS, IDLE_SECONDS, QUARANTINE_SECONDS
from registry.domain.lineage import Version
from registry.domain.owners import NO_RULES, NamespaceRules
from registry.domain.snapshot import Document, assemble
from registry.dynamodb.keys import NAMESPACES, namespace_key
from registry.dynamodb.store import Store
from registry.publishing import Changes, Publisher
from tests.support.control_plane.building import declare, record, service, task
from tests.support.control_plane.ecs import NAMESPACE
from tests.support.control_plane.memory_table import MemoryTable
from tests.support.stepping import before_each_call

NOW = task("aa").changed_at + 3600.0


class Registry:
    """One table, a clock, and sweeps of its only namespace."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.store = self.table.open()
        self.now = NOW
        self.said: list[dict[str, Any]] = []

    def run(self, task_id: str, name: str) -> None:
        """A task of a service begins to run."""
        self.store.tasks.ensure_namespace(NAMESPACE, self.now)
        declare(self.store, name)
        self.store.tasks.apply(task(task_id, name))

    def stop(self, task_id: str) -> None:
        self.store.tasks.apply(record("fargate_stopped", task_arn=task(task_id).task_arn))

    def forget_tombstones(self) -> None:
        """What the table's TTL does after some days."""
        for pk, sk in [key for key in self.table.items if key[1].startswith("TASK#")]:
            del self.table.items[pk, sk]

    def sweep(self, after: float = 60.0) -> int:
        """Sweep some time later, and once more for what the first one removed. Return how many services went."""
        self.now += after
        return self._repair() + self._repair()

    def _repair(self) -> int:
        publisher = Publisher(self.store, lambda: self.now, lambda _: None)
        publications = Publications(self.store, publisher, self.now, self._say)
        return publications.repair(NAMESPACE, list(self.store.tasks.all(NAMESPACE))).removed

    def _say(self, message: str, **keys: Any) -> None:
        self.said.append({"message": message, **keys})

    def document(self, since: int | None = None) -> Document:
        head = self.store.snapshots.head(NAMESPACE, consistent=True)
        assert head is not None
        head, parts = self.store.snapshots.read(NAMESPACE, head)
        return assemble(NAMESPACE, head, parts.values(), since)

    def published(self) -> dict[str, str]:
        """Addresses of the services that callers know."""
        return {each["name"]: each["vip"] for each in self.document()["services"]}

    def left(self) -> list[str]:
        return sorted(sk for _, sk in self.table.items)


@pytest.fixture
def registry() -> Registry:
    """Two services, and orders has lost its only task."""
    made = Registry()
    made.run("aa", "orders")
    made.run("bb", "stock")
    made.sweep()
    made.stop("aa")
    made.sweep()
    return made


def test_a_service_without_tasks_goes_after_a_week_with_its_aliases(registry: Registry) -> None:
    assert registry.sweep(IDLE_SECONDS - 60.0) == 0
    assert registry.published().keys() == {"orders", "stock"}
    revision = registry.document()["revision"]
    assert registry.sweep(61.0) == 1
    assert registry.published().keys() == {"stock"}
    assert registry.document(since=revision)["removed"] == ["orders"]
    assert set(registry.store.services.aliases.all(NAMESPACE).values()) == {"stock"}
    assert "SERVICE#orders" not in registry.left()
    assert not [key for key in registry.left() if key.startswith("ALIAS#") and "orders" in key]
    assert {"message": "services without tasks are removed", "namespace": NAMESPACE, "services": ["orders"]} in (
        registry.said
    )


def test_a_service_that_gets_a_task_in_time_stays_and_its_week_begins_anew(registry: Registry) -> None:
    registry.sweep(IDLE_SECONDS - 120.0)
    registry.run("cc", "orders")
    registry.sweep()
    registry.stop("cc")
    assert registry.sweep(120.0) == 0
    assert registry.sweep(IDLE_SECONDS - 120.0) == 0
    assert registry.sweep(120.0) == 1


def test_a_service_with_a_policy_stays_until_it_is_forgotten(registry: Registry) -> None:
    registry.store.services.set_policy(NAMESPACE, "orders", {"retries": {"count": 1}}, None, now=1.0)
    assert registry.sweep(2 * IDLE_SECONDS) == 0
    registry.store.services.set_policy(NAMESPACE, "orders", {}, None, now=1.0)
    assert registry.sweep() == 1


def test_a_service_that_is_declared_during_the_sweep_is_not_removed(registry: Registry) -> None:
    other = registry.table.open()

    def declare_first(call: str) -> None:
        if call.startswith("TransactWriteItems"):
            declare(other, "orders")

    with before_each_call(registry.store, declare_first):
        assert registry.sweep(IDLE_SECONDS) == 0
    assert registry.published().keys() == {"orders", "stock"}


def test_a_task_that_begins_to_live_during_the_sweep_keeps_its_service(registry: Registry) -> None:
    publisher = Publisher(registry.store, lambda: registry.now, lambda _: None)
    registry.now += IDLE_SECONDS
    before = list(registry.store.tasks.all(NAMESPACE))
    registry.store.tasks.apply(task("cc", "orders"))
    repaired = Publications(registry.store, publisher, registry.now, registry._say).repair(NAMESPACE, before)
    assert repaired.removed == 0


def test_an_address_is_nobody_elses_for_a_day_and_its_own_services_at_once(registry: Registry) -> None:
    (vip,) = (each["vip"] for each in registry.document()["services"] if each["name"] == "orders")
    registry.sweep(IDLE_SECONDS)
    orders = registry.table.items[namespace_key(NAMESPACE), f"VIP#{vip}"]
    assert float(orders["released_at"]["N"]) == registry.now
    assert float(orders["expires_at"]["N"]) == int(registry.now + QUARANTINE_SECONDS)

    def address(name: str, after: float) -> str:
        """The address that a service gets that is registered so long after orders was removed."""
        fresh = MemoryTable()
        fresh.items = dict(registry.table.items)
        store = fresh.open()
        store.services.declare(NAMESPACE, name, service(name).declarations[0], registry.now + after, task("dd", name))
        found = store.services.get(NAMESPACE, name)
        assert found is not None
        return found.vip

    assert address("mail", QUARANTINE_SECONDS - 60.0) != vip
    assert address("mail", QUARANTINE_SECONDS + 60.0) == vip
    assert address("orders", 60.0) == vip


def test_a_name_that_is_free_again_belongs_to_the_next_who_claims_it(registry: Registry) -> None:
    registry.sweep(IDLE_SECONDS)
    registry.store.tasks.apply(task("cc", "orders", group="service:other", task_role=None))
    new = task("cc", "orders", group="service:other", task_role=None)
    registry.store.services.declare(NAMESPACE, "orders", service("orders").declarations[0], registry.now, new)
    found = registry.store.services.get(NAMESPACE, "orders")
    assert found is not None
    assert [owner.rpartition("/")[2] for owner in found.owners] == ["other"]


def test_a_namespace_without_tasks_services_and_rules_goes_with_its_snapshot(registry: Registry) -> None:
    registry.stop("bb")
    registry.sweep()
    registry.sweep(IDLE_SECONDS)
    assert registry.store.tasks.namespaces() == [NAMESPACE], "tombstones are there"
    assert registry.published() == {}
    registry.forget_tombstones()
    registry.store.owners.set_rules(NAMESPACE, NamespaceRules(clusters=("example",)), None, registry.now)
    registry.sweep(EMPTY_SECONDS)
    assert registry.store.tasks.namespaces() == [NAMESPACE], "it has rules"
    registry.store.owners.set_rules(NAMESPACE, NO_RULES, None, registry.now)
    registry.sweep()
    assert registry.store.tasks.namespaces() == []
    assert [key for key in registry.left() if not key.startswith("VIP#")] == []


def test_a_namespace_that_a_task_has_just_joined_stays() -> None:
    registry = Registry()
    registry.store.tasks.ensure_namespace(NAMESPACE, registry.now)
    registry.sweep(EMPTY_SECONDS - 60.0)
    assert registry.store.tasks.namespaces() == [NAMESPACE]
    registry.store.tasks.ensure_namespace(NAMESPACE, registry.now)
    registry.sweep(EMPTY_SECONDS - 60.0)
    assert registry.store.tasks.namespaces() == [NAMESPACE]
    registry.sweep(120.0)
    assert registry.store.tasks.namespaces() == []


def test_a_registrar_that_comes_during_the_removal_of_a_namespace_keeps_it() -> None:
    registry = Registry()
    registry.store.tasks.ensure_namespace(NAMESPACE, registry.now)
    publisher = Publisher(registry.store, lambda: registry.now, lambda _: None)
    publisher.publish(NAMESPACE, Changes())
    other = registry.table.open()

    def join_first(call: str) -> None:
        if call.startswith("DeleteItem"):
            other.tasks.ensure_namespace(NAMESPACE, registry.now)
            declare(other, "orders")
            other.tasks.apply(task("aa"))
            Publisher(other, lambda: registry.now, lambda _: None).publish(NAMESPACE, Changes(frozenset({"aa"})))

    with before_each_call(registry.store, join_first):
        registry.sweep(EMPTY_SECONDS)
    registry.sweep()
    assert (NAMESPACES, namespace_key(NAMESPACE)) in registry.table.items
    assert registry.published().keys() == {"orders"}


def test_a_namespace_that_returns_has_another_epoch(registry: Registry) -> None:
    def version(store: Store) -> Version:
        head = store.snapshots.head(NAMESPACE, consistent=True)
        assert head is not None
        return head.version

    before = version(registry.store)
    registry.stop("bb")
    registry.sweep()
    registry.sweep(IDLE_SECONDS)
    registry.forget_tombstones()
    registry.sweep(EMPTY_SECONDS)
    registry.run("cc", "orders")
    registry.sweep()
    assert version(registry.store).epoch != before.epoch
    assert registry.published().keys() == {"orders"}


def test_a_sweep_removes_a_bounded_number_and_the_next_one_goes_on() -> None:
    registry = Registry()
    declare(registry.store, "preview-000")
    for (pk, sk), item in list(registry.table.items.items()):
        for number in range(1, 250):
            name = f"preview-{number:03d}"
            vip = {"vip": {"S": f"127.254.7.{number}"}, "service": {"S": name}}
            copied = {field: vip.get(field, value) for field, value in item.items()}
            key = sk.replace("preview-000", name) if "preview" in sk else f"VIP#127.254.7.{number}"
            registry.table.items[pk, key] = {**copied, "sk": {"S": key}}
    registry.sweep()
    registry.sweep()
    registry.now += IDLE_SECONDS
    assert [registry._repair() for _ in range(3)] == [200, 50, 0]
    assert registry.store.services.all(NAMESPACE) == {}
