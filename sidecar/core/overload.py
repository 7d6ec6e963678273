"""When the proxy takes no more requests to stay alive.

    taking ──► shedding   the share used reaches `SHED_AT`, and more is used than was held at the last resumption
    shedding ──► taking   the share falls below `RESUME_AT`, or half of the load is gone

Rules:
- What counts is the memory that the kernel cannot take back, as a share of the container's limit: beyond the limit
  the kernel ends the process, and every request with it.
- An allocator keeps what was freed, in pieces that it cannot give back, and uses it for what comes next. So memory that
  stays high does not mean that it is short: when half of the connections and requests that filled it have gone,
  others are taken. If they need more than is held (`GROWTH`), shedding begins again.
- Beyond `CRITICAL_AT` nothing is taken, whatever the load, not even a connection: the next peak would be the last.
- Without a limit nothing is shed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SHED_AT: Final = 0.85
RESUME_AT: Final = 0.75
CRITICAL_AT: Final = 0.92
GROWTH: Final = 0.02
"""Of the limit: more than a few requests need, less than is left."""
LONGEST_SECONDS: Final = 0.5
SHORTEST_SECONDS: Final = 0.02
RETRY_AFTER_SECONDS: Final = 1
"""What a refused client reads: memory comes back as soon as requests under way end."""


class Shedding(NamedTuple):
    """Whether requests are refused, and what must be known to judge it the next time."""

    is_on: bool = False
    load: int = 0
    """Connections and requests when it began."""
    held: int = 0
    """Bytes used when it ended because the load had gone; 0 when memory was free again."""

    def next(self, used: int, limit: int | None, load: int) -> Shedding:
        """Return what follows, given the bytes used of the limit, and the connections and requests that there are."""
        if limit is None or limit <= 0 or used < limit * RESUME_AT:
            return Shedding()
        if self.is_on:
            is_over = load * 2 <= self.load and used < limit * CRITICAL_AT
            return Shedding(held=used) if is_over else self
        if used >= limit * SHED_AT and used > self.held + limit * GROWTH:
            return Shedding(True, load)
        return self


def is_critical(used: int, limit: int | None) -> bool:
    """Return whether not even a connection can be taken."""
    return limit is not None and limit > 0 and used >= limit * CRITICAL_AT


def look_again(used: int, limit: int) -> float:
    """Return in how many seconds to look again: the less is left, the sooner what comes meanwhile fills it."""
    left = max(0.0, 1.0 - used / limit)
    return max(SHORTEST_SECONDS, LONGEST_SECONDS * left * left)


def limit_of(text: str) -> int | None:
    """Return the limit in a cgroup's file: bytes, or None where it says `max` or, in version 1, an absurd number."""
    text = text.strip()
    if not text.isdigit():
        return None
    limit = int(text)
    return limit if limit < 1 << 60 else None


def reclaimable(stat: str) -> int:
    """Return the bytes in a cgroup's memory.stat that the kernel can take back at once: clean file pages not in use."""
    for line in stat.splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdigit():
            return int(value)
    return 0
