"""A function that dies between any two calls leaves readers with a whole snapshot, and the next one makes up for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from registrar.app import handle
from registry.aws.ecs import Lookups
from registry.domain.snapshot import Document, assemble
from registry.dynamodb.store import Store, open_store
from registry.publishing import Changes, Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.building import declare, task
from tests.support.control_plane.ecs import NAMESPACE, FakeEcs, life, task_definition
from tests.support.control_plane.schemas import check
from tests.support.stepping import Crash, before_each_call

# Many histories: moto, which copies its table for each transaction, would take most of the time.

NOW = 1_795_345_200.0


@contextmanager
def crash_at(store: Store, place: int, after: bool) -> Iterator[list[str]]:
    """Die at the place-th call of DynamoDB, before it is made or when it is done; yield the calls made."""
    made: list[str] = []

    def act(call: str) -> None:
        if len(made) == place + after:
            raise Crash
        made.append(call)

    with before_each_call(store, act):
        yield made
        if len(made) == place + after:
            raise Crash  # after the last one


def document(endpoint: str, table: str) -> Document | None:
    """Return what a reader sees that knows nothing yet."""
    store = open_store(table, aws.REGION, endpoint)
    head = store.snapshots.head(NAMESPACE, consistent=True)
    if head is None:
        return None
    head, parts = store.snapshots.read(NAMESPACE, head)
    found = assemble(NAMESPACE, head, parts.values())
    check("snapshot", found)
    return found


def everything(store: Store) -> Changes:
    return Changes(
        frozenset(each.task_id for each in store.tasks.all(NAMESPACE)), frozenset(store.services.all(NAMESPACE))
    )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_publisher_that_dies_leaves_the_old_or_the_new_snapshot(
    store: Store, dynamodb_endpoint: str, table: str, after: bool
) -> None:
    names = ["orders", "stock", "mail"]
    for name in names:
        declare(store, name)
    # Of this one the changes are written, of the others the whole part, since that is small.
    store.services.set_policy(NAMESPACE, "orders", {"noise": random.Random(1).randbytes(4000).hex()}, None, now=1.0)  # noqa: S311
    for place, name in enumerate(names):
        store.tasks.apply(task(f"t{place}", name))
    publisher = Publisher(store, lambda: NOW, lambda _: None)
    publisher.publish(NAMESPACE, everything(store))
    place = 0
    while True:
        # Each round changes an endpoint in every service, so that several parts and the head are written.
        for number, name in enumerate(names):
            store.tasks.apply(task(f"t{number}", name, address=f"10.1.{place}.{number}", version=10 + place))
        old = document(dynamodb_endpoint, table)
        changes = everything(store)
        try:
            with crash_at(store, place, after) as made:
                publisher.publish(NAMESPACE, changes)
            break
        except Crash:
            found = document(dynamodb_endpoint, table)
            published = made[-1:] == ["UpdateItem HEAD"]
            assert (found == old) is not published, made
            publisher.publish(NAMESPACE, changes)
            found = document(dynamodb_endpoint, table)
            assert found is not None
            addresses = {each["endpoints"][0]["address"] for each in found["services"]}
            assert addresses == {f"10.1.{place}.{number}" for number in range(3)}
        place += 1
    assert [each.partition("#")[0] for each in made] == [
        "GetItem HEAD",
        *["BatchGetItem"] * 4,  # tasks, parts, services, aliases
        "GetItem NAMESPACE",  # its rules
        "UpdateItem PART",
        "UpdateItem PART",
        "UpdateItem CHANGES",
        "UpdateItem HEAD",
    ]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_registrar_that_dies_is_made_up_for_by_the_next_try(
    store: Store, dynamodb_endpoint: str, table: str, after: bool
) -> None:
    services = [
        {"portName": "http", "discoveryName": name, "clientAliases": [{"port": port, "dnsName": "web"}]}
        for name, port in (("orders", 80), ("stock", 80))
    ]
    ecs = FakeEcs(task_definition(services=services))
    lookups = Lookups(lambda: ecs, lambda: ecs)
    place = 0
    while True:
        fresh = open_store(table, aws.REGION, dynamodb_endpoint)
        each = life(f"t{place}", minute=place % 60)[3]
        try:
            with crash_at(fresh, place, after):
                handle(each, fresh, lookups, NOW)
            break
        except Crash:
            handle(each, open_store(table, aws.REGION, dynamodb_endpoint), lookups, NOW)
        place += 1
        found = store.services.all(NAMESPACE)
        assert {
            name: (len(each.wanted) - len(each.conflicts), len(each.conflicts)) for name, each in found.items()
        } == {
            "orders": (1, 0),
            "stock": (0, 1),
        }
        assert len({each.vip for each in found.values()}) == 2
        assert len(list(store.tasks.all(NAMESPACE))) == place
    assert place >= 5
