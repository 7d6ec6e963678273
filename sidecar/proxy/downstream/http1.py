"""One HTTP/1.1 connection of a client, and the exchanges on it, one after the other.

Rules:
- Pipelined requests are answered in order: events of the next request wait in a queue, and while it is not empty
  nothing more is read.
- Reading also stops while the endpoint takes the request slower than it comes; the answer's reading stops while
  the client does not take it (watermarks of the transport).
- A client that breaks the protocol gets one answer that says how, and the connection is closed. A request that was
  answered already is not answered again, whatever becomes of its body; an answer under way is cut.
- A client that is still sending when it is refused would lose its answer to the reset that closing then makes (RFC 9112
  section 9.6): only our side is ended, and what comes is thrown away for a while.
- After an answer with `Connection: close` no request is served; before it, all that came in front of the last one are.
- Towards HTTP/1.0 an answer of unknown length ends with the connection, and one that is cut with a reset.
- One lazy deadline per connection looks after a head or body that does not come and a connection nobody uses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

from sidecar.core.errors import LocalReply, ProtocolError, client_error
from sidecar.core.flags import DPE
from sidecar.core.http.http1_reader import Event
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.http1_writer import encode_chunk, encode_last_chunk, encode_response_head
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead
from sidecar.core.timers import Timed
from sidecar.proxy.base.output import Output, peer_address
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES
from sidecar.proxy.base.sockets import reset
from sidecar.proxy.downstream.frontend import Frontend
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.upstream.destination import Destination

HEAD_SECONDS: Final = 10.0
"""From the first byte of a head to its last. Slow heads are an attack or a broken client."""
BODY_IDLE_SECONDS: Final = 30.0
"""Silence in the middle of a request's body."""
KEEP_ALIVE_SECONDS: Final = 300.0
"""Silence between requests: Service Connect's idle time-out."""
MAX_DISCARDED_BODY_BYTES: Final = 1 << 20
"""A body that nobody wants any more is read up to here to keep the connection; beyond, the connection is closed."""
LINGER_SECONDS: Final = 5.0
"""How long a client that was refused may go on sending until it has read why."""
MAX_LINGER_BYTES: Final = 16 << 20
"""How much of that is thrown away: more than the sockets of both sides hold."""
CLOSING_SECONDS: Final = 30.0
"""How long a client may take for the last of its answers; what it has not taken then is dropped."""
MAX_EARLY_BYTES: Final = 65_536
"""What a client may send behind a request to leave HTTP before that is answered."""


class DownstreamConnection(asyncio.Protocol, Timed):
    """A connection accepted by a listener."""

    def __init__(self, listener: Frontend) -> None:
        Timed.__init__(self)
        self._listener = listener
        self._runtime = listener.runtime
        self._meter = listener.meter
        self._transport: asyncio.Transport | None = None
        self._output: Output | None = None
        self._peer = b""
        self._reader = RequestReader(listener.accept_connect, listener.http_10_host())
        self._queue: deque[Event] = deque()
        self._pumping = False
        # The request in hand.
        self._exchange: Exchange | None = None
        self._responding = False
        self._request_whole = True
        self._method = b""
        self._http_10 = False
        self._chunked = False
        self._discarded = 0
        self._close_after = False
        self._ended = False  # the client sends no more
        # Flow and time.
        self._paused = False
        self._pause_wanted = False
        self._full = False
        self._closing = False
        self._lingering = False
        self._lingered = 0
        self._quiet_since = self._runtime.now()
        self._head_since = 0.0

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._transport = transport
        self._output = Output(self._runtime, transport)
        self._peer = peer_address(transport)
        self._listener.opened(self)
        self._head_since = self._quiet_since  # the first head must come soon, or at least its first byte
        self._runtime.wheel.schedule(self, self._quiet_since + KEEP_ALIVE_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._meter is not None:
            self._meter.bytes += len(data)
        exchange = self._exchange
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.on_client_data(data)
            return
        if self._closing:
            self._lingered += len(data)
            if self._lingered > MAX_LINGER_BYTES:
                self.abort()
            return
        now = self._quiet_since = self._runtime.now()
        idle = self._reader.idle()
        try:
            events = self._reader.feed(data)
        except ProtocolError as error:
            self._refuse(error)
            return
        if (idle or events) and not self._reader.idle():
            self._head_since = now
            self._runtime.wheel.schedule(self, now + HEAD_SECONDS)
        self._queue.extend(events)
        self._pump()

    def _pump(self) -> None:
        """Work off the queue as far as the present request lets it."""
        if self._pumping:
            return  # an answer came within this very call: the loop below goes on
        self._pumping = True
        queue = self._queue
        while queue and not self._closing:
            event = queue[0]
            if isinstance(event, RequestHead):
                if self._responding or not self._request_whole:
                    break
                queue.popleft()
                self._begin(event)
            else:
                queue.popleft()
                self._on_body_event(event)
        self._pumping = False
        self._update_reading()

    def _on_body_event(self, event: Event) -> None:
        exchange = self._exchange
        if isinstance(event, bytes):
            if exchange is not None:
                exchange.on_request_data(event)
            else:
                self._discarded += len(event)
                if self._discarded > MAX_DISCARDED_BODY_BYTES:
                    self._close_slowly()
        elif isinstance(event, End):
            self._request_whole = True
            if exchange is not None:
                exchange.on_request_end(event.trailers)
            elif self._close_after:
                self.close()  # it was answered already

    def _begin(self, head: RequestHead) -> None:
        self._method = head.method
        self._http_10 = head.is_http_10
        self._responding = True
        self._request_whole = False
        self._discarded = 0
        self._close_after = self._is_last()
        if head.content_length != 0:
            self._runtime.wheel.schedule(self, self._runtime.now() + BODY_IDLE_SECONDS)
        self._listener.prepare(head, self._peer)
        target = self._listener.route(head)
        if isinstance(target, Destination):
            exchange = self._exchange = Exchange(self, head, target)
            if self._runtime.recorder is not None:
                self._listener.observe(self, exchange, head, target, self._peer, None)
            if self._full:
                exchange.on_client_full()
            exchange.start()
        elif isinstance(target, LocalReply):
            self._close_after = self._close_after or self._reader.left_http
            self._lingering = self._reader.left_http
            self._listener.refused(self, head, target, self._peer, None)
            self.send_local(target)
        else:
            target(self)  # the listener takes the connection over (CONNECT)

    def _is_last(self) -> bool:
        """Whether no request follows the one in hand."""
        if self._reader.keep_alive and not self._ended:
            return False
        return not any(isinstance(event, RequestHead) for event in self._queue)

    def _stay(self) -> None:
        """The service stays with HTTP: what came behind the request to leave it is the next request."""
        try:
            self._queue.extend(self._reader.stay())
        except ProtocolError as error:
            self._refuse(error)

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport to another protocol, with the bytes that came behind the head."""
        transport = self._transport
        if transport is None or self._output is None:
            raise RuntimeError("the connection is closed already")
        self._output.flush()  # answers to requests in front of this one
        self._closing = True
        self._runtime.wheel.cancel(self)
        self._listener.closed(self)
        self._transport = self._output = None
        return transport, self._reader.leftover

    def _refuse(self, error: ProtocolError) -> None:
        self._queue.clear()
        exchange = self._exchange
        if exchange is not None and self._request_whole:
            exchange.on_client_gone(DPE)
            self.abort()  # this answer and one to the nonsense behind its request could be mistaken for each other
            return
        if exchange is None and not self._request_whole:
            self._close_slowly()  # the request was answered already
            return
        reply = client_error(error)
        self._close_after = self._lingering = self._request_whole = True
        if exchange is not None:
            exchange.on_client_broken(reply)
            return
        self._method = b""
        self._listener.refused(self, None, reply, self._peer, None)
        self.send_local(reply)

    def eof_received(self) -> bool:
        """The client sends no more: in a tunnel that is a half-close, else it is gone."""
        exchange = self._exchange
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.on_client_eof()
            return True
        if self._responding and not self._listener.half_close:
            self.abort()  # a sidecar ends its side only when its own client has gone or its time is over
            return False
        # A client that shuts down its side after its requests still reads the answers.
        self._ended = True
        while self._queue and not isinstance(self._queue[-1], End):
            self._queue.pop()  # a request cut short
        if self._responding and self._request_whole:
            self._close_after = self._close_after or self._is_last()
            return True
        if exchange is not None:
            self.abort()  # the endpoint must not take half a request for a whole one
        else:
            self.close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self._transport is None:
            return
        self._closing = True
        self._queue.clear()
        self._runtime.wheel.cancel(self)
        self._listener.closed(self)
        self._transport = self._output = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.on_client_gone()

    def pause_writing(self) -> None:
        """The client takes the answer slower than it comes."""
        self._full = True
        if self._exchange is not None:
            self._exchange.on_client_full()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._full = False
        if self._exchange is not None:
            self._exchange.on_client_ready()

    # The exchange's side.

    def send_head(self, head: ResponseHead) -> None:
        """Begin the answer."""
        if head.status >= 200:
            self._close_after = self._close_after or self._runtime.draining
            self._chunked = head.content_length == UNKNOWN_LENGTH and not self._http_10
        elif self._http_10:
            return
        self._write(encode_response_head(head, self._method, self._close_after, not self._http_10))

    def send_data(self, data: bytes) -> None:
        """A piece of the answer's body."""
        self._write(encode_chunk(data) if self._chunked else data)

    def send_end(self, trailers: Fields) -> None:
        """The answer is whole."""
        if self._chunked:
            self._write(encode_last_chunk(trailers))
            self._chunked = False
        self._answered()

    def send_local(self, reply: LocalReply) -> None:
        """Answer in the service's place."""
        body = reply.message.encode() + b"\n"
        fields = [(b"content-type", b"text/plain; charset=utf-8"), *reply.fields()]
        self.send_head(ResponseHead(reply.status, fields, len(body)))
        self._chunked = False
        if self._method != b"HEAD":
            self._write(body)
        self._answered()

    def _answered(self) -> None:
        self._exchange = None
        self._responding = False
        self._pause_wanted = False
        self._quiet_since = self._runtime.now()
        if self._meter is not None:
            self._meter.requests += 1
        if self._close_after and self._request_whole:
            if self._lingering:
                self._close_slowly()
            else:
                self.close()
            return
        if self._reader.left_http:
            self._stay()
        self._pump()

    def take_early(self) -> bytes:
        """What the client sent behind its request to leave HTTP; from here on its bytes go to the tunnel."""
        early, self._reader.leftover = self._reader.leftover, b""
        self._update_reading()
        return early

    def send_eof(self) -> None:
        """Half-close a tunnel."""
        if self._output is not None:
            self._output.write_eof()

    def close(self) -> None:
        """Close once all is written."""
        self._closing = True
        self._exchange = None
        if self._output is not None and self._transport is not None:
            self._output.close()
            if self._transport.get_write_buffer_size():
                self._runtime.wheel.schedule(self, self._runtime.now() + CLOSING_SECONDS)

    def _close_slowly(self) -> None:
        """Close, but first let a client that is still sending read its answer."""
        if self._output is None or self._transport is None or self._ended or self._transport.is_closing():
            self.close()
            return
        self._closing = True
        self._exchange = None
        self._output.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        seconds = CLOSING_SECONDS if self._transport.get_write_buffer_size() else LINGER_SECONDS
        self._runtime.wheel.schedule(self, self._runtime.now() + seconds)

    def abort(self) -> None:
        """Cut the connection."""
        self._closing = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.on_client_gone()
        if self._transport is not None:
            if self._http_10 and self._responding:
                reset(self._transport)
            else:
                self._transport.abort()

    def pause_request(self) -> None:
        """Read no more of the request for now."""
        self._pause_wanted = True
        self._update_reading()

    def resume_request(self) -> None:
        """Read the request again."""
        if self._pause_wanted:
            self._pause_wanted = False
            self._update_reading()

    def _update_reading(self) -> None:
        pause = self._pause_wanted or bool(self._queue) or len(self._reader.leftover) > MAX_EARLY_BYTES
        if pause == self._paused or self._transport is None or self._closing:
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _write(self, data: bytes) -> None:
        if self._output is not None:
            if self._meter is not None:
                self._meter.bytes += len(data)
            self._output.write(data)

    # Time.

    def drain(self) -> None:
        """The client hears it with its next answer: HTTP/1.1 has no other word for it."""

    def on_deadline(self, now: float) -> None:
        """Look whether the client has been silent for too long; if not, look again when it could be."""
        if self._closing:
            self.abort()
            return
        if self._responding and self._request_whole:
            # The client waits for us, not we for it; but the next head may have begun.
            due = now + (KEEP_ALIVE_SECONDS if self._reader.idle() else HEAD_SECONDS)
        elif not self._request_whole:
            due = self._quiet_since + BODY_IDLE_SECONDS
            if self._paused:
                due = now + BODY_IDLE_SECONDS
            elif due <= now:
                self._refuse(ProtocolError("the request's body did not come", 408))
                return
        elif not self._reader.idle():
            due = self._head_since + HEAD_SECONDS
            if due <= now:
                self._refuse(ProtocolError("the request's head did not come", 408))
                return
        else:
            due = self._quiet_since + KEEP_ALIVE_SECONDS
            if due <= now:
                self.close()
                return
        self._runtime.wheel.schedule(self, due)
