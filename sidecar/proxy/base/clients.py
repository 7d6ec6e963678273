"""The connections of clients: how many there are, what a drain tells them, and which are closed when room is wanted.

Rules:
- Connections of HTTP, and those that have not said what they speak, are known one by one, whatever becomes of the
  listener that accepted them. Sessions of TCP are only counted: nobody can tell one that is silent from one not used.
- While memory or file descriptors are short, connections that nobody has used for `UNUSED_SECONDS` are closed, a
  bounded number at a time. Else a crowd that only stays would keep out those who ask, for as long as the idle time-out.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

log = logging.getLogger("tramo.clients")

UNUSED_SECONDS: Final = 5.0
"""A client that uses its connection again so late finds it closed and makes another."""
CLOSED_AT_ONCE: Final = 512
"""A few milliseconds of work."""
CLOSING_PAUSE_SECONDS: Final = 0.1
"""Between two looks: each asks every connection."""


class ClientConnection(Protocol):
    """A connection that can be told something."""

    def drain(self) -> None:
        """End soon: say so to the client, if its protocol can."""

    def has_unsent(self) -> bool:
        """Return whether answers, or parts of them, wait here for the client to take them."""

    def close_unused(self, since: float) -> bool:
        """Close if nothing was asked on it from then on, and nothing is under way. Return whether it was so."""


class Clients:
    """The connections that clients have made to this sidecar."""

    def __init__(self) -> None:
        self.connections: set[ClientConnection] = set()
        self.sessions = 0  # of TCP
        self.closed_unused = 0  # since the start
        self._looked_at = -CLOSING_PAUSE_SECONDS

    def count(self) -> int:
        """Return how many connections and sessions there are."""
        return len(self.connections) + self.sessions

    def describe(self) -> dict[str, int]:
        """Return the figures for the admin page `/stats`."""
        return {
            "connections": len(self.connections),
            "sessions": self.sessions,
            "closed_unused": self.closed_unused,
        }

    def have_unsent(self) -> bool:
        """Return whether one of them has not taken its answers yet."""
        return any(connection.has_unsent() for connection in self.connections)

    def drain(self) -> None:
        """Announce to the clients that their connections end; HTTP/1.1 says it with its next answer."""
        for connection in list(self.connections):
            connection.drain()

    def close_unused(self, now: float) -> None:
        """Close some of the connections that nobody uses, if it is time to look for them."""
        if now - self._looked_at < CLOSING_PAUSE_SECONDS:
            return
        self._looked_at = now
        closed = 0
        for connection in list(self.connections):
            closed += connection.close_unused(now - UNUSED_SECONDS)
            if closed == CLOSED_AT_ONCE:
                break
        self.closed_unused += closed
        if closed:
            log.info("closed connections that nobody uses, to have room for others", extra={"connections": closed})
