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

from sidecar.core.direction import OUTBOUND, Direction
from sidecar.core.errors import LocalReply
from sidecar.core.http import request_headers
from sidecar.core.http.messages import NO_REQUEST, RequestHead
from sidecar.core.meters import Meter, ServerMeter
from sidecar.proxy.base.clients import ClientConnection
from sidecar.proxy.base.interfaces import Client, ExchangeEvents, Request
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.destination import Destination


class Handover(Protocol):
    """A connection whose transport can be taken over."""

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """Return the transport, and the bytes that came behind the head."""


TakeOver = Callable[[Handover], None]


class Frontend:
    """What the connections of one listener ask, and whom they tell that they are there."""

    accept_connect = False

    def __init__(self, runtime: Runtime, direction: Direction, meter: ServerMeter) -> None:
        self.runtime = runtime
        self.direction = direction
        self.meter = meter
        # Clients of the outbound side may end their side and still read. On the inbound side the client is a sidecar,
        # and its end means that nobody waits for the answer.
        self.half_close = direction is OUTBOUND

    def name(self) -> str:
        """Return the service that it stands for; empty where the request names one."""
        raise NotImplementedError

    def failures(self) -> Meter:
        """Return the meter of requests that are refused without going anywhere."""
        raise NotImplementedError

    def http_10_host(self) -> bytes | None:
        """Return the authority of HTTP/1.0 requests that have none; None where HTTP/1.0 is not accepted."""
        raise NotImplementedError

    def route(self, head: RequestHead) -> Destination | LocalReply | TakeOver:
        """Return where this request goes."""
        raise NotImplementedError

    def prepare(self, head: RequestHead, peer: bytes) -> None:
        """Add the fields that the app, or the service called, expects of a proxy."""
        if self.direction is OUTBOUND:
            request_headers.outbound(head.fields, self.runtime.request_ids)
        else:
            request_headers.inbound(head.fields, peer, self.runtime.request_ids)

    def observe(
        self,
        exchange: ExchangeEvents,
        to: Destination,
        client: Client,
        head: RequestHead,
        peer: bytes,
        stream: int | None = None,
    ) -> None:
        """Let the recorder, if there is one, follow a request on its way to this destination."""
        recorder = self.runtime.recorder
        if recorder is not None:
            recorder.observe(exchange, Request(self.direction, to.cluster.name, client, head, peer, stream))

    def refused(
        self, reply: LocalReply, client: Client, head: RequestHead | None, peer: bytes, stream: int | None = None
    ) -> None:
        """Record a request, or what was to be one, that got this answer without going anywhere."""
        self.failures().count_flags(reply.flags)
        recorder = self.runtime.recorder
        if recorder is not None:
            recorder.refused(Request(self.direction, self.name(), client, head or NO_REQUEST, peer, stream), reply)

    def opened(self, connection: ClientConnection) -> None:
        """Count an accepted connection."""
        self.runtime.clients.connections.add(connection)
        self.meter.connections += 1
        self.meter.active_connections += 1

    def closed(self, connection: ClientConnection) -> None:
        """Count a connection that ended."""
        self.runtime.clients.connections.discard(connection)
        self.meter.active_connections -= 1
