"""The feed: a namespace's version and its latest changes, in items that sidecars read by themselves. Pure.

Rules:
1. There are `COPIES` of two items each. HEAD is what a sidecar reads every second: epoch and revision, and where more
   is to be had. CHANGES is the document that the API answers to `?since=`, read only when HEAD brings news.
2. The changes reach back as far as `CHANGES_BYTES` allow, so that most reads cost half a unit. The newest
   `LEAST_STEPS` revisions may take `MOST_BYTES`: a service with a hundred endpoints fills half a unit by itself, and a
   reader that finds only the newest revision asks the API for those that came since it read. When not even the newest
   fits there are none, and readers ask the API.
3. A reader whose revision is within the changes applies them, whatever its distance: they hold whole services.
4. The whole document in the bucket is never older than where the changes begin, so the two together tell all. It is
   written again only when it would be, or when it has become `WHOLE_SECONDS` old, long before the bucket's lifecycle
   takes it away.
5. What the feed says follows from HEAD and the parts alone: publisher and reconciler write the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.domain.layout import Head
from registry.domain.lineage import Version
from registry.domain.snapshot import Part, assemble, compress

COPIES: Final = 8
"""10,000 sidecars read 5,000 units a second, and a partition of DynamoDB gives 3,000."""

CHANGES_BYTES: Final = 3_800
"""With keys and attribute names an item of 4 KB, which half a unit reads."""

MOST_BYTES: Final = 12_000
"""1.5 units. 10,000 sidecars that read it within one second take 1,900 of the 3,000 units of each copy."""

LEAST_STEPS: Final = 3
"""Revisions that come within one interval of reading while many services change: the publisher takes 0.3 s for each."""

MOST_STEPS: Final = 32
"""Revisions that the changes reach back at most: each is compressed to see whether it fits."""

RECENT_PARTS: Final = 16
"""Parts that are looked at for changes: those that changed last."""

WHOLE_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Changes:
    """All that happened after the revision `since`, as it is stored; empty when it does not fit."""

    since: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FeedHead:
    """What the HEAD of a copy says.

    `whole` is the revision of the whole document in the bucket, None when there is none; `whole_at` is when it was
    written. `seconds` is how often sidecars shall read, `since` where the changes begin.
    """

    version: Version
    since: int
    seconds: int
    bucket: str = ""
    whole: int | None = None
    whole_at: float = 0.0

    def has_whole(self, version: Version, since: int, now: float) -> bool:
        """Return whether its whole document serves changes that begin at `since`, and stays for long enough."""
        if self.whole is None or self.version.epoch != version.epoch:
            return False
        return self.whole >= since and now - self.whole_at < WHOLE_SECONDS


def document_key(namespace: str, version: Version) -> str:
    """Return the key of a whole document in the bucket."""
    return f"snapshots/{namespace}/{version}.json.gz"


def recent(head: Head) -> frozenset[int]:
    """Return the numbers of the parts that `changes_of` needs."""
    numbers = sorted(head.parts, key=lambda number: (head.parts[number].revision, number), reverse=True)
    return frozenset(numbers[:RECENT_PARTS])


def changes_of(namespace: str, head: Head, parts: Mapping[int, Part]) -> Changes:
    """Return the latest changes, from the parts that `recent` named, at exactly this head."""
    best = Changes(head.revision, b"")
    for steps, since in enumerate(_beginnings(head, parts), 1):
        data = compress(assemble(namespace, head, parts.values(), since))
        if len(data) > (MOST_BYTES if steps <= LEAST_STEPS else CHANGES_BYTES):
            break
        best = Changes(since, data)
    return best


def _beginnings(head: Head, parts: Mapping[int, Part]) -> list[int]:
    """Return the revisions at which changes may begin, the latest first."""
    others = (places.revision for number, places in head.parts.items() if number not in parts)
    # What was removed before a part's floor is forgotten, and what is in the other parts is not said.
    least = max([1, *others, *(part.floor for part in parts.values())])
    changed = {int(document["revision"]) for part in parts.values() for document in part.services.values()}
    changed |= {revision for part in parts.values() for revision in part.removed.values()}
    found = sorted((each for each in changed | {least} if least <= each < head.revision), reverse=True)
    return found[:MOST_STEPS]
