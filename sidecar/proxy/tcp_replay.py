"""What a client of a TCP session has sent, kept while the endpoint may not have taken the session.

Rules:
- It is kept from the moment that the endpoint's socket stands, up to `MAX_EARLY_BYTES` and for the connect time-out,
  until the endpoint says anything.
- It counts with the bodies that are kept for another attempt (`held`): beyond their bound nothing more is kept, and the
  session is not begun again.
"""

from __future__ import annotations

from typing import Final

from sidecar.proxy.base.held import Held

MAX_EARLY_BYTES: Final = 65_536
"""What is kept of a session that no endpoint has taken."""


class Replay:
    """The bytes of one session. It must be ended: until then they count."""

    __slots__ = ("_bytes", "_held", "_parts", "_until")

    def __init__(self, held: Held, parts: list[bytes], until: float) -> None:
        self._held = held
        self._parts = list(parts)
        self._bytes = sum(map(len, parts))
        self._until = until
        held.bodies += self._bytes

    def add(self, data: bytes, now: float) -> bool:
        """Keep a further piece. Return False when the time is over or it would be too much."""
        count = len(data)
        has_room = self._bytes + count <= MAX_EARLY_BYTES and self._held.takes_bodies()
        if not has_room or now > self._until:
            return False
        self._parts.append(data)
        self._bytes += count
        self._held.bodies += count
        return True

    def is_in_time(self, now: float) -> bool:
        """Return whether the session may still be begun again."""
        return now <= self._until

    def end(self) -> list[bytes]:
        """Keep it no more. Return what was kept."""
        self._held.bodies -= self._bytes
        self._bytes = 0
        parts, self._parts = self._parts, []
        return parts
