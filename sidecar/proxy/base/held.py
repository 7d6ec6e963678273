"""What the sidecar holds for peers that do not go on, over all connections, and its bounds in bytes.

Rules:
- Held is what a peer does not take, and what of it cannot be used yet: the beginning of a head, requests behind one
  that is not answered. A connection is noted here with it once it is much.
- Each connection and each stream has a bound of its own and is paused there; but a thousand streams that nobody reads
  hold 64 MiB. So all together may hold a quarter of the container's memory, and half of that while memory is short.
- Beyond the bound, those connections give up what they hold that hold most, stream by stream or as a whole: a peer that
  does not go on loses what was kept for it, before the kernel ends the sidecar with all its requests.
- Bodies that are kept for another attempt have a bound beside it: beyond it what was sent is not kept, and clients wait
  with what cannot be sent yet.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

log = logging.getLogger("tramo.held")

SHARE: Final = 4
"""The part of the memory that may be held: the sidecar itself and requests under way need the rest."""
BODIES_SHARE: Final = 8
"""The part of the memory that bodies may have that are kept for another attempt."""
MOST_WITHOUT_LIMIT: Final = 64 << 20
"""Bytes that may be held where nobody knows how much memory there is."""
SPARE_SHARE: Final = 8
"""The part of the bound that is given up beyond what would do: not every further byte is to look for another."""
COMPLAINT_SECONDS: Final = 60.0


class Holder(Protocol):
    """A connection that holds something."""

    def give_up(self, count: int) -> int:
        """End so much of what it holds, at least, or all of it. Return how many bytes it still holds."""


class Held:
    """The connections that hold much, and how much."""

    def __init__(self) -> None:
        self.most = MOST_WITHOUT_LIMIT
        self.total = 0
        self.given_up = 0  # bytes since the start
        self.bodies = 0  # bytes that are kept for another attempt
        self.most_bodies = MOST_WITHOUT_LIMIT * SHARE // BODIES_SHARE
        self._by_holder: dict[Holder, int] = {}
        self._complained_at = -COMPLAINT_SECONDS
        self._giving_up = False

    def describe(self) -> dict[str, int]:
        """Return the account for the admin page `/stats`: all in bytes, but for `connections`."""
        return {
            "held": self.total,
            "most": self.most,
            "given_up": self.given_up,
            "connections": len(self._by_holder),
            "bodies": self.bodies,
            "most_bodies": self.most_bodies,
        }

    def bound(self, memory: int) -> None:
        """Take the bounds from the container's memory, in bytes."""
        self.most = memory // SHARE
        self.most_bodies = memory // BODIES_SHARE

    def takes_bodies(self) -> bool:
        """Return whether more may be kept for another attempt."""
        return self.bodies < self.most_bodies

    def note(self, holder: Holder, count: int, now: float) -> None:
        """Note how many bytes a connection holds: 0 when it holds little, or is gone."""
        self.total += count - self._by_holder.get(holder, 0)
        if count:
            self._by_holder[holder] = count
        else:
            self._by_holder.pop(holder, None)
        if self.total > self.most:
            self.give_up(self.most, now)

    def give_up(self, most: int, now: float) -> None:
        """Have connections give up what they hold, until no more than this is left."""
        if self.total <= most or self._giving_up:
            return
        self._giving_up = True  # what ends may make others say what they hold
        before = self.total
        enough = most - most // SPARE_SHARE
        for holder in sorted(self._by_holder, key=self._by_holder.__getitem__, reverse=True):
            if self.total <= enough:
                break
            self.note(holder, holder.give_up(self.total - enough), now)
        self._giving_up = False
        self.given_up += before - self.total
        if now - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = now
            log.warning(
                "cut peers that do not go on: more is held for them than memory allows",
                extra={"cut_bytes": before - self.total, "held_bytes": self.total, "most_bytes": most},
            )
