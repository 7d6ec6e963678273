"""Snapshots in DynamoDB. IO.

Rules:
1. HEAD and the parts that changed are written in one transaction, conditional on HEAD being at the revision
   that the writer read. Readers therefore see the old snapshot or the new one.
2. A reader that finds a part at another revision than HEAD says reads all again, consistently: parts and HEAD
   are read by several calls, and a publisher may have come in between.
"""

# PynamoDB's maps have no annotations on some of their methods.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pynamodb.exceptions import TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.transactions import TransactWrite

from registry.models import HEAD, Table, maybe, namespace_key, part_key
from registry.snapshot import Head, Part, PartError, decode_part, encode_part

READ_ATTEMPTS: Final = 5

# An item may have 400 KB; the rest is for keys and attribute names.
LARGEST_PART_BYTES: Final = 399_000

_CONFLICTS: Final = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


class SnapshotBusyError(Exception):
    """The snapshot was published anew during each attempt to read it."""


class PartTooLargeError(Exception):
    """A part does not fit into one item."""


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as stored; `part` is None when it cannot be decoded."""

    revision: int
    part: Part | None


class SnapshotStore:
    """Reads and writes HEAD and PART# items."""

    def __init__(self, table: Table) -> None:
        self._table = table
        # The parts last read, for readers: a part never changes without its revision.
        self._cache: dict[tuple[str, int], StoredPart] = {}

    def head(self, namespace: str, consistent: bool) -> Head | None:
        """Return a namespace's head, None when nothing was ever published."""
        model = self._table.heads
        try:
            item = model.get(namespace_key(namespace), HEAD, consistent_read=consistent)
        except model.DoesNotExist:
            return None
        if maybe(item.revision) is None:
            return None
        parts = maybe(item.parts)
        return Head(
            revision=int(item.revision),
            generated_at=float(item.generated_at or 0),
            parts={int(number): int(at) for number, at in (parts.as_dict() if parts is not None else {}).items()},
        )

    def parts(self, namespace: str, numbers: Iterable[int], consistent: bool) -> dict[int, StoredPart]:
        """Return stored parts by number; missing ones are left out."""
        keys = [(namespace_key(namespace), part_key(number)) for number in sorted(set(numbers))]
        found: dict[int, StoredPart] = {}
        items = self._table.parts.batch_get(keys, consistent_read=consistent) if keys else ()
        for item in items:
            part: Part | None = None
            try:
                if maybe(item.data) is not None:
                    part = decode_part(item.data)
            except PartError:
                part = None  # the publisher builds it anew from the tasks
            found[int(item.sk.partition("#")[2])] = StoredPart(int(item.revision or 0), part)
        return found

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
            wanted = {
                number: at
                for number, at in current.parts.items()
                if at > newer_than and (numbers is None or number in numbers)
            }
            found = self._cached(namespace, wanted)
            missing = [number for number in wanted if number not in found]
            found |= self.parts(namespace, missing, consistent=attempt > 0)
            whole = {
                number: stored.part
                for number, stored in found.items()
                if stored.part is not None and stored.revision == wanted[number]
            }
            if len(whole) == len(wanted):
                self._cache.update(((namespace, number), stored) for number, stored in found.items())
                return current, whole
        raise SnapshotBusyError(f"namespace {namespace}: no whole snapshot in {READ_ATTEMPTS} attempts to read it")

    def readable(self, namespace: str, head: Head) -> dict[int, Part]:
        """Return those parts of a head that can be read, whatever their revision; damaged ones are left out."""
        found = self._cached(namespace, head.parts)
        found |= self.parts(namespace, [number for number in head.parts if number not in found], consistent=True)
        self._cache.update(((namespace, number), stored) for number, stored in found.items())
        return {number: stored.part for number, stored in found.items() if stored.part is not None}

    def _cached(self, namespace: str, wanted: Mapping[int, int]) -> dict[int, StoredPart]:
        cached = {number: self._cache.get((namespace, number)) for number in wanted}
        return {
            number: stored
            for number, stored in cached.items()
            if stored is not None and stored.revision == wanted[number]
        }

    def publish(self, namespace: str, known: Head | None, head: Head, parts: Mapping[int, Part]) -> bool:
        """Write a new head and the parts that changed; return False when `known` is no longer the head.

        Raises PartTooLargeError.
        """
        encoded = {number: encode_part(part) for number, part in parts.items()}
        for number, data in encoded.items():
            if len(data) > LARGEST_PART_BYTES:
                raise PartTooLargeError(
                    f"namespace {namespace}, part {number}: {len(data)} of {LARGEST_PART_BYTES} bytes"
                )
        heads, stored = self._table.heads, self._table.parts
        key = namespace_key(namespace)
        condition: Condition = heads.revision.does_not_exist() if known is None else heads.revision == known.revision
        try:
            with TransactWrite(connection=self._table.connection) as transaction:
                transaction.update(
                    heads(key, HEAD),
                    actions=[
                        heads.revision.set(head.revision),
                        heads.generated_at.set(head.generated_at),
                        heads.parts.set({f"{number:02d}": at for number, at in sorted(head.parts.items())}),
                    ],
                    condition=condition,
                )
                for number, data in sorted(encoded.items()):
                    transaction.update(
                        stored(key, part_key(number)),
                        actions=[stored.revision.set(head.revision), stored.data.set(data)],
                    )
        except TransactWriteError as error:
            reasons = {reason.code for reason in error.cancellation_reasons if reason}
            if reasons and reasons <= _CONFLICTS:
                return False
            raise
        return True
