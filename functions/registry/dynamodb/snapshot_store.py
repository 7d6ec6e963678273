"""Snapshots in DynamoDB. IO. How they are laid out is said in `layout.py`.

Rules of writing, which keep readers from seeing half a snapshot without a transaction, which costs twice:
1. Blobs are written first, to slots that HEAD does not point to, HEAD last. The write of HEAD demands that it is
   as the writer read it.
2. A slot takes only a greater revision than it holds. So a late writer cannot write over what HEAD points to by
   now, and slot and revision together name one blob for ever.
3. A blob above `CHUNK_BYTES` is spread over up to `CHUNKS` items of its slot, all at its revision. The first says
   how many they are.
4. A writer that died leaves slots with the revision that is next, and they refuse that of others. `fence`
   then makes HEAD's `next_revision` a greater one, after which the other cannot write HEAD, be it slow or dead.
5. A new HEAD has a new epoch (`lineage.py`), and so has one that was copied into another table.

Rule of reading: a blob at another revision than HEAD says was written after HEAD was read, so all is read again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from registry.domain.layout import Head, Place, Places, largest_changes, pack, place_after, unpack
from registry.domain.part_changes import decode_changes, encode_changes
from registry.domain.snapshot import Part, PartError, decode_part, encode_part
from registry.dynamodb.keys import HEAD, changes_key, chunk_keys, namespace_key, part_key
from registry.dynamodb.models import HeadItem, PartItem
from registry.dynamodb.table import Table, change, maybe, update_if

READ_ATTEMPTS: Final = 5
EPOCH_BYTES: Final = 6

CHUNK_BYTES: Final = 390_000  # an item may have 400 KB; the rest is for keys and attribute names
CHUNKS: Final = 4  # a namespace's items take about 1,000 KB a second, and more when they have rested
LARGEST_PART_BYTES: Final = CHUNKS * CHUNK_BYTES


class SnapshotBusyError(Exception):
    """The snapshot was published again during each attempt to read it."""


class PartTooLargeError(Exception):
    """A part (`number`) does not fit into its items."""

    def __init__(self, namespace: str, number: int, size: int, most: int) -> None:
        self.number = number
        super().__init__(f"namespace {namespace}, part {number}: {size} of {most} bytes")


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as it stands at `places`, and its base, whose blob has so many bytes."""

    places: Places
    part: Part
    base: Part
    base_bytes: int


class SnapshotStore:
    """Reads and writes HEAD, PART# and CHANGES# items. `largest_part` is in bytes."""

    def __init__(self, table: Table, largest_part: int = LARGEST_PART_BYTES) -> None:
        self._table = table
        self.largest_part = largest_part
        # The parts last read, for readers: what stands at a place never changes.
        self._cache: dict[tuple[str, int], StoredPart] = {}
        self._epochs: dict[str, str] = {}  # of what is remembered: another epoch may use a place again

    # Reading

    def head(self, namespace: str, consistent: bool) -> Head | None:
        """Return a namespace's head, None when nothing is published."""
        found = self._head(namespace, consistent)
        return found if found is not None and found.revision else None

    def latest(self, namespace: str) -> Head | None:
        """Return a namespace's head for a publisher; its revision is 0 when nothing is published."""
        return self._head(namespace, consistent=True)

    def _head(self, namespace: str, consistent: bool) -> Head | None:
        model = self._table.heads
        try:
            item = model.get(namespace_key(namespace), HEAD, consistent_read=consistent)
        except model.DoesNotExist:
            return None
        revision = int(item.revision or 0)
        return Head(
            revision=revision,
            generated_at=float(item.generated_at or 0),
            parts=unpack(maybe(item.parts) or b""),
            next_revision=int(item.next_revision or revision + 1),
            epoch=maybe(item.epoch) or "",
            stream=maybe(item.stream) or "",
            questions=maybe(item.questions) or "",
        )

    def read(
        self, namespace: str, head: Head, newer_than: int = 0, numbers: frozenset[int] | None = None
    ) -> tuple[Head, dict[int, Part]]:
        """Return a head and the parts of exactly its revision; `head` is the one read before.

        With `newer_than` only parts that changed after that revision, with `numbers` only those parts.
        Raises SnapshotBusyError.
        """
        current: Head | None = head
        for attempt in range(READ_ATTEMPTS):
            if attempt:
                current = self.head(namespace, consistent=True)
                if current is None:
                    break
            assert current is not None  # noqa: S101 - for mypy: it is only None in the branch above
            wanted = [
                number
                for number, places in current.parts.items()
                if places.revision > newer_than and (numbers is None or number in numbers)
            ]
            found = self._remembered(namespace, current, wanted, consistent=attempt > 0)
            if len(found) == len(wanted):
                return current, {number: stored.part for number, stored in found.items()}
        raise SnapshotBusyError(f"namespace {namespace}: no whole snapshot in {READ_ATTEMPTS} attempts to read it")

    def readable(self, namespace: str, head: Head) -> dict[int, Part]:
        """Return all parts of the head, or of a later one; parts that are missing or damaged are left out."""
        found: dict[int, StoredPart] = {}
        for _ in range(READ_ATTEMPTS):
            found = self._remembered(namespace, head, head.parts, consistent=True)
            if len(found) == len(head.parts):
                break
            later = self.head(namespace, consistent=True)
            if later is None or later == head:
                break
            head = later
        return {number: stored.part for number, stored in found.items()}

    def _remembered(
        self, namespace: str, head: Head, numbers: Iterable[int], consistent: bool
    ) -> dict[int, StoredPart]:
        """Return what of the parts stands as the head says, and remember it."""
        if self._epochs.get(namespace) != head.epoch:
            self._cache = {key: stored for key, stored in self._cache.items() if key[0] != namespace}
            self._epochs[namespace] = head.epoch
        cached = {number: self._cache.get((namespace, number)) for number in numbers}
        found = self.stored(namespace, head, cached, consistent, {n: part for n, part in cached.items() if part})
        self._cache.update(((namespace, number), stored) for number, stored in found.items())
        return found

    def stored(
        self,
        namespace: str,
        head: Head,
        numbers: Iterable[int],
        consistent: bool = True,
        known: Mapping[int, StoredPart] | None = None,
    ) -> dict[int, StoredPart]:
        """Return those of the parts that stand as the head says; overtaken, missing and damaged ones are left out.

        Blobs of `known` parts are not read again.
        """
        known = known or {}
        found: dict[int, StoredPart] = {}
        wanted: set[str] = set()
        for number in numbers:
            places, old = head.parts[number], known.get(number)
            if old is not None and old.places == places:
                found[number] = old
                continue
            if old is None or old.places.base != places.base:
                wanted.add(part_key(number, places.base.slot))
            if places.changes is not None:
                wanted.add(changes_key(number, places.changes.slot))
        blobs = self._blobs(namespace, wanted, consistent)
        for number in numbers:
            if number not in found:
                stored = _stored(number, head.parts[number], blobs, known.get(number))
                if stored is not None:
                    found[number] = stored
        return found

    def _blobs(self, namespace: str, keys: Iterable[str], consistent: bool) -> dict[str, tuple[int, bytes]]:
        """Return revision and data of blobs by their sort keys; missing ones and halves are left out."""
        first = self._items(namespace, keys, consistent)
        counts = {key: int(maybe(item.chunks) or 1) for key, item in first.items()}
        more = self._items(namespace, (each for key in first for each in chunk_keys(key, counts[key])[1:]), consistent)
        found: dict[str, tuple[int, bytes]] = {}
        for key, item in first.items():
            chunks = [item, *(more[each] for each in chunk_keys(key, counts[key])[1:] if each in more)]
            revisions = {int(each.revision or 0) for each in chunks}
            if len(chunks) == counts[key] and len(revisions) == 1:
                found[key] = (revisions.pop(), b"".join(maybe(each.data) or b"" for each in chunks))
        return found

    def _items(self, namespace: str, keys: Iterable[str], consistent: bool) -> dict[str, PartItem]:
        wanted = [(namespace_key(namespace), key) for key in sorted(keys)]
        items = self._table.parts.batch_get(wanted, consistent_read=consistent) if wanted else ()
        return {item.sk: item for item in items}

    # Writing

    def begin(self, namespace: str, stream: str) -> Head | None:
        """Create a head where there is none, with a new epoch; return None when another has done so.

        Its next revision is above all that were ever published here: if a head was lost, readers have seen them.
        """
        model = self._table.parts
        highest = 0
        for prefix in ("PART#", "CHANGES#"):
            for item in model.query(
                namespace_key(namespace),
                model.sk.startswith(prefix),
                consistent_read=True,
                attributes_to_get=["pk", "sk", "revision"],
            ):
                highest = max(highest, int(item.revision or 0))
        head = Head(0, 0.0, {}, highest + 1, secrets.token_hex(EPOCH_BYTES), stream)
        heads = self._table.heads
        free: Condition = heads.revision.does_not_exist() & heads.next_revision.does_not_exist()
        actions = [heads.next_revision.set(head.next_revision), *self._lineage(head)]
        return head if update_if(self._item(namespace), actions, free) else None

    def renew(self, namespace: str, known: Head, stream: str) -> Head | None:
        """Give a head a new epoch, since it comes from another table; return None when it has changed meanwhile."""
        renewed = replace(known, epoch=secrets.token_hex(EPOCH_BYTES), stream=stream)
        return renewed if update_if(self._item(namespace), self._lineage(renewed), self._is(known)) else None

    def _lineage(self, head: Head) -> list[Action]:
        heads = self._table.heads
        return [heads.epoch.set(head.epoch), change(heads.stream, head.stream or None)]

    def fence(self, namespace: str, known: Head) -> Head | None:
        """Take the next revision away from a publisher that seems to be dead; return None when it is alive."""
        moved = replace(known, next_revision=known.next_revision + 1)
        action = self._table.heads.next_revision.set(moved.next_revision)
        return moved if update_if(self._item(namespace), [action], self._is(known)) else None

    def publish(
        self, namespace: str, known: Head, at: float, parts: Mapping[int, Part], stored: Mapping[int, StoredPart]
    ) -> bool:
        """Publish parts that changed as revision `known.next_revision`; return False when another came between.

        `stored` has the parts as they are, without those of which there is nothing left to go by.
        Raises PartTooLargeError.
        """
        places = dict(known.parts)
        blobs: list[tuple[str, bytes]] = []
        for number, part in sorted(parts.items()):
            old = stored.get(number)
            data = None if old is None else _changes(old, part)
            before = places.get(number)
            if data is not None and before is not None:
                changes = place_after(before.changes, known.next_revision)
                places[number] = replace(before, changes=changes)
                blobs.append((changes_key(number, changes.slot), data))
            else:
                base = place_after(None if before is None else before.base, known.next_revision)
                places[number] = Places(base)
                blobs.append((part_key(number, base.slot), self._base(namespace, number, part)))
        if not all(self._write(namespace, key, data, known.next_revision) for key, data in blobs):
            return False
        heads = self._table.heads
        actions: list[Action] = [
            heads.revision.set(known.next_revision),
            heads.next_revision.set(known.next_revision + 1),
            heads.generated_at.set(at),
            heads.parts.set(pack(places)),
        ]
        return update_if(self._item(namespace), actions, self._is(known))

    def _base(self, namespace: str, number: int, part: Part) -> bytes:
        data = encode_part(part)
        if len(data) > self.largest_part:
            raise PartTooLargeError(namespace, number, len(data), self.largest_part)
        return data

    def _write(self, namespace: str, key: str, data: bytes, revision: int) -> bool:
        """Write a blob; return False when a slot has a later one."""
        model = self._table.parts
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        count = len(chunks) if len(chunks) > 1 else None
        older: Condition = model.revision.does_not_exist() | (model.revision < revision)
        return all(
            update_if(
                model(namespace_key(namespace), each),
                [model.revision.set(revision), model.data.set(chunk), change(model.chunks, None if place else count)],
                older,
            )
            for place, (each, chunk) in enumerate(zip(chunk_keys(key, len(chunks)), chunks, strict=True))
        )

    def _item(self, namespace: str) -> HeadItem:
        return self._table.heads(namespace_key(namespace), HEAD)

    def _is(self, known: Head) -> Condition:
        """Return the condition that HEAD is the one that is known."""
        heads = self._table.heads
        same: Condition = heads.next_revision == known.next_revision
        same &= heads.revision == known.revision if known.revision else heads.revision.does_not_exist()
        same &= heads.epoch == known.epoch if known.epoch else heads.epoch.does_not_exist()
        return same


def _stored(
    number: int, places: Places, blobs: Mapping[str, tuple[int, bytes]], known: StoredPart | None
) -> StoredPart | None:
    """Return a part made of its blobs, None when one is missing, damaged or of another revision."""
    try:
        if known is not None and known.places.base == places.base:
            base, size = known.base, known.base_bytes
        else:
            data = _blob(blobs, part_key(number, places.base.slot), places.base)
            base, size = decode_part(data), len(data)
        if places.changes is None:
            return StoredPart(places, base, base, size)
        changes = _blob(blobs, changes_key(number, places.changes.slot), places.changes)
        return StoredPart(places, decode_changes(changes, base), base, size)
    except PartError:
        return None  # readers read again, the publisher builds the part again from the tasks


def _blob(blobs: Mapping[str, tuple[int, bytes]], key: str, place: Place) -> bytes:
    revision, data = blobs.get(key, (0, b""))
    if revision != place.revision:
        raise PartError(f"{key} is at revision {revision}, not {place.revision}")
    return data


def _changes(stored: StoredPart, part: Part) -> bytes | None:
    """Return the blob of a part's changes, None when a new base is cheaper."""
    largest = largest_changes(stored.base_bytes)
    data = encode_changes(stored.base, part) if largest else b""
    return data if 0 < len(data) <= largest else None
