"""What the feed says: how far the changes reach back, and that a reader within them has all."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.feed import (
    CHANGES_BYTES,
    LEAST_STEPS,
    MOST_BYTES,
    MOST_STEPS,
    WHOLE_SECONDS,
    FeedHead,
    changes_of,
    document_key,
    recent,
)
from registry.domain.layout import Head, Place, Places, part_of
from registry.domain.lineage import Version
from registry.domain.snapshot import Document, Part, decompress, update_part

NAMESPACE = "shop"
EPOCH = "a1"


def document(name: str, noise: int = 0) -> Document:
    endpoints = [{"id": random.Random(f"{name} {noise}").randbytes(noise).hex()}] if noise else []  # noqa: S311
    return {"name": name, "revision": 0, "endpoints": endpoints}


class Registry:
    """A namespace whose services change one at a time."""

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}
        self.places: dict[int, Places] = {}
        self.revision = 0

    def change(self, name: str, found: Document | None) -> None:
        number = part_of(name)
        new = update_part(self.parts.get(number, Part()), {name: found}, self.revision + 1)
        if new is not None:
            self.revision += 1
            self.parts[number] = new
            self.places[number] = Places(Place(0, self.revision))

    @property
    def head(self) -> Head:
        return Head(self.revision, 0.0, dict(self.places), self.revision + 1, EPOCH)

    def feed(self) -> tuple[int, Document | None]:
        changes = changes_of(NAMESPACE, self.head, {number: self.parts[number] for number in recent(self.head)})
        return changes.since, decompress(changes.data) if changes.data else None

    def services(self) -> dict[str, Document]:
        return {name: each for part in self.parts.values() for name, each in part.services.items()}


def applied(services: Mapping[str, Document], changes: Document) -> dict[str, Document]:
    found = {name: each for name, each in services.items() if name not in changes["removed"]}
    return found | {each["name"]: each for each in changes["services"]}


names = st.sampled_from([f"s{number}" for number in range(40)])
steps = st.lists(st.tuples(names, st.one_of(st.none(), st.integers(0, 9_000))), min_size=1, max_size=30)


@given(steps)
def test_a_reader_at_any_distance_within_the_changes_has_all_that_the_registry_has(
    changes: list[tuple[str, int | None]],
) -> None:
    registry = Registry()
    seen: dict[int, dict[str, Document]] = {}
    for name, noise in changes:
        registry.change(name, None if noise is None else document(name, noise))
        seen[registry.revision] = registry.services()
    if not registry.revision:
        return
    since, found = registry.feed()
    assert since <= registry.revision
    for revision in range(since, registry.revision):
        assert found is not None
        assert (found["epoch"], found["since"], found["revision"]) == (EPOCH, since, registry.revision)
        assert applied(seen[revision], found) == registry.services(), revision


def test_changes_reach_back_as_far_as_half_a_unit_reads() -> None:
    registry = Registry()
    for number in range(12):
        registry.change(f"s{number}", document(f"s{number}", 500))
    changes = changes_of(NAMESPACE, registry.head, registry.parts)
    assert len(changes.data) <= CHANGES_BYTES
    assert 1 < changes.since < registry.revision - 2
    assert len(decompress(changes.data)["services"]) == registry.revision - changes.since


def test_the_newest_change_may_be_larger_but_not_without_a_bound() -> None:
    registry = Registry()
    registry.change("a", document("a"))
    registry.change("b", document("b", CHANGES_BYTES * 2))
    changes = changes_of(NAMESPACE, registry.head, registry.parts)
    assert CHANGES_BYTES < len(changes.data) <= MOST_BYTES
    assert changes.since == 1
    registry.change("c", document("c", MOST_BYTES * 2))
    changes = changes_of(NAMESPACE, registry.head, registry.parts)
    assert (changes.since, changes.data) == (3, b""), "readers are sent to the API"


def test_the_newest_changes_may_be_larger_together_for_a_reader_who_comes_once_in_a_while() -> None:
    registry = Registry()
    registry.change("small", document("small"))
    for number in range(LEAST_STEPS + 1):
        registry.change(f"s{number}", document(f"s{number}", MOST_BYTES // (LEAST_STEPS + 1)))
    changes = changes_of(NAMESPACE, registry.head, registry.parts)
    assert CHANGES_BYTES < len(changes.data) <= MOST_BYTES
    assert changes.since == registry.revision - LEAST_STEPS
    registry.change("a", document("a", MOST_BYTES * 2 // 3))
    changes = changes_of(NAMESPACE, registry.head, registry.parts)
    assert changes.since == registry.revision - 1, "as many as fit"


def test_changes_reach_back_no_further_than_their_bound_of_steps() -> None:
    registry = Registry()
    of_one_part = (name for number in range(10_000) if part_of(name := f"s{number}") == 0)
    for name in itertools.islice(of_one_part, MOST_STEPS * 2):
        registry.change(name, document(name))
    assert changes_of(NAMESPACE, registry.head, registry.parts).since == registry.revision - MOST_STEPS


def test_one_service_that_changes_again_and_again_stands_there_once() -> None:
    registry = Registry()
    for number in range(MOST_STEPS * 2):
        registry.change("a", {**document("a"), "policy": number})
    assert registry.feed()[0] == 1


def test_what_was_forgotten_is_not_said() -> None:
    registry = Registry()
    for number in range(6):
        registry.change("a", {**document("a"), "policy": number})
    number = part_of("a")
    part = registry.parts[number]
    registry.parts[number] = Part(part.services, part.removed, floor=4)
    assert changes_of(NAMESPACE, registry.head, registry.parts).since == 4


def test_parts_that_were_not_read_end_the_changes() -> None:
    registry = Registry()
    for number in range(40):
        registry.change(f"s{number}", document(f"s{number}"))
    read = recent(registry.head)
    others = [places.revision for number, places in registry.places.items() if number not in read]
    since, _ = registry.feed()
    assert others
    assert since == max(others)


def head(**changes: Any) -> FeedHead:
    return replace(FeedHead(Version(EPOCH, 9), 5, 1, "b", 6, 0.0), **changes)


def test_a_whole_document_serves_until_the_changes_begin_after_it_or_it_is_old() -> None:
    version = Version(EPOCH, 12)
    assert head().has_whole(version, 6, 10.0)
    assert not head().has_whole(version, 7, 10.0)
    assert not head().has_whole(version, 6, WHOLE_SECONDS)
    assert not head().has_whole(Version("b2", 12), 6, 10.0)
    assert not head(whole=None).has_whole(version, 6, 10.0)


def test_the_key_of_a_whole_document_names_epoch_and_revision() -> None:
    assert document_key(NAMESPACE, Version(EPOCH, 9)) == "snapshots/shop/a1-9.json.gz"
