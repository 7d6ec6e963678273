"""One HTTP/2 connection of a client, and an exchange for each of its streams.

Rules:
- Answers that the proxy makes itself are gRPC answers where the request is gRPC.
- An answer that was whole before the request was is followed by a reset without error: the rest is not wanted. Not
  so when only the end of the stream is missing: httpx sends it in a frame of its own, and takes a reset for a failure.
- A turn of the loop reads so much of one connection and no more, bytes and heads: the others have theirs.
- A client that begins a body and does not go on is answered 408. A gRPC stream may be silent, and so may any request
  that is being answered already.
- On drain the client hears it twice (RFC 9113 section 6.8): a notice, and `NOTICE_SECONDS` later the last stream that
  is served. What it opens in between is still served.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final, cast

from sidecar.core.direction import OUTBOUND
from sidecar.core.errors import LocalReply
from sidecar.core.flags import DPE, OM
from sidecar.core.http import grpc
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.http2_events import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    GoAway,
    Refused,
    Reset,
    StreamEvent,
)
from sidecar.core.http.http2_frames import MAX_FRAME_BYTES
from sidecar.core.http.http2_limits import MAX_CUT_STREAMS, MAX_CUT_STREAMS_OF_PEERS
from sidecar.core.http.messages import NO_REQUEST, End, Fields, RequestHead, ResponseHead
from sidecar.proxy.base.http2_connection import Http2Connection, Http2Stream
from sidecar.proxy.base.interfaces import ExchangeEvents
from sidecar.proxy.base.output import peer_address
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES
from sidecar.proxy.downstream.frontend import Frontend
from sidecar.proxy.downstream.time_outs import BODY_IDLE_SECONDS, KEEP_ALIVE_SECONDS, LINGER_SECONDS
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.upstream.destination import Destination

WAITED_SECONDS: Final = 0.01
"""A call that its client cuts so late was waited for and given up, as calls with short deadlines are by the hundred.
Those of an attack (rapid reset) are cut at once; of all together libnghttp2 takes `http2.RESETS`."""
BODY_TIMEOUT: Final = LocalReply(DPE, "the request's body did not come", 408)
MAX_READ_BYTES: Final = 131_072
"""Of one turn of the loop: libuv reads a busy socket up to 32 times before it looks at another one, and small frames
are costly to read."""
NOTICE_SECONDS: Final = 1.0
"""Between the two GOAWAYs: longer than a round trip within a region."""


class Drain(Enum):
    """What the client has heard of the end of its connection: NOT_YET → NOTICED → SAID."""

    NOT_YET = "not yet"
    NOTICED = "noticed"  # that it ends soon
    SAID = "said"  # which stream is the last


class Answer(Enum):
    """How far the answer on a stream is: NONE → BEGUN → ENDED; a head without a body leads from NONE to ENDED."""

    NONE = "none"
    BEGUN = "begun"
    ENDED = "ended"


class Http2DownstreamStream(Http2Stream):
    """The client's side of one exchange."""

    __slots__ = ("_connection", "answer", "begun_at", "body_left", "heard_at", "is_grpc", "method", "request_complete")

    def __init__(self, connection: Http2DownstreamConnection, stream_id: int, head: RequestHead) -> None:
        Http2Stream.__init__(self, stream_id)
        self._connection = connection
        self.method = head.method
        self.is_grpc = head.is_grpc
        self.answer = Answer.NONE
        self.request_complete = False
        self.body_left = head.content_length  # bytes of the request that have not come; negative when nobody knows
        self.begun_at = self.heard_at = connection.now()

    def send_head(self, head: ResponseHead) -> None:
        """Begin the answer."""
        self._connection.send_head(self, head)

    def send_data(self, data: bytes) -> None:
        """Send a piece of the answer's body."""
        self._connection.send_data(self, data)

    def send_end(self, trailers: Fields) -> None:
        """End the answer."""
        self._connection.send_end(self, trailers)

    def send_local(self, reply: LocalReply) -> None:
        """Answer in the service's place."""
        if self.is_grpc:
            self._connection.send_head(self, grpc.local_reply(reply))
        else:
            body = b"" if self.method == b"HEAD" else reply.message.encode() + b"\n"
            fields = [(b"content-type", b"text/plain; charset=utf-8"), *reply.fields()]
            self._connection.send_head(self, ResponseHead(reply.status, fields, len(body)))
            if body:
                self._connection.send_data(self, body)
        self._connection.send_end(self, [])

    def send_eof(self) -> None:
        """Never called: no tunnel is begun over HTTP/2."""
        raise RuntimeError("a tunnel over an HTTP/2 stream")

    def take_early(self) -> bytes:
        """Never called: no tunnel is begun over HTTP/2."""
        raise RuntimeError("a tunnel over an HTTP/2 stream")

    def abort(self) -> None:
        """Cut the answer; a gRPC client hears UNAVAILABLE, since of a reset it makes INTERNAL, which nobody retries."""
        if self.is_grpc and self.answer is Answer.BEGUN:
            self._connection.send_end(self, grpc.CUT)
        else:
            self._connection.reset(self, INTERNAL_ERROR)

    def close(self) -> None:
        """Cut the answer: there is no other way to end a stream early."""
        self._connection.reset(self, CANCEL)

    def pause_request(self) -> None:
        """Take no more of the request: the window stays shut."""
        self._paused = True

    def resume_request(self) -> None:
        """Take the request again."""
        if self._paused:
            self._paused = False
            self.heard_at = self._connection.now()
        count = self.give_back()
        if count:
            self._connection.acknowledge(self, count)

    def on_data(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        self.heard_at = self._connection.now()
        self.body_left -= len(data)
        if self.exchange is not None:
            self.exchange.on_request_data(data)
        if not self.hold_back(len(data)):
            self._connection.acknowledge(self, len(data))

    def on_full(self) -> None:
        """Too much of the answer waits."""
        if self.exchange is not None:
            self.exchange.on_client_full()

    def on_ready(self) -> None:
        """Note that the client takes more of the answer."""
        if self.exchange is not None:
            self.exchange.on_client_ready()

    def is_overdue(self, now: float) -> bool:
        """Return whether the client owes the rest of the request for too long."""
        waits = not (self.request_complete or self.answer is not Answer.NONE or self.is_grpc or self._paused)
        return waits and self.heard_at + BODY_IDLE_SECONDS <= now


class Http2DownstreamConnection(Http2Connection[Http2DownstreamStream]):
    """A connection accepted by a listener."""

    def __init__(self, listener: Frontend) -> None:
        # What comes in from the mesh are the requests of many, what goes out those of this task's own app.
        cuts = MAX_CUT_STREAMS if listener.direction is OUTBOUND else MAX_CUT_STREAMS_OF_PEERS
        Http2Connection.__init__(self, listener.runtime, Http2Codec(is_server=True, max_cut_streams=cuts))
        self._listener = listener
        self._meter = listener.meter
        self.now = listener.runtime.now
        self._peer = b""
        self._read_now = 0  # in this turn of the loop
        self._resting = False
        self._drain = Drain.NOT_YET
        self._quiet_since = self._runtime.now()

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: a client connected."""
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._transport = transport
        self._peer = peer_address(transport)
        self._listener.opened(self)
        self._runtime.wheel.schedule(self, self._quiet_since + KEEP_ALIVE_SECONDS)
        self._touch()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        self._meter.bytes += len(data)
        self._read_now += len(data)
        events = self._codec.feed(data)
        is_enough = self._read_now > MAX_READ_BYTES or self._codec.has_unread()
        if is_enough and not self._resting and self._transport is not None:
            self._resting = True
            self._transport.pause_reading()
        if self._codec.block_bytes() > self._noted + MAX_FRAME_BYTES:
            self._note()
        self._deliver(events)
        self._touch()

    def _deliver(self, events: list[tuple[int, StreamEvent]]) -> None:
        for stream_id, event in events:
            if isinstance(event, RequestHead):
                if not self._codec.closed:
                    self._begin(stream_id, event)
            elif isinstance(event, Refused):
                self._refused(stream_id, event.status, event.reason)
            elif not isinstance(event, GoAway):
                stream = self._streams.get(stream_id)
                if stream is not None:
                    self._on_event(stream, event)
                elif isinstance(event, bytes):
                    self._codec.acknowledge(stream_id, len(event))  # of a request that was answered early
                elif isinstance(event, Reset) and event.provoked:
                    self._refused(stream_id, 0, "a malformed head, or frames behind a request's end")

    def _refused(self, stream_id: int, status: int, reason: str) -> None:
        """Log and count what the codec refused: something that was to be a request, or the connection itself."""
        nobody = Http2DownstreamStream(self, stream_id, NO_REQUEST)
        self._listener.refused(LocalReply(DPE, reason, status), nobody, None, self._peer, stream_id)
        if status:
            self._meter.requests += 1

    def _begin(self, stream_id: int, head: RequestHead) -> None:
        stream = Http2DownstreamStream(self, stream_id, head)
        self._streams[stream_id] = stream
        if head.content_length != 0 and self.deadline > stream.heard_at + BODY_IDLE_SECONDS:
            self._runtime.wheel.schedule(self, stream.heard_at + BODY_IDLE_SECONDS)
        if self._runtime.draining and self._drain is Drain.NOT_YET:
            self.drain()
        self._listener.prepare(head, self._peer)
        target = self._listener.route(head)
        if isinstance(target, Destination):
            exchange = stream.exchange = Exchange(stream, head, target)
            if self._runtime.recorder is not None:
                self._listener.observe(exchange, target, stream, head, self._peer, stream_id)
            exchange.start()
        elif isinstance(target, LocalReply):
            self._listener.refused(target, stream, head, self._peer, stream_id)
            stream.send_local(target)
        else:
            self.reset(stream, CANCEL)  # CONNECT over HTTP/2 is not offered

    def _on_event(self, stream: Http2DownstreamStream, event: StreamEvent) -> None:
        if isinstance(event, bytes):
            stream.on_data(event)
        elif isinstance(event, End):
            stream.request_complete = True
            if stream.exchange is not None:
                stream.exchange.on_request_end(event.trailers)
        elif isinstance(event, Reset):
            if not event.provoked and self.now() - stream.begun_at < WAITED_SECONDS:
                self._codec.count_cut()
            exchange = self._forget(stream)
            if exchange is not None:
                exchange.on_client_gone()

    def connection_lost(self, error: Exception | None) -> None:
        """Drop the connection, which is gone, with the requests on it."""
        self._transport = None
        self._note()
        self._runtime.wheel.cancel(self)
        self._listener.closed(self)
        for stream in list(self._streams.values()):
            exchange = self._forget(stream)
            if exchange is not None:
                exchange.on_client_gone()

    # The streams' side.

    def send_head(self, stream: Http2DownstreamStream, head: ResponseHead) -> None:
        """Begin an answer, or send an informational one."""
        if self._streams.get(stream.id) is stream:
            self._codec.send_response(stream.id, head)
            if head.status >= 200:
                stream.answer = Answer.ENDED if head.content_length == 0 else Answer.BEGUN
            self._touch()

    def send_end(self, stream: Http2DownstreamStream, trailers: Fields) -> None:
        """End an answer; what of it waits is still sent."""
        if self._streams.get(stream.id) is not stream:
            return
        if stream.answer is not Answer.ENDED:
            self._codec.send_end(stream.id, trailers)
        if not stream.request_complete and stream.body_left:
            self._codec.end_early(stream.id)
        self._forget(stream)
        self._touch()
        self._meter.requests += 1
        self._meter.grpc_requests += stream.is_grpc

    def reset(self, stream: Http2DownstreamStream, code: int) -> None:
        """Cut an answer."""
        if self._streams.get(stream.id) is stream:
            self._forget(stream)
            self._codec.reset(stream.id, code)
            self._touch()

    def _give_up_stream(self, stream_id: int) -> None:
        """Reset a stream whose client does not read; its answer may have been whole here long ago."""
        stream = self._streams.get(stream_id)
        exchange = self._forget(stream) if stream is not None else None
        self._codec.reset(stream_id, ENHANCE_YOUR_CALM)
        if exchange is not None:
            exchange.on_client_gone(OM)

    def _forget(self, stream: Http2DownstreamStream) -> ExchangeEvents | None:
        """Forget the stream: give its share of the connection's window back."""
        if self._streams.pop(stream.id, None) is None:
            return None
        self._give_back(stream)
        exchange, stream.exchange = stream.exchange, None
        if not self._streams:
            self._quiet_since = self._runtime.now()
        return exchange

    def flush(self) -> None:
        """Write; a client that was read enough of in this turn is read again."""
        self._read_now = 0
        has_unread = self._codec.has_unread()
        transport = self._transport
        if transport is not None and self._resting and not has_unread:
            self._resting = False
            if not transport.is_closing():
                transport.resume_reading()
        Http2Connection.flush(self)
        if has_unread and not self._codec.closed and transport is not None and not transport.is_closing():
            self.data_received(b"")

    def _count_bytes(self, count: int) -> None:
        self._meter.bytes += count

    def _end(self, transport: asyncio.Transport) -> None:
        """Nothing more is said; a client that does not even take the last frames is cut."""
        complaint = self._codec.take_complaint()
        if complaint:
            self._refused(0, 0, complaint)
        transport.close()
        self._runtime.wheel.schedule(self, self.now() + LINGER_SECONDS)

    # Time.

    def drain(self) -> None:
        """Say for the first time that this connection ends."""
        self._drain = Drain.NOTICED
        self._codec.shutdown_notice()
        self._touch()
        self._runtime.wheel.schedule(self, self.now() + NOTICE_SECONDS)

    def on_deadline(self, now: float) -> None:
        """Send a drain's second GOAWAY, refuse a body that does not come, or close what nobody uses."""
        transport = self._transport
        if transport is None:
            return
        if self._codec.closed or transport.is_closing():
            transport.abort()
            return
        if self._drain is Drain.NOTICED:
            self._drain = Drain.SAID
            self._codec.go_away(NO_ERROR)
            self._touch()
        for stream in [stream for stream in self._streams.values() if stream.is_overdue(now)]:
            if stream.exchange is not None:
                stream.exchange.cut_short(BODY_TIMEOUT)
            else:
                stream.send_local(BODY_TIMEOUT)
        idle_at = self._quiet_since + KEEP_ALIVE_SECONDS
        if self._streams:
            self._runtime.wheel.schedule(self, now + BODY_IDLE_SECONDS)
        elif idle_at > now:
            self._runtime.wheel.schedule(self, idle_at)
        else:
            self._close_idle(transport)

    def has_unsent(self) -> bool:
        """Return whether the client has not taken its answers yet: its windows or its socket are full."""
        transport = self._transport
        return transport is not None and (self._codec.queued_in_all() or transport.get_write_buffer_size()) > 0

    def close_unused(self, since: float) -> bool:
        """Close the connection if no stream was open on it since then."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._codec.closed:
            return False
        if self._streams or self._quiet_since > since or self.has_unsent():
            return False
        self._close_idle(transport)
        return True

    def _close_idle(self, transport: asyncio.Transport) -> None:
        # What it has not taken of answers that ended long ago it will not take any more.
        self._codec.go_away(NO_ERROR)
        self.flush()
        self._end(transport)
