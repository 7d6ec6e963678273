"""What a connection of a client asks of its listener: where a request goes, and what is known of it on the way.

Rules:
- A connection says that it was opened and closed, so that a drain finds it.
- Each request is prepared, routed, and then observed or refused, in this order.
- A route is a destination, the proxy's own answer, or the word that somebody takes the connection over (CONNECT).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from sidecar.core.errors import LocalReply
from sidecar.core.http import request_headers
from sidecar.core.http.messages import RequestHead
from sidecar.core.meters import ServerMeter
from sidecar.proxy.base.interfaces import Client, ExchangeEvents
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.destination import Destination


class HttpConnection(Protocol):
    """What a listener tells the connections that it accepted."""

    def drain(self) -> None:
        """The connection ends soon: say so to the client, if its protocol has a word for it."""


class Handover(Protocol):
    """A connection whose transport can be taken over."""

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """The transport, and the bytes that came behind the head."""


TakeOver = Callable[[Handover], None]


class Frontend:
    """What the connections of one listener ask, and whom they tell that they are there."""

    accept_connect = False

    def __init__(self, runtime: Runtime, destination: Destination, meter: ServerMeter | None = None) -> None:
        self.runtime = runtime
        self.destination = destination
        self.meter = meter
        # Clients of the outbound side may end their side and still read. On the inbound side the client is a sidecar,
        # and its end means that nobody waits for the answer.
        self.half_close = meter is None
        self.connections: set[HttpConnection] = set()

    def http_10_host(self) -> bytes | None:
        """The authority of HTTP/1.0 requests that have none; None where HTTP/1.0 is not accepted."""
        cluster = self.destination.cluster
        return cluster.name.encode() if cluster.policy.http.accept_http_10 else None

    def route(self, head: RequestHead) -> Destination | LocalReply | TakeOver:
        """Where this request goes."""
        return self.destination

    def prepare(self, head: RequestHead, peer: bytes) -> None:
        """Add the fields that the app, or the service called, expects of a proxy."""
        if self.meter is None:
            request_headers.outbound(head.fields, self.runtime.random)
        else:
            request_headers.inbound(head.fields, peer, self.runtime.random)

    def observe(
        self,
        client: Client,
        exchange: ExchangeEvents,
        head: RequestHead,
        to: Destination,
        peer: bytes,
        stream: int | None,
    ) -> None:
        """Let the recorder, if there is one, stand by a request on its way to this destination."""
        recorder = self.runtime.recorder
        if recorder is not None:
            recorder.observe(exchange, client, head, to.cluster, self.meter is not None, peer.decode(), stream)

    def refused(
        self, client: Client, head: RequestHead | None, reply: LocalReply, peer: bytes, stream: int | None
    ) -> None:
        """A request, or what was to be one, got this answer without going anywhere."""
        destination, recorder = self.destination, self.runtime.recorder
        if destination.flags is not None:
            destination.flags.count_flags(reply.flags)
        if recorder is not None:
            recorder.refused(client, head, reply, destination.cluster, self.meter is not None, peer.decode(), stream)

    def opened(self, connection: HttpConnection) -> None:
        """A connection was accepted."""
        self.connections.add(connection)
        if self.meter is not None:
            self.meter.connections += 1
            self.meter.active_connections += 1

    def drain(self) -> None:
        """Tell the clients that can be told that their connections end; HTTP/1.1 hears it with its next answer."""
        for connection in list(self.connections):
            connection.drain()

    def closed(self, connection: HttpConnection) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        if self.meter is not None:
            self.meter.active_connections -= 1
