from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from registry.models import Table, namespace_key, part_key
from registry.snapshot import Head, Part
from registry.snapshot_store import PartTooLargeError, SnapshotBusyError, SnapshotStore, StoredPart
from registry.store import Store
from tests.support import aws
from tests.support.ecs import NAMESPACE

FIRST = Head(revision=1, generated_at=1000.5, parts={3: 1, 40: 1})


def part(name: str, revision: int = 1) -> Part:
    return Part({name: {"name": name, "revision": revision}})


def publish_first(store: Store) -> None:
    assert store.snapshots.publish(NAMESPACE, None, FIRST, {3: part("a"), 40: part("b")})


def test_nothing_is_there_before_the_first_publication(store: Store) -> None:
    assert store.snapshots.head(NAMESPACE, consistent=True) is None
    assert store.snapshots.parts(NAMESPACE, [1, 2], consistent=True) == {}


def test_what_is_published_is_read_back(store: Store) -> None:
    publish_first(store)
    assert store.snapshots.head(NAMESPACE, consistent=False) == FIRST
    assert store.snapshots.read(NAMESPACE, FIRST) == (FIRST, {3: part("a"), 40: part("b")})
    assert store.snapshots.parts(NAMESPACE, [3, 4], consistent=True) == {3: StoredPart(1, part("a"))}


def test_only_the_newer_or_the_wanted_parts_are_read(store: Store) -> None:
    publish_first(store)
    second = Head(2, 1001.0, {3: 1, 40: 2})
    assert store.snapshots.publish(NAMESPACE, FIRST, second, {40: part("b", 2)})
    assert store.snapshots.read(NAMESPACE, second, newer_than=1) == (second, {40: part("b", 2)})
    assert store.snapshots.read(NAMESPACE, second, numbers=frozenset({3, 7})) == (second, {3: part("a")})


def test_two_publishers_cannot_both_follow_one_head(store: Store) -> None:
    publish_first(store)
    second = Head(2, 1001.0, {3: 2, 40: 1})
    assert store.snapshots.publish(NAMESPACE, FIRST, second, {3: part("winner", 2)})
    assert not store.snapshots.publish(NAMESPACE, FIRST, second, {3: part("loser", 2)})
    assert not store.snapshots.publish(NAMESPACE, None, second, {3: part("loser", 2)})
    assert store.snapshots.read(NAMESPACE, second)[1][3] == part("winner", 2)


def test_a_reader_with_an_old_head_gets_the_new_snapshot(store: Store) -> None:
    publish_first(store)
    second = Head(2, 1001.0, {3: 1, 40: 2})
    store.snapshots.publish(NAMESPACE, FIRST, second, {40: part("b", 2)})
    assert store.snapshots.read(NAMESPACE, FIRST) == (second, {3: part("a"), 40: part("b", 2)})


def test_a_reader_that_never_sees_a_whole_snapshot_says_so(store: Store, dynamodb_endpoint: str, table: str) -> None:
    publish_first(store)
    aws.client("dynamodb", dynamodb_endpoint).delete_item(
        TableName=table, Key={"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": part_key(3)}}
    )
    with pytest.raises(SnapshotBusyError, match="no whole snapshot in 5 attempts"):
        store.snapshots.read(NAMESPACE, FIRST)


def test_a_damaged_part_is_read_as_none(store: Store, dynamodb_endpoint: str, table: str) -> None:
    publish_first(store)
    aws.client("dynamodb", dynamodb_endpoint).put_item(
        TableName=table,
        Item={
            "pk": {"S": namespace_key(NAMESPACE)},
            "sk": {"S": part_key(3)},
            "revision": {"N": "1"},
            "data": {"B": b"damaged"},
        },
    )
    assert store.snapshots.parts(NAMESPACE, [3], consistent=True) == {3: StoredPart(1, None)}


def test_parts_are_read_once_while_they_do_not_change(dynamodb_endpoint: str, table: str) -> None:
    asked: list[list[int]] = []

    class Counting(SnapshotStore):
        def parts(self, namespace: str, numbers: Iterable[int], consistent: bool) -> dict[int, StoredPart]:
            numbers = list(numbers)
            asked.append(numbers)
            return super().parts(namespace, numbers, consistent)

    snapshots = Counting(Table(table, aws.REGION, dynamodb_endpoint))
    snapshots.publish(NAMESPACE, None, FIRST, {3: part("a"), 40: part("b")})
    snapshots.read(NAMESPACE, FIRST)
    snapshots.read(NAMESPACE, FIRST)
    second = Head(2, 1001.0, {3: 1, 40: 2})
    snapshots.publish(NAMESPACE, FIRST, second, {40: part("b", 2)})
    assert snapshots.read(NAMESPACE, second)[1] == {3: part("a"), 40: part("b", 2)}
    assert asked == [[3, 40], [], [40]]


def test_all_64_parts_are_one_transaction(store: Store) -> None:
    head = Head(1, 1000.0, dict.fromkeys(range(64), 1))
    assert store.snapshots.publish(NAMESPACE, None, head, {number: part(f"s{number}") for number in range(64)})
    assert len(store.snapshots.read(NAMESPACE, head)[1]) == 64


def test_a_part_that_no_item_holds_is_refused_before_the_write(store: Store) -> None:
    noise = random.Random(7).randbytes(450_000).hex()  # noqa: S311 - bytes that gzip cannot shrink enough
    large = Part({"a": {"noise": noise}})
    with pytest.raises(PartTooLargeError, match=r"part 3: \d+ of 399000 bytes"):
        store.snapshots.publish(NAMESPACE, None, replace(FIRST, parts={3: 1}), {3: large})
    assert store.snapshots.head(NAMESPACE, consistent=True) is None
