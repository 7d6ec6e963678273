"""How a namespace's snapshot is spread over items of the table. Pure.

Rules:
1. The services are spread over 64 parts by their names, since an item may not exceed 400 KB.
2. A part is stored as two blobs of gzip: its *base*, which is the whole part as it once was, and its *changes* since
   then. A change of one task writes the changes, which are small, and not the base; when they have grown, the
   part gets a new base and has no changes. Sizes are balanced so that both cost about the same over time.
3. Each blob has two items, its slots, and only the one that HEAD does not point to is ever written. Until HEAD
   is written, readers see the old snapshot whole.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from registry.domain.lineage import Version

PARTS: Final = 64
SLOTS: Final = 2

# DynamoDB charges a write by whole KB of the item.
UNIT_BYTES: Final = 1024
# What an item has besides its blob: keys and names of attributes, a number, a namespace of common length.
ITEM_BYTES: Final = 128
# About what the change of an endpoint adds to the compressed changes of a part.
CHANGE_BYTES: Final = 100

# A place is packed into five bytes: revisions up to 5 * 10**11, and HEAD below one KB.
_PLACE_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob stands: its slot (0 or 1), and the revision for which it was written there."""

    slot: int
    revision: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where a part stands. `changes` is None when the base says it all."""

    base: Place
    changes: Place | None = None

    @property
    def revision(self) -> int:
        """The revision in which the part last changed."""
        return self.base.revision if self.changes is None else self.changes.revision


@dataclass(frozen=True, slots=True)
class Head:
    """What a namespace's snapshot is made of: `parts` says where each part (by its number) stands.

    `next_revision` is for whoever publishes next. It is greater than `revision` by more than one when publishers
    died. `revision` is 0 when nothing is published yet. `stream` names the table's stream when `epoch` was made.
    `questions` are for sidecars (`questions.py`) and no part of the snapshot.
    """

    revision: int
    generated_at: float
    parts: Mapping[int, Places]
    next_revision: int
    epoch: str = ""
    stream: str = ""
    questions: str = field(default="", compare=False)

    @property
    def version(self) -> Version:
        """What readers of this head have."""
        return Version(self.epoch, self.revision)


def part_of(service: str) -> int:
    """Return the number of the part that a service is in."""
    return zlib.crc32(service.encode()) % PARTS


def place_after(known: Place | None, revision: int) -> Place:
    """Return where a blob is to be written when the present one stands at `known`."""
    return Place(0 if known is None else (known.slot + 1) % SLOTS, revision)


def largest_changes(base_bytes: int) -> int:
    """Return how large the changes of a part may grow (bytes, compressed) before its base is written again.

    With changes up to `x` bytes a write costs about `x / 2` for them and `base * CHANGE_BYTES / x` for the new
    base that comes every `x / CHANGE_BYTES` changes: least at the root of `2 * base * CHANGE_BYTES`. 0 for a
    base that costs no more than changes would.
    """
    if base_bytes + ITEM_BYTES <= UNIT_BYTES:
        return 0
    units = max(1, round(math.sqrt(2 * base_bytes * CHANGE_BYTES) / UNIT_BYTES))
    return units * UNIT_BYTES - ITEM_BYTES


def pack(parts: Mapping[int, Places]) -> bytes:
    """Return the places of all parts as HEAD holds them."""
    packed = bytearray()
    for number in range(PARTS):
        places = parts.get(number)
        for place in (None, None) if places is None else (places.base, places.changes):
            value = 0 if place is None else place.revision * SLOTS + place.slot
            packed += value.to_bytes(_PLACE_BYTES, "big")
    return bytes(packed)


def unpack(packed: bytes) -> dict[int, Places]:
    """Return the places of the parts that HEAD holds."""
    places = [
        None if not value else Place(value % SLOTS, value // SLOTS)
        for value in (
            int.from_bytes(packed[start : start + _PLACE_BYTES], "big") for start in range(0, len(packed), _PLACE_BYTES)
        )
    ]
    return {
        number: Places(base, changes)
        for number, (base, changes) in enumerate(zip(places[::2], places[1::2], strict=True))
        if base is not None
    }
