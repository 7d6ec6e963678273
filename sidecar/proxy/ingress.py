"""The inbound listener of one service, which follows its app.

A caller that cannot connect tries another endpoint at once, whatever the protocol. So where the app takes nothing the
ingress port takes nothing either: before the app's start, between two starts, and from the moment in which ECS ends it.

    OPEN ⇄ CLOSED

Rules:
- OPEN → CLOSED when the app's port refuses a connection. Traffic tells: after a connection to the app failed, the port
  is asked once; no connection is made for the sake of knowing while all goes well.
- CLOSED → OPEN when it accepts one again: it is asked every `PROBE_SECONDS`, which costs next to nothing on loopback.
- An app that takes no new connections soon closes the others: kept connections to it are given up, and what comes by
  those of callers meets a refusal, which is repeated elsewhere, and not a connection in its last moment.
- A port that does not refuse but does not answer either changes nothing: an app that is too busy is there.
- Connections that the kernel has accepted, and not we yet, are accepted before the listener closes: they would be reset
  otherwise, and a caller could not know whether its request had been seen.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import Final

from sidecar.proxy.listeners import Address, Listener, Listeners
from sidecar.proxy.upstream.destination import Destination

PROBE_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 1.0

log = logging.getLogger("tramo.ingress")


class IngressState(Enum):
    """Whether callers can connect."""

    OPEN = "open"
    CLOSED = "closed"


class Ingress:
    """Opens and closes one inbound listener."""

    def __init__(
        self, listeners: Listeners, address: Address, listener: Listener, destination: Destination, app: Address
    ) -> None:
        self.state = IngressState.CLOSED
        self.closed_at = destination.runtime.now()  # when it closed the last time
        self.app_seen = False  # the app has listened since this sidecar's start
        self.address = address
        self.app = app
        self._runtime = destination.runtime
        self._destination = destination
        self._listeners = listeners
        self._listener = listener
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Listen, and close again if the app is not there yet. Return whether the address can be bound."""
        if not await self._open():
            return False
        self._destination.on_unreachable = self.suspect
        self.suspect()
        return True

    def suspect(self) -> None:
        """Look whether the app's port refuses, since a connection to it failed, and wait for the app if so."""
        if self._following is None or self._following.done():
            self._following = self._runtime.spawn(self._follow(), f"ingress {self.address.port}")

    def closed_for(self, now: float) -> float:
        """Return for how many seconds callers could not connect; 0 if they can."""
        return now - self.closed_at if self.state is IngressState.CLOSED else 0.0

    async def _follow(self) -> None:
        while not await self._is_served():  # noqa: ASYNC110 - the app tells nobody when it listens
            await asyncio.sleep(PROBE_SECONDS)

    async def _is_served(self) -> bool:
        """Ask the app's port once and do what follows. Return whether callers can connect."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                transport, _ = await self._runtime.loop.create_connection(asyncio.Protocol, *self.app)
            transport.close()
        except ConnectionRefusedError:
            self._close()
            return False
        except OSError:
            self.app_seen |= self.state is IngressState.OPEN
            return self.state is IngressState.OPEN
        self.app_seen = True
        return self.state is IngressState.OPEN or await self._open()

    async def _open(self) -> bool:
        if not await self._listeners.bind(self.address, self._listener):
            return False
        self.state = IngressState.OPEN
        log.info("callers can connect", extra={"port": self.address.port, "app_port": self.app.port})
        return True

    def _close(self) -> None:
        if self.state is IngressState.CLOSED:
            return
        self._listeners.unbind(self.address)
        self.state = IngressState.CLOSED
        self.closed_at = self._runtime.now()
        self._destination.close_idle()
        log.info("no callers: the app's port refuses", extra={"port": self.address.port, "app_port": self.app.port})
