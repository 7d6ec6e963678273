"""HTTP/1.1 or HTTP/2? A client says so by its first bytes (RFC 9113 section 3.3), on one port for both.

Rules:
- As soon as the bytes differ from the HTTP/2 preface it is HTTP/1.1, usually in the first read.
- A client that says nothing at all is cut after the idle time-out, like any connection nobody uses; one that does not
  get on with its first bytes, as soon as one with a slow head.
"""

from __future__ import annotations

import asyncio
from typing import cast

from sidecar.core.http.http2 import PREFACE
from sidecar.core.timers import Timed
from sidecar.proxy.base.descriptors import is_reserved
from sidecar.proxy.downstream.frontend import Frontend
from sidecar.proxy.downstream.http1 import Http1Connection
from sidecar.proxy.downstream.http2 import Http2DownstreamConnection
from sidecar.proxy.downstream.time_outs import HEAD_SECONDS, KEEP_ALIVE_SECONDS


class DetectingConnection(asyncio.Protocol, Timed):
    """A connection whose protocol is not known yet."""

    def __init__(self, listener: Frontend) -> None:
        Timed.__init__(self)
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._seen = b""
        self._since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: a client connected."""
        self._transport = cast("asyncio.Transport", transport)
        runtime = self._listener.runtime
        is_last = is_reserved(transport)
        if is_last:
            runtime.lack_descriptor()
        if is_last or runtime.is_full:
            self._transport.abort()
            return
        self._since = runtime.now()
        runtime.clients.connections.add(self)
        runtime.wheel.schedule(self, self._since + KEEP_ALIVE_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Read the first bytes: hand the connection to the protocol that they belong to."""
        transport = self._transport
        if transport is None:
            return
        if not self._seen:
            runtime = self._listener.runtime
            runtime.wheel.schedule(self, runtime.now() + HEAD_SECONDS)
        self._seen += data
        if len(self._seen) < len(PREFACE) and PREFACE.startswith(self._seen):
            return
        self._leave()
        self._hand_over(transport, self._seen)

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        protocol: Http1Connection | Http2DownstreamConnection
        if data.startswith(PREFACE):
            protocol = Http2DownstreamConnection(self._listener)
        else:
            protocol = Http1Connection(self._listener)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Gone before it said anything."""
        self._leave()

    def _leave(self) -> None:
        runtime = self._listener.runtime
        self._transport = None
        runtime.wheel.cancel(self)
        runtime.clients.connections.discard(self)

    def drain(self) -> None:
        """Wait for what the client speaks: the protocol says it with the first answer."""

    def has_unsent(self) -> bool:
        """Nothing was asked yet."""
        return False

    def close_unused(self, since: float) -> bool:
        """Close the connection if its client has said nothing, and came before."""
        if self._transport is None or self._seen or self._since > since:
            return False
        self._transport.close()
        return True

    def on_deadline(self, now: float) -> None:
        """Close the connection, whose client was silent for too long."""
        if self._transport is not None:
            self._transport.abort()
