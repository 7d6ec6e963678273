"""HTTP/2 to an endpoint: a connection, its streams, and the exchanges on them.

Rules:
- The peer's MAX_CONCURRENT_STREAMS is kept; until its SETTINGS have come it is one.
- An answer that is whole before the request was ends the request too: nobody reads the rest.
- GOAWAY and REFUSED_STREAM say what was not processed: those requests go elsewhere, whatever their method.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from sidecar.core.errors import NOT_TAKEN, ProtocolError
from sidecar.core.http.fields import MAX_INFORMATIONAL
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.http2_events import CANCEL, NO_ERROR, REFUSED_STREAM, GoAway, Reset, StreamEvent
from sidecar.core.http.messages import End, Fields, RequestHead, ResponseHead
from sidecar.proxy.base.http2_connection import Http2Connection, Http2Stream
from sidecar.proxy.base.interfaces import ExchangeEvents
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES
from sidecar.proxy.upstream.pool import Phase, Pool, Pooled

IDLE_SECONDS: Final = 240.0
"""Below the 300 s after which the other sidecar closes, so that a request never meets a closing connection."""
SETTINGS_SECONDS: Final = 1.0
"""An endpoint that has not sent its SETTINGS by then is taken to allow `http2.MAX_OWN_STREAMS`."""


class Http2PoolEvents(Pool):
    """What connections tell their pool, and what they ask it."""

    def connected(self, connection: Http2UpstreamConnection) -> None:
        """There is another connection."""
        raise NotImplementedError

    def settled(self) -> None:
        """Note that a connection knows how many streams it takes."""
        raise NotImplementedError

    def serve_waiting(self) -> None:
        """Give free streams to those who wait."""
        raise NotImplementedError

    def keeps(self, connection: Http2UpstreamConnection) -> bool:
        """Return whether a connection without streams is still of use."""
        raise NotImplementedError

    def leave(self, connection: Http2UpstreamConnection) -> None:
        """Take no more requests on the connection."""
        raise NotImplementedError

    def lost(self, connection: Http2UpstreamConnection) -> None:
        """Forget a connection that was closed, by whichever side."""
        raise NotImplementedError


class Http2UpstreamStream(Http2Stream):
    """The request of one exchange on a connection."""

    __slots__ = ("_connection", "_informed", "bodyless", "ended")

    def __init__(self, connection: Http2UpstreamConnection) -> None:
        Http2Stream.__init__(self, 0)  # its number comes with the head
        self._connection = connection
        self.ended = False  # our side of the stream
        self.bodyless = False  # whatever the answer's head says
        self._informed = 0

    def send_head(self, exchange: ExchangeEvents, head: RequestHead) -> None:
        """Begin the request."""
        self.exchange = exchange
        self._connection.open(self, head)

    def send_data(self, data: bytes) -> None:
        """Send a piece of the request's body."""
        self._connection.send_data(self, data)

    def send_end(self, trailers: Fields) -> None:
        """End the request."""
        self._connection.send_end(self, trailers)

    def send_raw(self, data: bytes) -> None:
        """Never called: no tunnel is begun over HTTP/2."""
        raise RuntimeError("a tunnel over an HTTP/2 stream")

    def send_eof(self) -> None:
        """Never called: no tunnel is begun over HTTP/2."""
        raise RuntimeError("a tunnel over an HTTP/2 stream")

    def close(self) -> None:
        """Never called: no tunnel is begun over HTTP/2."""
        raise RuntimeError("a tunnel over an HTTP/2 stream")

    def detach(self) -> None:
        """Let go of the rest of the answer, which is not wanted."""
        self.abort()

    def abort(self) -> None:
        """End the request at once."""
        self.exchange = None
        self._connection.cancel(self)

    def pause_reading(self) -> None:
        """Take no more of the answer: the window stays shut."""
        self._paused = True

    def resume_reading(self) -> None:
        """Take the answer again."""
        self._paused = False
        count = self.give_back()
        if count:
            self._connection.acknowledge(self, count)

    def reused(self) -> bool:
        """HTTP/2 says by GOAWAY what a closing connection has processed; a loss is no stale connection."""
        return False

    def on_data(self, data: bytes) -> None:
        """Take a piece of the answer's body."""
        if self.exchange is not None:
            self.exchange.on_response_data(data)
        if not self.hold_back(len(data)):
            self._connection.acknowledge(self, len(data))

    def on_full(self) -> None:
        """Too much of the request waits."""
        if self.exchange is not None:
            self.exchange.on_upstream_full()

    def on_ready(self) -> None:
        """Note that the endpoint takes more of the request."""
        if self.exchange is not None:
            self.exchange.on_upstream_ready()

    def count_informational(self) -> bool:
        """Count an informational answer. Return whether there are too many."""
        self._informed += 1
        return self._informed > MAX_INFORMATIONAL


class Http2UpstreamConnection(Http2Connection[Http2UpstreamStream], Pooled):
    """A connection of a pool."""

    def __init__(self, pool: Http2PoolEvents) -> None:
        Http2Connection.__init__(self, pool.runtime, Http2Codec(is_server=False, trusted_peer=not pool.to_app))
        self.phase = Phase.CONNECTING
        self.settled = False  # how many streams it takes is known
        self._pool = pool

    # The pool's and the streams' side.

    def has_room(self) -> bool:
        """Return whether a request can begin here."""
        return (
            self.phase is not Phase.LOST
            and self._codec.takes_requests()
            and len(self._streams) < self._codec.max_streams()
        )

    def open(self, stream: Http2UpstreamStream, head: RequestHead) -> None:
        """Begin a request on a new stream."""
        try:
            stream.id = self._codec.send_request(head)
        except ProtocolError:
            # The peer's GOAWAY came between the choice and now: nothing was sent.
            self._runtime.loop.call_soon(self._refuse, stream)
            return
        stream.ended = head.content_length == 0
        stream.bodyless = head.method == b"HEAD"
        self._streams[stream.id] = stream
        if self.settled:
            self._runtime.wheel.cancel(self)
        self._touch()

    def _refuse(self, stream: Http2UpstreamStream) -> None:
        exchange, stream.exchange = stream.exchange, None
        if exchange is not None:
            exchange.on_upstream_refused(blamed=False)

    def send_end(self, stream: Http2UpstreamStream, trailers: Fields) -> None:
        """End a body. A request without one ended with its head."""
        if self._streams.get(stream.id) is stream and not stream.ended:
            stream.ended = True
            self._codec.send_end(stream.id, trailers)
            self._touch()

    def cancel(self, stream: Http2UpstreamStream) -> None:
        """Reset a stream that nobody waits for, and give its share of the connection's window back."""
        if self._streams.get(stream.id) is stream:
            self._give_back(stream)
            self._codec.reset(stream.id, CANCEL)
            self._touch()
            self._drop(stream.id)

    def _give_up_stream(self, stream_id: int) -> None:
        """End a request that the endpoint does not take."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.exchange is not None:
            stream.exchange.cut_short(NOT_TAKEN)

    def retire(self) -> bool:
        """Close, unless there are streams, whose end closes it. Return whether it is closed now."""
        if self._streams:
            return False
        self._close()
        return True

    def _count_bytes(self, count: int) -> None:
        self._pool.meter_bytes(count)

    def _end(self, transport: asyncio.Transport) -> None:
        self._close()

    def _drop(self, stream_id: int) -> None:
        del self._streams[stream_id]
        if not self._streams:
            if not self._pool.keeps(self):
                self._close()
            elif self.settled:
                self._runtime.wheel.schedule(self, self._runtime.now() + IDLE_SECONDS)
        self._pool.serve_waiting()

    def _close(self) -> None:
        self._pool.leave(self)  # the loop says so later only, and until then nobody may take it from the pool
        if self._transport is not None:
            self._codec.go_away(NO_ERROR)
            self._transport.write(self._codec.output())
            if self._writable:
                self._transport.close()
            else:
                self._transport.abort()  # nobody waits for what the endpoint has not taken

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: the socket is connected."""
        if self.phase is not Phase.CONNECTING:
            return  # the pool gave it up in this turn of the loop: its task, which is cancelled, closes it
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._transport = transport
        self.phase = Phase.OPEN
        self._runtime.wheel.schedule(self, self._runtime.now() + SETTINGS_SECONDS)
        self._touch()
        self._pool.made(self)
        self._pool.connected(self)

    def _settle(self) -> None:
        self.settled = True
        if self._streams:
            self._runtime.wheel.cancel(self)
        else:
            self._runtime.wheel.schedule(self, self._runtime.now() + IDLE_SECONDS)
        self._pool.settled()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the endpoint."""
        self._pool.meter_bytes(len(data))
        self._deliver(self._codec.feed(data))
        if self._codec.settled and not self.settled:
            self._settle()
        self._touch()

    def _deliver(self, events: list[tuple[int, StreamEvent]]) -> None:
        for stream_id, event in events:
            if isinstance(event, GoAway):
                self._on_goaway(event)
            else:
                stream = self._streams.get(stream_id)
                if stream is not None:
                    self._on_event(stream, event)
                elif isinstance(event, bytes):
                    self._codec.acknowledge(stream_id, len(event))

    def _on_event(self, stream: Http2UpstreamStream, event: StreamEvent) -> None:
        if isinstance(event, bytes):
            stream.on_data(event)
            return
        exchange = stream.exchange
        if isinstance(event, ResponseHead):
            if exchange is not None and event.status == 101:  # RFC 9113 section 8.6: there is no 101 in HTTP/2
                stream.abort()
                exchange.on_upstream_invalid("101 over HTTP/2")
            elif exchange is not None and event.status < 200 and stream.count_informational():
                stream.abort()
                exchange.on_upstream_invalid("too many informational answers")
            elif exchange is not None:
                if stream.bodyless or event.status in (204, 304):
                    _without_body(event)
                exchange.on_response_head(event, b"")
            return
        if self._streams.get(stream.id) is not stream:
            return
        self._give_back(stream)
        stream.exchange = None
        if isinstance(event, End) and not stream.ended:
            self._codec.reset(stream.id, CANCEL)
        self._drop(stream.id)
        if exchange is None:
            return
        if isinstance(event, End):
            exchange.on_response_end(event.trailers)
        elif isinstance(event, Reset) and event.code == REFUSED_STREAM:
            exchange.on_upstream_refused(blamed=self._pool.keeps(self))
        elif isinstance(event, Reset) and event.provoked:
            exchange.on_upstream_invalid("malformed HTTP/2")
        else:
            exchange.on_upstream_lost(saw_response=False)

    def _on_goaway(self, event: GoAway) -> None:
        self._pool.leave(self)
        for stream_id in [stream_id for stream_id in self._streams if stream_id > event.last_stream]:
            exchange = self._streams[stream_id].exchange
            self._streams[stream_id].exchange = None
            self._drop(stream_id)
            if exchange is not None:
                exchange.on_upstream_refused(blamed=False)
        if not self._streams:
            self._close()

    def connection_lost(self, error: Exception | None) -> None:
        """Drop the connection, which is gone, with the requests on it."""
        if not self.is_open():
            return  # the pool has said so already
        self.phase = Phase.LOST
        self._transport = None
        self._note()
        self._runtime.wheel.cancel(self)
        self._pool.lost(self)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            exchange, stream.exchange = stream.exchange, None
            if exchange is not None and self._codec.broken:
                exchange.on_upstream_invalid("malformed HTTP/2")
            elif exchange is not None and not self.settled:
                exchange.on_upstream_refused(
                    blamed=False
                )  # a server's first word is SETTINGS: nobody has read anything here
            elif exchange is not None:
                exchange.on_upstream_lost(saw_response=False)

    def on_deadline(self, now: float) -> None:
        """Act on missing SETTINGS, or close what is idle for too long."""
        if not self.settled:
            self._codec.assume_settings()
            self._settle()
        elif not self._streams:
            self._close()


def _without_body(head: ResponseHead) -> None:
    """Return the head of an answer without a body (HEAD, 204, 304): a length only informs, an open end is none."""
    if head.content_length > 0:
        head.fields.append((b"content-length", b"%d" % head.content_length))
    head.content_length = 0
