"""When the proxy takes no more requests to stay alive.

Rules:
- What counts is the memory that the kernel cannot take back, as a share of the container's limit: beyond the limit
  the kernel ends the process, and every request with it.
- Shedding begins at `SHED_AT` and ends at `RESUME_AT`. Between them things stay as they are: one threshold
  would switch with every request.
- Without a limit nothing is shed.
"""

from __future__ import annotations

from typing import Final

SHED_AT: Final = 0.85
RESUME_AT: Final = 0.75
RETRY_AFTER_SECONDS: Final = 1
"""What a refused client is told: memory comes back as soon as requests under way end."""


def sheds(shedding: bool, used: int, limit: int | None) -> bool:
    """Whether to refuse requests, given whether it was done until now and the bytes used of the limit."""
    if limit is None or limit <= 0:
        return False
    share = used / limit
    return share >= SHED_AT or (shedding and share >= RESUME_AT)


def limit_of(text: str) -> int | None:
    """The limit in a cgroup's file: bytes, or None where it says `max` or, in version 1, an absurd number."""
    text = text.strip()
    if not text.isdigit():
        return None
    limit = int(text)
    return limit if limit < 1 << 60 else None


def reclaimable(stat: str) -> int:
    """The bytes in a cgroup's memory.stat that the kernel can take back at once: clean file pages not in use."""
    for line in stat.splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdigit():
            return int(value)
    return 0
