from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from registry.domain.layout import PARTS, Head, Place, Places
from registry.domain.snapshot import Part, encode_part, endpoints_of, service_document
from registry.dynamodb.keys import changes_key, chunk_keys, namespace_key, part_key
from registry.dynamodb.snapshot_store import (
    CHUNK_BYTES,
    LARGEST_PART_BYTES,
    PartTooLargeError,
    SnapshotBusyError,
    SnapshotStore,
)
from registry.dynamodb.store import Store
from registry.dynamodb.table import Table
from tests.support.control_plane import aws
from tests.support.control_plane.building import service, task
from tests.support.control_plane.ecs import NAMESPACE

NOW = 1000.5
STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/tramo/stream/2026-11-22T12:00:00.000"


def part(name: str, revision: int = 1, bytes_of_noise: int = 0) -> Part:
    noise = random.Random(name).randbytes(bytes_of_noise).hex()  # noqa: S311 - bytes that gzip cannot shrink
    document = {"name": name, "revision": revision, "noise": noise, "endpoints": []}
    return Part({name: document})


def large(revision: int = 1, **fields: Any) -> Part:
    """A part whose base costs more than its changes."""
    found = part("large", bytes_of_noise=6000)
    return Part({"large": {**found.services["large"], "revision": revision, **fields}})


def latest(store: Store) -> Head:
    found = store.snapshots.latest(NAMESPACE) or store.snapshots.begin(NAMESPACE, STREAM)
    assert found is not None
    return found


def publish(store: Store, parts: Mapping[int, Part], known: Head | None = None) -> bool:
    known = known or latest(store)
    stored = store.snapshots.stored(NAMESPACE, known, parts.keys() & known.parts.keys())
    return store.snapshots.publish(NAMESPACE, known, NOW, parts, stored)


def publish_first(store: Store) -> Head:
    assert publish(store, {3: part("a"), 40: part("b")})
    return latest(store)


def read(store: Store, **arguments: Any) -> dict[int, Part]:
    return store.snapshots.read(NAMESPACE, latest(store), **arguments)[1]


def test_nothing_is_there_before_the_first_publication(store: Store) -> None:
    assert store.snapshots.head(NAMESPACE, consistent=True) is None
    assert store.snapshots.latest(NAMESPACE) is None


def test_a_head_that_was_only_begun_is_none_for_readers(store: Store) -> None:
    begun = store.snapshots.begin(NAMESPACE, STREAM)
    assert begun is not None
    assert begun == Head(0, 0.0, {}, 1, begun.epoch, STREAM)
    assert store.snapshots.begin(NAMESPACE, STREAM) is None
    assert store.snapshots.head(NAMESPACE, consistent=True) is None
    assert store.snapshots.latest(NAMESPACE) == begun


def test_two_writers_who_find_no_head_have_one_epoch(store: Store) -> None:
    """So do two who find one that comes from another table."""
    won = store.snapshots.begin(NAMESPACE, STREAM)
    assert store.snapshots.begin(NAMESPACE, STREAM) is None
    assert won is not None
    renewed = store.snapshots.renew(NAMESPACE, won, "the stream of a restored table")
    assert store.snapshots.renew(NAMESPACE, won, "the stream of a restored table") is None
    assert renewed is not None
    assert renewed.epoch != won.epoch
    assert not store.snapshots.publish(NAMESPACE, won, NOW, {3: part("a")}, {}), "it knows the old epoch"
    assert store.snapshots.latest(NAMESPACE) == renewed


def test_what_is_published_is_read_back(store: Store) -> None:
    head = publish_first(store)
    assert head == Head(1, NOW, {3: Places(Place(0, 1)), 40: Places(Place(0, 1))}, 2, head.epoch, STREAM)
    assert store.snapshots.head(NAMESPACE, consistent=False) == head
    assert store.snapshots.read(NAMESPACE, head) == (head, {3: part("a"), 40: part("b")})
    stored = store.snapshots.stored(NAMESPACE, head, [3])
    assert {number: (each.part, each.base) for number, each in stored.items()} == {3: (part("a"), part("a"))}


def test_only_the_newer_or_the_wanted_parts_are_read(store: Store) -> None:
    publish_first(store)
    assert publish(store, {40: part("b", 2)})
    assert read(store, newer_than=1) == {40: part("b", 2)}
    assert read(store, numbers=frozenset({3, 7})) == {3: part("a")}


def test_two_publishers_cannot_both_follow_one_head(store: Store) -> None:
    head = publish_first(store)
    assert publish(store, {3: part("winner", 2)}, head)
    assert not publish(store, {3: part("loser", 2)}, head)
    assert not publish(store, {40: part("loser", 2)}, head)
    assert read(store) == {3: part("winner", 2), 40: part("b")}


def test_a_reader_with_an_old_head_gets_the_new_snapshot(store: Store) -> None:
    head = publish_first(store)
    for revision in (2, 3):
        publish(store, {40: part("b", revision)})
    assert store.snapshots.read(NAMESPACE, head) == (latest(store), {3: part("a"), 40: part("b", 3)})


def test_a_reader_with_the_head_before_finds_it_whole(store: Store) -> None:
    head = publish_first(store)
    publish(store, {40: part("b", 2)})
    assert store.snapshots.read(NAMESPACE, head) == (head, {3: part("a"), 40: part("b")})


def test_a_small_change_of_a_large_part_writes_the_changes_only(store: Store) -> None:
    publish(store, {3: large()})
    for revision in (2, 3, 4):
        assert publish(store, {3: large(revision)})
    assert latest(store).parts[3] == Places(Place(0, 1), Place(0, 4))
    assert read(store) == {3: large(4)}


def test_changes_that_have_grown_become_a_new_base(store: Store) -> None:
    publish(store, {3: large()})
    assert publish(store, {3: large(2)})
    noise = part("other", bytes_of_noise=1000).services
    grown = Part({**large(3).services, **noise})
    assert publish(store, {3: grown})
    assert latest(store).parts[3] == Places(Place(1, 3))
    assert read(store) == {3: grown}
    assert publish(store, {3: large(4)})
    assert latest(store).parts[3] == Places(Place(1, 3), Place(0, 4))
    assert read(store) == {3: large(4)}


def test_a_dead_publishers_blobs_stand_in_nobodys_way(store: Store) -> None:
    """It has written its blob, but not the head."""
    head = publish_first(store)
    assert store.snapshots._write(NAMESPACE, part_key(3, 1), b"of the dead", 2)
    assert not publish(store, {3: part("next", 2)}, head)
    fenced = store.snapshots.fence(NAMESPACE, head)
    assert fenced == replace(head, next_revision=3)
    assert read(store) == {3: part("a"), 40: part("b")}
    assert publish(store, {3: part("next", 3)}, fenced)
    assert read(store)[3] == part("next", 3)


def test_a_publisher_that_was_taken_for_dead_cannot_publish(store: Store) -> None:
    head = publish_first(store)
    assert store.snapshots.fence(NAMESPACE, head) is not None
    assert not publish(store, {40: part("slow", 2)}, head)
    assert store.snapshots.fence(NAMESPACE, head) is None
    assert read(store) == {3: part("a"), 40: part("b")}
    assert latest(store).revision == 1


def test_a_late_text_does_not_replace_what_the_head_points_to(store: Store) -> None:
    publish_first(store)
    assert publish(store, {3: part("second", 2)})
    assert latest(store).parts[3] == Places(Place(1, 2))
    assert not store.snapshots._write(NAMESPACE, part_key(3, 1), b"of a slow one", 2)
    assert read(store)[3] == part("second", 2)


def test_a_new_head_begins_above_all_blobs(store: Store, dynamodb_endpoint: str, table: str) -> None:
    publish(store, {3: large()})
    publish(store, {3: large(2)})
    store.snapshots._write(NAMESPACE, changes_key(3, 1), b"of the dead", 7)
    before = latest(store).epoch
    aws.client("dynamodb", dynamodb_endpoint).delete_item(
        TableName=table, Key={"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": "HEAD"}}
    )
    begun = store.snapshots.begin(NAMESPACE, STREAM)
    assert begun is not None
    assert (begun.next_revision, begun.epoch == before) == (8, False)


def test_a_reader_that_never_sees_a_whole_snapshot_says_so(store: Store, dynamodb_endpoint: str, table: str) -> None:
    head = publish_first(store)
    aws.client("dynamodb", dynamodb_endpoint).delete_item(
        TableName=table, Key={"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": part_key(3, 0)}}
    )
    with pytest.raises(SnapshotBusyError, match="no whole snapshot in 5 attempts"):
        store.snapshots.read(NAMESPACE, head)


@pytest.mark.parametrize("key", [part_key(3, 0), changes_key(3, 0)])
def test_a_damaged_text_is_left_out(store: Store, key: str, dynamodb_endpoint: str, table: str) -> None:
    publish(store, {3: large()})
    publish(store, {3: large(2)})
    aws.client("dynamodb", dynamodb_endpoint).update_item(
        TableName=table,
        Key={"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": key}},
        UpdateExpression="SET #d = :d",
        ExpressionAttributeNames={"#d": "data"},
        ExpressionAttributeValues={":d": {"B": b"damaged"}},
    )
    assert store.snapshots.stored(NAMESPACE, latest(store), [3]) == {}
    assert store.snapshots.readable(NAMESPACE, latest(store)) == {}


class Counting(SnapshotStore):
    """Keeps the blobs that it was asked for."""

    asked: list[list[str]]

    def _blobs(self, namespace: str, keys: Iterable[str], consistent: bool) -> dict[str, tuple[int, bytes]]:
        self.asked.append(sorted(keys))
        return super()._blobs(namespace, keys, consistent)


def test_blobs_are_read_once_while_they_do_not_change(store: Store, dynamodb_endpoint: str, table: str) -> None:
    publish(store, {3: large(), 40: part("b")})
    reader = Counting(Table(table, aws.REGION, dynamodb_endpoint))
    reader.asked = []
    for _ in range(2):
        reader.read(NAMESPACE, latest(store))
    publish(store, {3: large(2)})
    assert reader.read(NAMESPACE, latest(store))[1] == {3: large(2), 40: part("b")}
    publish(store, {40: part("b", 3)})
    assert reader.read(NAMESPACE, latest(store))[1] == {3: large(2), 40: part("b", 3)}
    assert reader.asked == [["PART#03#A", "PART#40#A"], [], ["CHANGES#03#A"], ["PART#40#B"]]


def test_all_parts_are_one_revision(store: Store) -> None:
    assert publish(store, {number: part(f"s{number}") for number in range(PARTS)})
    assert len(read(store)) == PARTS
    assert latest(store).revision == 1


def test_a_part_that_no_item_holds_is_refused_before_the_first_write(store: Store) -> None:
    too_large = part("a", bytes_of_noise=LARGEST_PART_BYTES)
    with pytest.raises(PartTooLargeError, match=r"part 3: \d+ of 1560000 bytes"):
        publish(store, {1: part("b"), 3: too_large})
    head = latest(store)
    assert (head.revision, head.parts) == (0, {})
    assert store.snapshots._blobs(NAMESPACE, [part_key(1, 0)], consistent=True) == {}


@cache
def crowded(endpoints: int) -> Part:
    """Return a part with one service of so many endpoints, which repeat no more than those of ECS do."""
    numbers = random.Random(5)  # noqa: S311 - a repeatable crowd
    one = task("aa")
    records = (
        replace(
            one,
            task_arn=f"{one.task_arn}{numbers.randbytes(16).hex()}",
            address=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
            started_at=NOW + number * 1.7,
        )
        for number in range(endpoints)
    )
    return Part({"orders": service_document(service(), (endpoints_of(each)["orders"] for each in records), 1)})


def test_a_service_of_20_000_endpoints_is_spread_over_items(store: Store) -> None:
    whole = crowded(20_000)
    assert len(encode_part(whole)) > CHUNK_BYTES
    assert publish(store, {3: whole})
    assert read(store)[3] == whole
    one_more = Part({"orders": {**whole.services["orders"], "protocol": "grpc"}})
    assert publish(store, {3: one_more})
    assert read(store)[3] == one_more


@pytest.mark.parametrize("damage", ["missing", "of another revision"])
def test_half_a_text_is_left_out(store: Store, dynamodb_endpoint: str, table: str, damage: str) -> None:
    publish(store, {3: part("a", bytes_of_noise=CHUNK_BYTES)})
    key = {"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": chunk_keys(part_key(3, 0), 2)[1]}}
    client = aws.client("dynamodb", dynamodb_endpoint)
    if damage == "missing":
        client.delete_item(TableName=table, Key=key)
    else:
        client.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET #r = :r",
            ExpressionAttributeNames={"#r": "revision"},
            ExpressionAttributeValues={":r": {"N": "9"}},
        )
    assert store.snapshots.stored(NAMESPACE, latest(store), [3]) == {}
