"""One HTTP/1.1 connection of a client, and the requests on it, one after the other.

    OPEN ──► LINGERING ──► CLOSING ──► CLOSED        Every phase may leave out those between it and a later one;
                                                     none goes back.

- OPEN: requests are read and answered.
- LINGERING: our side has ended, and what comes is thrown away, so that the client can read its last answer.
- CLOSING: the transport was told to close; it writes what it holds.
- CLOSED: the transport is gone, or somebody else's.

Rules:
- Pipelined requests are answered in order: `http1_pipeline` keeps what came behind the request in hand, and while it
  has any of that nothing more is read.
- Reading also stops while the endpoint takes the request slower than it comes; the answer's reading stops while
  the client does not take it (watermarks of the transport).
- A client that breaks the protocol gets one answer that says how, and the connection is closed. A request that was
  answered already is not answered again, whatever becomes of its body; an answer under way is cut.
- A client that is still sending when it is refused would lose its answer to the reset that closing then makes (RFC 9112
  section 9.6): that is what LINGERING is for.
- After an answer with `Connection: close` no request is served; before it, all that came in front of the last one are.
- One lazy deadline per connection looks after a head or body that does not come and a connection nobody uses.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final, cast

from sidecar.core.errors import LocalReply, ProtocolError, client_error
from sidecar.core.flags import DPE, OM
from sidecar.core.http.http1_reader import Event
from sidecar.core.http.messages import NO_REQUEST, End, RequestHead
from sidecar.core.timers import Timed
from sidecar.proxy.base.output import Output, peer_address
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES
from sidecar.proxy.downstream.frontend import Frontend
from sidecar.proxy.downstream.http1_pipeline import Pipeline
from sidecar.proxy.downstream.http1_request import After, Http1Channel, Http1Request
from sidecar.proxy.downstream.time_outs import (
    BODY_IDLE_SECONDS,
    CLOSING_SECONDS,
    HEAD_SECONDS,
    KEEP_ALIVE_SECONDS,
    LINGER_SECONDS,
)
from sidecar.proxy.exchange.exchange import Exchange
from sidecar.proxy.upstream.destination import Destination

MAX_LINGER_BYTES: Final = 16 << 20
"""How much a client that was refused may go on sending: more than the sockets of both sides hold. It is thrown away."""
NOTED_BYTES: Final = 4_096
"""What is held beyond that is noted: more than a usual head, of a connection that takes half as much itself."""


class Phase(Enum):
    """Where a connection is in its life; see the drawing above."""

    OPEN = 0
    LINGERING = 1
    CLOSING = 2
    CLOSED = 3


class Http1Connection(asyncio.Protocol, Timed, Http1Channel):
    """A connection accepted by a listener."""

    def __init__(self, listener: Frontend) -> None:
        Timed.__init__(self)
        self._listener = listener
        self._runtime = listener.runtime
        self._meter = listener.meter
        self._transport: asyncio.Transport | None = None
        self._output: Output | None = None
        self._peer = b""
        self._phase = Phase.OPEN
        self._pipeline = Pipeline(listener.accept_connect, listener.http_10_host())
        self._request: Http1Request | None = None  # the one in hand: not whole yet, or not answered
        self._pumping = False  # the requests that wait are being started
        self._half_closed = False  # the client sends no more
        self._paused = False  # the client is not read
        self._full = False  # the client does not take what was written
        self._noted = 0  # what `held` knows of
        self._lingered = 0
        self._quiet_since = self._runtime.now()
        self._head_since = 0.0

    def _enter(self, phase: Phase) -> None:
        """Go on to a later phase; what is in it already, or beyond, stays there."""
        if phase.value > self._phase.value:
            self._phase = phase

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: a client connected."""
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._transport = transport
        self._output = Output(self._runtime, transport)
        self._peer = peer_address(transport)
        self._listener.opened(self)
        self._head_since = self._quiet_since  # the first head must come soon, or at least its first byte
        self._runtime.wheel.schedule(self, self._quiet_since + KEEP_ALIVE_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        self._meter.bytes += len(data)
        exchange = self._exchange()
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.on_client_data(data)
            return
        if self._phase is not Phase.OPEN:
            self._lingered += len(data)
            if self._lingered > MAX_LINGER_BYTES:
                self.abort()
            return
        now = self._quiet_since = self._runtime.now()
        try:
            head_begins = self._pipeline.feed(data)
        except ProtocolError as error:
            self._refuse(error)
            return
        if head_begins:
            self._head_since = now
            self._runtime.wheel.schedule(self, now + HEAD_SECONDS)
        self._pump()

    def _exchange(self) -> Exchange | None:
        """Return the exchange under way."""
        return self._request.exchange if self._request is not None else None

    def _pump(self) -> None:
        """Go on with what waits, as far as the request in hand lets it."""
        if self._pumping:
            return  # an answer came within this very call: the loop below goes on
        self._pumping = True
        while self._phase is Phase.OPEN:
            request = self._request
            event = self._pipeline.take(request is not None)
            if event is None:
                break
            if request is not None:
                self._on_body_event(request, event)
            elif isinstance(event, RequestHead):
                self._begin(event)
        self._pumping = False
        self.update_reading()
        if self._noted or self._pipeline.held_bytes() > NOTED_BYTES:
            self._note()

    def _on_body_event(self, request: Http1Request, event: Event) -> None:
        exchange = request.exchange
        if isinstance(event, bytes):
            if exchange is not None:
                exchange.on_request_data(event)
            elif request.discard(event):
                self._linger()
        elif isinstance(event, End):
            request.complete = True
            if exchange is not None:
                exchange.on_request_end(event.trailers)
            else:
                self._request = None  # it was answered already
                if request.after is not After.KEEP:
                    self.close()

    def _begin(self, head: RequestHead) -> None:
        after = After.CLOSE if self._is_last() else After.KEEP
        request = self._request = Http1Request(self, self._runtime, head, after)
        if head.content_length != 0:
            self._runtime.wheel.schedule(self, self._quiet_since + BODY_IDLE_SECONDS)
        self._listener.prepare(head, self._peer)
        target = self._listener.route(head)
        if isinstance(target, Destination):
            exchange = request.exchange = Exchange(request, head, target)
            if self._runtime.recorder is not None:
                self._listener.observe(exchange, target, request, head, self._peer)
            if self._full:
                exchange.on_client_full()
            exchange.start()
        elif isinstance(target, LocalReply):
            if self._pipeline.leaves_http():
                request.close_after()
            self._listener.refused(target, request, head, self._peer)
            request.send_local(target)
        else:
            target(self)  # the listener takes the connection over (CONNECT)

    def _is_last(self) -> bool:
        """Return whether no request follows the one in hand."""
        may_follow = self._pipeline.may_follow() and not self._half_closed
        return not (may_follow or self._pipeline.holds_request())

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport to another protocol, with the bytes that came behind the head."""
        transport = self._transport
        if transport is None or self._output is None:
            raise RuntimeError("the connection is closed already")
        self._output.flush()  # answers to requests in front of this one
        early = self._pipeline.take_early()
        self._leave()
        return transport, early

    def _leave(self) -> None:
        """Give up the transport, which another protocol has now."""
        self._enter(Phase.CLOSED)
        self._pipeline.clear()
        if self._noted:
            self._noted = 0
            self._runtime.held.note(self, 0, self._runtime.now())
        self._runtime.wheel.cancel(self)
        self._listener.closed(self)
        self._transport = self._output = None
        self._pipeline.release()

    def _refuse(self, error: ProtocolError) -> None:
        """Refuse a client that broke the protocol or does not go on: say so, if it can still be said."""
        self._pipeline.clear()
        request = self._request
        reply = client_error(error)
        if request is None:
            request = self._request = Http1Request(self, self._runtime, NO_REQUEST, After.LINGER)
            request.complete = True
            self._listener.refused(reply, request, None, self._peer)
            request.send_local(reply)
        elif request.exchange is None:
            self._linger()  # the request was answered already
        elif request.complete:
            request.exchange.on_client_gone(DPE)
            self.abort()  # this answer and one to the nonsense behind its request could be mistaken for each other
        else:
            request.complete = True
            request.after = After.LINGER
            request.exchange.cut_short(reply)

    def eof_received(self) -> bool:
        """Take the end of what the client sends: in a tunnel it is a half-close, else the client is gone."""
        request, exchange = self._request, self._exchange()
        if exchange is not None and exchange.tunnel is not None:
            exchange.tunnel.on_client_eof()
            return True
        is_waiting = request is not None and not request.answered
        if is_waiting and not self._listener.half_close:
            self.abort()  # a sidecar ends its side only when its own client has gone or its time is over
            return False
        # A client that shuts down its side after its requests still reads the answers.
        self._half_closed = True
        self._pipeline.drop_unfinished()
        if request is not None and is_waiting and request.complete:
            if self._is_last():
                request.close_after()
            return True
        if exchange is not None:
            self.abort()  # the endpoint must not take half a request for a whole one
        else:
            self.close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone."""
        if self._transport is None:
            return
        self._pipeline.clear()
        self._leave()
        exchange = self._drop_request()
        if exchange is not None:
            exchange.on_client_gone()

    def _drop_request(self) -> Exchange | None:
        """Drop the request in hand, which gets no answer any more. Return its exchange."""
        request, self._request = self._request, None
        if request is None:
            return None
        exchange, request.exchange = request.exchange, None
        return exchange

    def pause_writing(self) -> None:
        """Note that the client takes the answer slower than it comes."""
        self._full = True
        self._note()
        exchange = self._exchange()
        if exchange is not None:
            exchange.on_client_full()

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self._full = False
        self._note()
        exchange = self._exchange()
        if exchange is not None:
            exchange.on_client_ready()

    def _note(self) -> None:
        """Note what is held, if it is much: what the client does not take, and what of it cannot be used yet."""
        transport = self._transport
        if transport is None:
            return
        held = self._pipeline.held_bytes() + (transport.get_write_buffer_size() if self._full else 0)
        self._noted = held if held > NOTED_BYTES else 0
        self._runtime.held.note(self, self._noted, self._runtime.now())

    def give_up(self, count: int) -> int:
        """Cut a client that does not go on, with all that is held for it."""
        self._noted = 0
        self._pipeline.clear()
        self._runtime.loop.call_soon(self._cut)  # not from within the transport's own call of `pause_writing`
        return 0

    def _cut(self) -> None:
        exchange = self._exchange()
        if exchange is not None:
            exchange.on_client_gone(OM)
        self.abort()

    # The request's side.

    def write(self, data: bytes) -> None:
        """Send bytes of an answer, or of a tunnel."""
        if self._output is not None:
            self._meter.bytes += len(data)
            self._output.write(data)

    def write_eof(self) -> None:
        """Half-close a tunnel."""
        if self._output is not None:
            self._output.write_eof()

    def on_answered(self, request: Http1Request) -> None:
        """Close, or go on with the next request: an answer is whole."""
        self._quiet_since = self._runtime.now()
        self._meter.requests += 1
        if request.complete:
            self._request = None
            if request.after is After.LINGER:
                self._linger()
                return
            if request.after is After.CLOSE:
                self.close()
                return
        try:
            self._pipeline.stay()
        except ProtocolError as error:
            self._refuse(error)
        self._pump()

    def take_early(self) -> bytes:
        """Return what the client sent behind its request to leave HTTP; from here on its bytes go to the tunnel."""
        early = self._pipeline.take_early()
        self.update_reading()
        return early

    def close(self) -> None:
        """Close once all is written."""
        self._enter(Phase.CLOSING)
        self._drop_request()
        if self._output is not None and self._transport is not None:
            self._output.close()
            if self._transport.get_write_buffer_size():
                self._runtime.wheel.schedule(self, self._runtime.now() + CLOSING_SECONDS)

    def _linger(self) -> None:
        """Close, but first let a client that is still sending read its answer."""
        if self._output is None or self._transport is None or self._half_closed or self._transport.is_closing():
            self.close()
            return
        self._enter(Phase.LINGERING)
        self._drop_request()
        self._output.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        seconds = CLOSING_SECONDS if self._transport.get_write_buffer_size() else LINGER_SECONDS
        self._runtime.wheel.schedule(self, self._runtime.now() + seconds)

    def abort(self) -> None:
        """Cut the connection."""
        self._enter(Phase.CLOSING)
        request = self._request
        exchange = self._drop_request()
        if exchange is not None:
            exchange.on_client_gone()
        if self._transport is not None:
            if request is not None:
                request.reset(self._transport)
            else:
                self._transport.abort()

    def update_reading(self) -> None:
        """Read the client, or do not: while its requests wait here or at the endpoint."""
        request = self._request
        pause = (request is not None and request.paused) or self._pipeline.is_full()
        if pause == self._paused or self._transport is None or self._phase is not Phase.OPEN:
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # The listener's side, and time.

    def drain(self) -> None:
        """Close after the next answer: HTTP/1.1 cannot say it otherwise."""

    def has_unsent(self) -> bool:
        """Return whether the client has not taken its answers yet."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def close_unused(self, since: float) -> bool:
        """Close the connection if no request was on it since then, and none is under way or has begun."""
        is_unused = self._request is None and self._pipeline.is_idle() and self._quiet_since <= since
        if not is_unused or self._phase is not Phase.OPEN or self.has_unsent():
            return False
        self.close()
        return True

    def on_deadline(self, now: float) -> None:
        """Look whether the client has been silent for too long; if not, look again when it could be."""
        if self._phase is not Phase.OPEN:
            self.abort()
            return
        request = self._request
        if request is not None and request.complete:
            # The client waits for us, not we for it; but the next head may have begun.
            due = now + (KEEP_ALIVE_SECONDS if self._pipeline.is_idle() else HEAD_SECONDS)
        elif request is not None:
            due = self._quiet_since + BODY_IDLE_SECONDS
            if self._paused:
                due = now + BODY_IDLE_SECONDS
            elif due <= now:
                self._refuse(ProtocolError("the request's body did not come", 408))
                return
        elif not self._pipeline.is_idle():
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
