"""The sockets that the proxy listens on, and what each is for.

Rules:
- A listener that stays in the new set keeps its socket and its connections; only its destination may be swapped.
- A listener that goes stops accepting; connections that it accepted live on until they end.
- An address that cannot be bound is a finding and tried again every few seconds, a bounded number at a time; the
  others go on.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from sidecar.core.direction import OUTBOUND, Direction
from sidecar.core.errors import SPEAKS_TCP, LocalReply
from sidecar.core.http.messages import RequestHead
from sidecar.core.meters import Meter, ServerMeter
from sidecar.proxy.base.descriptors import check_listener
from sidecar.proxy.base.pace import Pace
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.base.sockets import keep_alive
from sidecar.proxy.downstream.detect import DetectingConnection
from sidecar.proxy.downstream.frontend import Frontend, TakeOver
from sidecar.proxy.tcp import TcpSession
from sidecar.proxy.upstream.destination import Destination

BACKLOG: Final = 1024


RETRY_SECONDS: Final = 5.0
RETRIED_AT_ONCE: Final = 256
"""About 10 ms of work: with thousands of addresses that an app has taken, each is tried every minute or so."""


class Address(NamedTuple):
    """Where a listener is bound."""

    host: str
    port: int


class Failure(NamedTuple):
    """Why an address is not listened on: the error's number, and its text."""

    number: int
    text: str


class Listener(Protocol):
    """What is bound to an address."""

    def accept(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""

    def lead_to(self, destination: Destination) -> bool:
        """Send new requests to this destination. Return False if it needs another kind of listener."""


class HttpListener(Frontend):
    """Accepts HTTP/1.1 and HTTP/2 connections for one destination."""

    def __init__(self, runtime: Runtime, destination: Destination, direction: Direction, meter: ServerMeter) -> None:
        super().__init__(runtime, direction, meter)
        self.destination = destination

    def accept(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        return DetectingConnection(self)

    def lead_to(self, destination: Destination) -> bool:
        """Send new requests to this destination, unless it speaks TCP."""
        if destination.cluster.protocol == "tcp":
            return False
        self.destination = destination
        return True

    def name(self) -> str:
        """Return the service that the destination is."""
        return self.destination.cluster.name

    def failures(self) -> Meter:
        """Return where the destination's failed requests are counted."""
        return self.destination.failures

    def http_10_host(self) -> bytes | None:
        """Return the service's name, if its policy accepts HTTP/1.0."""
        cluster = self.destination.cluster
        return cluster.name.encode() if cluster.policy.http.accept_http_10 else None

    def route(self, head: RequestHead) -> Destination | LocalReply | TakeOver:
        """Send all requests to the destination, unless it speaks TCP since this connection was accepted."""
        return SPEAKS_TCP if self.destination.cluster.protocol == "tcp" else self.destination


class TcpListener:
    """Accepts TCP connections for one destination."""

    def __init__(self, destination: Destination, direction: Direction, meter: ServerMeter) -> None:
        self.connections: set[TcpSession] = set()
        self._destination = destination
        self._direction = direction
        self._meter = meter

    def accept(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        session = TcpSession(self._destination, self._direction, self._meter, self.connections.discard)
        self.connections.add(session)
        return session.client

    def lead_to(self, destination: Destination) -> bool:
        """Send new connections to this destination, if it speaks TCP."""
        if destination.cluster.protocol != "tcp":
            return False
        self._destination = destination
        return True


def listener_for(destination: Destination, direction: Direction, meter: ServerMeter) -> Listener:
    """Return the kind of listener that the destination's protocol needs."""
    if destination.cluster.protocol == "tcp":
        return TcpListener(destination, direction, meter)
    return HttpListener(destination.runtime, destination, direction, meter)


async def listen(runtime: Runtime, address: Address, accept: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
    """Accept connections at this address. Raises OSError."""
    # A socket of our own: the loop's way from a host to its addresses takes three times as long.
    server = await runtime.loop.create_server(accept, sock=_bound_socket(address), backlog=BACKLOG)
    keep_alive(server)
    return server


class Listeners:
    """All bound listeners of the sidecar."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._bound: dict[Address, tuple[Listener, asyncio.Server]] = {}
        self._wanted: dict[Address, Destination] = {}
        self.failed: dict[Address, Failure] = {}
        # Outbound requests are counted as the services' clients see them; nobody reads this side's count.
        self._unread = ServerMeter("")

    async def bind(self, address: Address, listener: Listener) -> bool:
        """Listen. Return False when the address cannot be bound; `failed` says why."""
        try:
            server = await listen(self._runtime, address, listener.accept)
        except OSError as error:
            self.failed.pop(address, None)  # it goes behind the others: those are tried first the next time
            self.failed[address] = Failure(error.errno or 0, error.strerror or str(error))
            return False
        self.failed.pop(address, None)
        self._bound[address] = (listener, server)
        return True

    async def set(self, wanted: dict[Address, Destination], pace: Pace) -> None:
        """Listen on exactly these addresses for these destinations."""
        for address in [address for address in self._bound if address not in wanted]:
            self._unbind(address)
        self.failed = {address: why for address, why in self.failed.items() if address in wanted}
        self._wanted = wanted
        for address, destination in wanted.items():
            await pace.rest()
            bound = self._bound.get(address)
            if bound is not None:
                if bound[0].lead_to(destination):
                    continue
                self._unbind(address)
            await self.bind(address, listener_for(destination, OUTBOUND, self._unread))

    async def retry(self, pace: Pace) -> bool:
        """Try addresses again that could not be bound, the longest tried first. Return whether one was bound."""
        bound = False
        for address in list(self.failed)[:RETRIED_AT_ONCE]:
            await pace.rest()
            if address in self._wanted:
                bound |= await self.bind(address, listener_for(self._wanted[address], OUTBOUND, self._unread))
        return bound

    def _unbind(self, address: Address) -> None:
        _, server = self._bound.pop(address)
        server.close()

    def unbind(self, address: Address) -> None:
        """Stop listening there, but take the connections that the kernel has accepted already."""
        listener, server = self._bound[address]
        listening: Any = (
            server  # its `sockets` are a list in uvloop and a tuple for the types, which compiled code checks
        )
        try:
            rest = socket.socket(fileno=os.dup(listening.sockets[0].fileno()))
        except OSError:
            self._runtime.lack_descriptor()
            self._unbind(address)  # what the kernel has accepted is reset: callers repeat it elsewhere
            return
        rest.setblocking(False)
        self._unbind(address)
        with rest:
            for connection in _accepted(rest):
                self._runtime.spawn(self._take(listener, connection), f"accept {address.port}")

    async def _take(self, listener: Listener, connection: socket.socket) -> None:
        await self._runtime.loop.connect_accepted_socket(listener.accept, connection)

    def addresses(self) -> list[Address]:
        """Return where the sidecar listens."""
        return sorted(self._bound)

    def close(self) -> None:
        """Stop listening."""
        for address in list(self._bound):
            self._unbind(address)


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    """Yield what the kernel has accepted already, and this process has descriptors for."""
    with suppress(OSError):
        for _ in range(BACKLOG):
            connection, _ = listening.accept()
            yield connection


def _bound_socket(address: Address) -> socket.socket:
    """Return a socket that has this address. Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        check_listener(bound.fileno())
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
