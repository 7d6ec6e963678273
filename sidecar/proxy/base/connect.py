"""Connecting to an address in time.

Rules:
- Who connects hears by an exception why it failed. The protocol hears `connection_lost` if it has heard
  `connection_made`, also where the time is over, or the task is cancelled, in the turn of the loop in which the socket
  is connected: there uvloop calls neither that nor anything else, and asyncio calls it once more, later.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast


class Outgoing(Protocol):
    """A protocol that can be connected. It takes a second `connection_lost` without a word."""

    def is_open(self) -> bool:
        """Return whether it was connected, and `connection_lost` has not been called yet."""

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone."""


async def connect(
    loop: asyncio.AbstractEventLoop, outgoing: Outgoing, address: str, port: int, seconds: float
) -> asyncio.Transport:
    """Connect within so many seconds; 0 sets no limit. Raises OSError, of which TimeoutError is one."""
    try:
        async with asyncio.timeout(seconds or None):
            transport, _ = await loop.create_connection(lambda: cast("asyncio.Protocol", outgoing), address, port)
    except (OSError, asyncio.CancelledError):
        if outgoing.is_open():
            outgoing.connection_lost(ConnectionAbortedError("its time was over as it was connected"))
        raise
    return transport
