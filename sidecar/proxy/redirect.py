"""One listener for all services: the task's network rules send what apps say to services' addresses to it.

Rules:
- The kernel knows the address that the app called (SO_ORIGINAL_DST, IPv4), and the route is looked up by it.
- A call of an address that no service has is reset and counted as NR: nobody else could answer it.
- A listener of a destination is made at its first call: a service that nobody calls costs one entry of a table.
- The rules are ECS's (`proxyConfiguration` of the task definition) and are made before any container starts. The
  sidecar finds out whether they are there by calling its own probe address, which must arrive at its own listener.
  Until then it is not ready, for the services' addresses lead nowhere.
"""

from __future__ import annotations

import asyncio
import ctypes
import enum
import logging
import os
import socket
from typing import TYPE_CHECKING, Final, cast

from sidecar.core.direction import OUTBOUND
from sidecar.core.findings import Finding, no_redirect
from sidecar.core.flags import NR
from sidecar.core.meters import ServerMeter
from sidecar.proxy.base.sockets import original_destination, reset
from sidecar.proxy.listeners import Address, Failure, Listener, listen, listener_for

if TYPE_CHECKING:
    from sidecar.core.meters import SidecarMeter
    from sidecar.proxy.base.pace import Pace
    from sidecar.proxy.base.runtime import Runtime
    from sidecar.proxy.upstream.destination import Destination

PROBE_SECONDS: Final = 1.0
"""Without rules the probe goes out to the network, where mostly nobody answers."""
PROBE_PAUSE_SECONDS: Final = 5.0
PROBE_GROUP: Final = 65_534
"""nobody's: `IgnoredGID` may be the sidecar's own group, whose traffic is not redirected."""

log = logging.getLogger("tramo.redirect")


class State(enum.Enum):
    """Whether the task's rules redirect to this sidecar.

    UNKNOWN ──▶ MISSING ──▶ IN_PLACE      MISSING: a probe did not arrive; it is sent again after a pause
       └───────────────────────▲          IN_PLACE: a redirected call has arrived; this is the end
    """

    UNKNOWN = "unknown"
    MISSING = "missing"
    IN_PLACE = "in place"


class Redirect:
    """Routes by the address that was called. Stands where listeners on each address would."""

    def __init__(self, runtime: Runtime, address: Address, probe: Address, meter: SidecarMeter) -> None:
        self.state = State.UNKNOWN
        self.failed: dict[Address, Failure] = {}  # never: an entry of the table cannot be taken by others
        self.address = address
        self._runtime = runtime
        self._probe = probe
        self._meter = meter
        self._unread = ServerMeter("")  # as of all outbound listeners
        self._server: asyncio.Server | None = None
        self._routes: dict[Address, Destination] = {}
        self._listeners: dict[Destination, Listener] = {}

    async def start(self) -> bool:
        """Listen, and look for the rules in the background. Return whether the address could be bound."""
        try:
            self._server = await listen(self._runtime, self.address, lambda: _Redirected(self))
        except OSError as error:
            log.error("cannot listen on TRAMO_REDIRECT %s:%d: %s", *self.address, error)
            return False
        self._runtime.spawn(self._watch(), "redirect probe")
        return True

    async def set(self, wanted: dict[Address, Destination], pace: Pace) -> None:
        """Route exactly these addresses to these destinations."""
        await pace.rest()
        self._routes = wanted
        kept = set(wanted.values())
        self._listeners = {known: listener for known, listener in self._listeners.items() if known in kept}

    async def retry(self, pace: Pace) -> bool:
        """There is nothing to try again."""
        return False

    def findings(self) -> list[Finding]:
        """Return whether, and why, calls do not arrive."""
        return [no_redirect(*self._probe, self.address.port)] if self.state is State.MISSING else []

    def protocol_for(self, called: Address | None) -> asyncio.BaseProtocol | None:
        """Return who serves a call of this address; None if nobody does."""
        if called is None or called == self.address:
            return None  # it came here directly
        self.state = State.IN_PLACE
        destination = self._routes.get(called)
        if destination is None:
            return None
        listener = self._listeners.get(destination)
        if listener is None or not listener.lead_to(destination):
            listener = self._listeners[destination] = listener_for(destination, OUTBOUND, self._unread)
        return listener.accept()

    def refused(self, called: Address | None) -> None:
        """Count a call that was reset."""
        if called != self._probe:
            self._meter.count_flags((NR,))
            log.debug("no service is called at %s", called)

    async def _watch(self) -> None:
        while True:
            await self._knock()
            if self.state is State.IN_PLACE:
                log.info("calls of the services' addresses are redirected to this sidecar")
                return
            self.state = State.MISSING
            await asyncio.sleep(PROBE_PAUSE_SECONDS)

    async def _knock(self) -> None:
        loop = self._runtime.loop
        with _socket_of_another_group() as probe:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await loop.sock_connect(probe, self._probe)
                    await loop.sock_recv(probe, 1)  # until it is reset, by which time it was seen
            except OSError:
                return  # reset after it arrived, or never arrived: the state says which

    def addresses(self) -> list[Address]:
        """Return where the sidecar listens."""
        return [self.address] if self._server is not None else []

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()


class _Redirected(asyncio.Protocol):
    """A connection whose destination is about to be looked up."""

    def __init__(self, redirect: Redirect) -> None:
        self._redirect = redirect

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand an app's connection to the listener of the service that has the address it called."""
        transport = cast("asyncio.Transport", transport)
        found = original_destination(transport)
        called = Address(*found) if found is not None else None
        protocol = self._redirect.protocol_for(called)
        if protocol is None:
            self._redirect.refused(called)
            reset(transport)
            return
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _socket_of_another_group() -> socket.socket:
    """Return a socket that network rules take for another group's, if this process may do that, as root may."""
    libc = ctypes.CDLL(None)
    libc.setfsgid(PROBE_GROUP)  # of this thread alone; a socket keeps the group that it was made with
    try:
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    finally:
        libc.setfsgid(os.getegid())
    return probe
