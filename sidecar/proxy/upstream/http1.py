"""One HTTP/1.1 connection to an endpoint, and the exchange that uses it now.

Rules:
- One exchange at a time. What the endpoint sends while none is there, or after its response, closes the connection.
- A connection that ends before anything of the request was handed to the kernel has not carried it. Nor has one that
  the endpoint had closed when the request came, where the kernel can say so: all of it went in one segment.
- Nor has one that this task's app resets as it ends. A process that ends sends RST only where bytes are unread, and FIN
  where it has read all; and one that ends has closed its port, as an app that resets a request it dislikes has not.
- What comes before the request has left cannot be its answer: it is the rest of an earlier one, or an attack on whoever
  asks next. The request goes elsewhere, whatever its method.
- It goes back to the pool only when the request was sent whole, the response came whole, and both sides keep it.
- An exchange lets go with `detach`. If the rest of the response came in the same read the connection is still good.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import cast

from sidecar.core.errors import NOT_TAKEN, ProtocolError
from sidecar.core.http.http1_responses import ResponseReader
from sidecar.core.http.http1_writer import encode_chunk, encode_last_chunk, encode_request_head
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead
from sidecar.core.timers import Timed
from sidecar.proxy.base.interfaces import ExchangeEvents
from sidecar.proxy.base.output import Output
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES, LONG_READ_BYTES
from sidecar.proxy.base.sockets import ONE_SEGMENT_BYTES, came_too_late, listens
from sidecar.proxy.upstream.pool import Phase, Pool, Pooled


class Http1PoolEvents(Pool):
    """What connections tell their pool."""

    def release(self, connection: Http1UpstreamConnection) -> None:
        """Take back a connection that is free again."""
        raise NotImplementedError

    def lost(self, connection: Http1UpstreamConnection) -> None:
        """Forget a connection that was closed, by whichever side."""
        raise NotImplementedError


class Sending(Enum):
    """What a connection sends: NOTHING → BYTES or CHUNKS → NOTHING, once for each request."""

    NOTHING = "nothing"  # no request, or it is whole
    BYTES = "bytes"
    CHUNKS = "chunks"


class Http1UpstreamConnection(asyncio.Protocol, Timed, Pooled):
    """A connection of a pool."""

    def __init__(self, pool: Http1PoolEvents) -> None:
        Timed.__init__(self)
        self.pool = pool
        self.served = 0  # requests before the present one
        self.idle_at = 0.0  # when it will have been idle for too long
        self.closed = False
        self.answered_turn = -1  # of the loop, in which its last answer ended
        self.phase = Phase.CONNECTING
        self._transport: asyncio.Transport | None = None
        self._output: Output | None = None
        self._reader: ResponseReader  # from the moment that it is connected: it must be released when that ends
        self._exchange: ExchangeEvents | None = None
        self._sending = Sending.NOTHING
        self._bytes_of_response = 0
        self._handed_over_before = 0
        self._bytes_of_request = 0
        self._came_too_late = False
        self._paused = False
        self._full = False

    # The exchange's side.

    def send_head(self, exchange: ExchangeEvents, head: RequestHead) -> None:
        """Begin a request."""
        self._exchange = exchange
        self._sending = Sending.CHUNKS if head.content_length == UNKNOWN_LENGTH else Sending.BYTES
        self._bytes_of_response = 0
        self._handed_over_before = self._output.handed_over if self._output is not None else 0
        self._bytes_of_request = 0
        self._reader.expect(head.method)
        self._write(encode_request_head(head))

    def send_data(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._write(encode_chunk(data) if self._sending is Sending.CHUNKS else data)

    def send_end(self, trailers: Fields) -> None:
        """End the body."""
        if self._sending is Sending.CHUNKS:
            self._write(encode_last_chunk(trailers))
        self._sending = Sending.NOTHING

    def send_raw(self, data: bytes) -> None:
        """Send bytes of a tunnel."""
        self._write(data)

    def send_eof(self) -> None:
        """Half-close a tunnel."""
        if self._output is not None and not self.closed:
            self._output.write_eof()

    def detach(self) -> None:
        """Let go of the rest of the answer, which is not wanted."""
        self._exchange = None

    def close(self) -> None:
        """End a tunnel once all is written."""
        self._exchange = None
        self.closed = True
        if self._output is not None:
            self._output.close()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._exchange = None
        self.closed = True  # the loop says so later only, and until then nobody may take it from the pool
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Take no more of the response for now."""
        self._paused = True
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the response again."""
        self._paused = False
        self.read_on()

    def read_on(self) -> None:
        """Read again, unless the client has to catch up."""
        if self._transport is not None and not self._transport.is_closing() and not self._paused:
            self._transport.resume_reading()

    def reused(self) -> bool:
        """Return whether the present request is not the first: the endpoint may have been closing the connection."""
        return self.served > 0

    def saw_response(self) -> bool:
        """Return whether a byte of the present response has come."""
        return self._bytes_of_response > 0

    def _is_unsent(self) -> bool:
        """Return whether nothing of the request has left yet: it is gathered until the end of the loop's turn."""
        return self._output is not None and self._output.handed_over == self._handed_over_before

    def _went_in_one_segment(self) -> bool:
        """Whether all that was sent of the present request went to the kernel at once, and is that small."""
        return (
            self._output is not None
            and self._output.handed_over == self._handed_over_before + 1
            and self._bytes_of_request <= ONE_SEGMENT_BYTES
        )

    def _was_left_unread(self, error: Exception | None) -> bool:
        """Whether the app of this task ended with the request unread."""
        return (
            isinstance(error, ConnectionResetError)
            and self.pool.to_app
            and self._went_in_one_segment()
            and not listens(self.pool.endpoint.address, self.pool.endpoint.port)
        )

    def _write(self, data: bytes) -> None:
        if self._output is not None and not self.closed:
            size = len(data)
            self._bytes_of_request += size
            self.pool.meter_bytes(size)
            self._output.write(data)

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: the socket is connected."""
        if self.phase is not Phase.CONNECTING:
            return  # the pool gave it up in this turn of the loop: its task, which is cancelled, closes it
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self.phase = Phase.OPEN
        self._transport = transport
        self._output = Output(self.pool.runtime, transport)
        self._reader = ResponseReader(trusted_peer=not self.pool.to_app)
        self.pool.made(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the endpoint."""
        self.pool.meter_bytes(len(data))
        exchange = self._exchange
        if exchange is None:
            self.abort()
            return
        if exchange.tunnel is not None:
            exchange.tunnel.on_data(data)
            return
        if self._is_unsent():
            self.abort()
            exchange.on_upstream_refused(blamed=False)
            return
        self._bytes_of_response += len(data)
        try:
            events = self._reader.feed(data)
        except ProtocolError as error:
            self._exchange = None
            self.abort()
            exchange.on_upstream_invalid(error.reason)
            return
        self._deliver(exchange, events)
        if len(data) >= LONG_READ_BYTES and self.pool.runtime.read_much(len(data)):
            self._rest()

    def _rest(self) -> None:
        if self._transport is not None and self._exchange is not None and not self.closed:
            self._transport.pause_reading()
            self.pool.runtime.rest(self)

    def _deliver(self, exchange: ExchangeEvents, events: list[RequestHead | ResponseHead | bytes | End]) -> None:
        for event in events:
            attached = self._exchange is exchange
            if isinstance(event, bytes):
                if attached:
                    exchange.on_response_data(event)
            elif isinstance(event, End):
                self._finish(exchange if attached else None, event)
                return
            elif isinstance(event, ResponseHead) and attached:
                exchange.on_response_head(event, self._reader.leftover)
        if self._exchange is None and not self.closed:
            self.abort()  # let go in the middle of a response

    def _finish(self, exchange: ExchangeEvents | None, end: End) -> None:
        self._exchange = None
        self.served += 1
        self.answered_turn = self.pool.runtime.turn
        keep = self._sending is Sending.NOTHING and self._reader.keep_alive and not self.closed and not self._full
        if self._paused:
            self.resume_reading()  # the client that had to catch up has nothing to do with the next request
        if exchange is not None:
            # The connection goes back first: the client's next request may come from within this call.
            if keep:
                self.pool.release(self)
            exchange.on_response_end(end.trailers)
        elif keep:
            self.pool.release(self)
        if not keep:
            self.abort()

    def eof_received(self) -> bool:
        """Note that the endpoint sends no more. Only a tunnel goes on half-closed."""
        exchange = self._exchange
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.on_eof()
            return True
        self.closed = True  # as in abort
        self._came_too_late = (
            self._went_in_one_segment() and self._transport is not None and came_too_late(self._transport)
        )
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone."""
        if not self.is_open():
            return  # the pool has said so already
        self.closed = True
        self.phase = Phase.LOST
        self._transport = None
        if self._full:
            self.pool.runtime.held.note(self, 0, self.pool.runtime.now())
        self.pool.lost(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._on_lost(exchange, error)
        self._output = None
        self._reader.release()

    def _on_lost(self, exchange: ExchangeEvents, error: Exception | None) -> None:
        """Tell the exchange under way what the end of the connection means for it."""
        if exchange.tunnel is not None:
            exchange.tunnel.on_closed()
            return
        if self._is_unsent() or (not self.saw_response() and (self._came_too_late or self._was_left_unread(error))):
            exchange.on_upstream_refused(blamed=False)
            return
        try:
            if error is not None:
                raise ProtocolError(str(error))
            events = self._reader.close()
        except ProtocolError:
            exchange.on_upstream_lost(self.saw_response())
            return
        for event in events:
            if isinstance(event, End):
                exchange.on_response_end(event.trailers)

    def pause_writing(self) -> None:
        """Note that the endpoint takes the request slower than it comes."""
        self._full = True
        if self._transport is not None:
            runtime = self.pool.runtime
            runtime.held.note(self, self._transport.get_write_buffer_size(), runtime.now())
        if self._exchange is not None:
            self._exchange.on_upstream_full()

    def resume_writing(self) -> None:
        """Note that the endpoint has caught up."""
        self._full = False
        self.pool.runtime.held.note(self, 0, self.pool.runtime.now())
        if self._exchange is not None:
            self._exchange.on_upstream_ready()

    def give_up(self, count: int) -> int:
        """End a request, or a tunnel, that the endpoint does not take."""
        self.pool.runtime.loop.call_soon(self._cut)  # not from within the transport's own call of `pause_writing`
        return 0

    def _cut(self) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.cut_short(NOT_TAKEN)
        else:
            self.abort()

    def on_deadline(self, now: float) -> None:
        """Idle for too long, if nothing used it since the deadline was set: that is not moved with every request."""
        if self._exchange is not None:
            return  # the pool sets the next deadline
        if self.idle_at > now:
            self.pool.runtime.wheel.schedule(self, self.idle_at)
        else:
            self.abort()
