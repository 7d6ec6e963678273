"""What waits for peers that do not take it, over all connections, and its bound in bytes.

Rules:
- A connection counts here with what waits on it, once that is more than `HIGH_WATER_BYTES`. Each stream is paused by
  then, but a thousand paused streams that nobody reads hold 64 MiB.
- All connections together may hold a quarter of the container's memory, and half of that while memory is short.
- Beyond the bound, those connections give up what waits on which most does, stream by stream or as a whole: a peer that
  does not read loses what was kept for it, before the kernel ends the sidecar with all its requests.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

log = logging.getLogger("tramo.unsent")

SHARE: Final = 4
"""The part of the memory that may wait: the sidecar itself and requests under way need the rest."""
MOST_WITHOUT_LIMIT: Final = 64 << 20
"""Bytes, where nobody knows how much memory there is."""
SPARE_SHARE: Final = 8
"""The part of the bound that is given up beyond what would do: not every further byte is to look for another."""
COMPLAINT_SECONDS: Final = 60.0


class Holder(Protocol):
    """A connection on which something waits."""

    def give_up(self, count: int) -> int:
        """End so much of what waits, at least, or all of it. Return how many bytes still wait."""


class Unsent:
    """The connections on which much waits."""

    def __init__(self) -> None:
        self.most = MOST_WITHOUT_LIMIT
        self.total = 0
        self.given_up = 0  # bytes since the start
        self._held: dict[Holder, int] = {}
        self._complained_at = -COMPLAINT_SECONDS
        self._giving_up = False

    def describe(self) -> dict[str, int]:
        """Return the account for the admin page `/stats`: all in bytes, but for `connections`."""
        return {
            "waiting": self.total,
            "most": self.most,
            "given_up": self.given_up,
            "connections": len(self._held),
        }

    def bound(self, memory: int) -> None:
        """Take the bound from the container's memory, in bytes."""
        self.most = memory // SHARE

    def hold(self, holder: Holder, count: int, now: float) -> None:
        """Note how many bytes wait on a connection: 0 when they have been taken, or it is gone."""
        self.total += count - self._held.get(holder, 0)
        if count:
            self._held[holder] = count
        else:
            self._held.pop(holder, None)
        if self.total > self.most:
            self.give_up(self.most, now)

    def give_up(self, most: int, now: float) -> None:
        """Have connections give up what waits, until no more than this is left."""
        if self.total <= most or self._giving_up:
            return
        self._giving_up = True  # what ends may make others say what waits on them
        before = self.total
        enough = most - most // SPARE_SHARE
        for holder in sorted(self._held, key=self._held.__getitem__, reverse=True):
            if self.total <= enough:
                break
            self.hold(holder, holder.give_up(self.total - enough), now)
        self._giving_up = False
        self.given_up += before - self.total
        if now - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = now
            log.warning(
                "cut what its receivers do not take: more bytes wait than memory allows",
                extra={"cut_bytes": before - self.total, "waiting_bytes": self.total, "most_bytes": most},
            )
