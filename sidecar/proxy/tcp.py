"""A TCP connection through the proxy: two sockets, bytes both ways, each side's end passed on alone.

Rules:
- An endpoint is picked per connection; one that cannot be connected is followed by another, as often as the
  service's policy retries, and beyond that while another is in routing. Nothing was sent by then: it is always safe.
- A session that is reset within the connect time-out, before a byte came from its endpoint, was not taken: a kernel
  resets what an app has not accepted when it stops listening, and a sidecar what its app did not take. It goes on with
  another endpoint, with all that the client sent, at most `MAX_EARLY_BYTES`. What an app has read and closed ends with
  FIN, and that is the end of the session.
- Each session is one of the connections that the circuit breaker allows, from its client's arrival to its end. Beyond
  them, and while memory is short, a client is closed at once.
- Bytes that the client sends before the connection stands wait, at most `MAX_EARLY_BYTES`.
- Half-closes are passed on. The pair is closed when both sides have ended, when either breaks, or when nothing
  moved for the idle time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from sidecar.core.direction import INBOUND, Direction
from sidecar.core.flags import OM, UF, UH, UO, URX, Flags
from sidecar.core.meters import ServerMeter
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.timers import Timed
from sidecar.proxy.base.connect import connect
from sidecar.proxy.base.descriptors import OUT_OF_DESCRIPTORS, is_exhausted, is_reserved
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES, LONG_READ_BYTES
from sidecar.proxy.base.sockets import connect_failure, keep_connection_alive, reset
from sidecar.proxy.tcp_replay import MAX_EARLY_BYTES, Replay
from sidecar.proxy.upstream.destination import Destination

LONGEST_REPLAY_SECONDS: Final = 1.0
"""Where the policy has no connect time-out."""


class _Side(asyncio.Protocol):
    """One of the two sockets."""

    def __init__(self, session: TcpSession) -> None:
        self._session: TcpSession | None = session  # while the socket stands: each would keep the other
        self.transport: asyncio.Transport | None = None
        self.ended = False
        self.peer: _Side | None = None
        self.early: list[bytes] = []  # what came before the other socket stood
        self.early_bytes = 0
        self.was_reset = False  # before it had a peer
        self.is_full = False  # it takes bytes slower than they come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: the socket is connected."""
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self.transport = transport
        if self._session is not None:
            self._session.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        session = self._session
        if session is not None:
            session.moved(self, len(data))
            if session.replay is not None:
                session.remember(self, data)
        if self.peer is None:
            self.keep(data)
            return
        self.peer.write(data)
        if len(data) >= LONG_READ_BYTES and session is not None:
            session.read_much(self, len(data))

    def read_on(self) -> None:
        """Read again, unless the other side has to catch up."""
        peer, transport = self.peer, self.transport
        if peer is not None and not peer.is_full and transport is not None and not transport.is_closing():
            transport.resume_reading()

    def keep(self, data: bytes) -> None:
        """Keep bytes until the other socket stands."""
        self.early.append(data)
        self.early_bytes += len(data)
        if self._session is not None:
            self._session.hold(self, self.early_bytes)
        if self.early_bytes >= MAX_EARLY_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def join(self, peer: _Side) -> None:
        """Pass on what waited: the other socket stands."""
        # Before anything is written: the other side may say at once that it is full.
        if self.transport is not None and not self.transport.is_closing() and not self.ended:
            self.transport.resume_reading()
        if self.early and self._session is not None:
            self._session.hold(self, 0)
        for data in self.early:
            peer.write(data)
        self.early.clear()
        if self.ended:
            peer.write_eof()

    def write(self, data: bytes) -> None:
        """Send bytes that the other side sent."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def write_eof(self) -> None:
        """Pass on that the other side has ended."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def eof_received(self) -> bool:
        """Note that the side sends no more."""
        self.ended = True
        if self._session is not None:
            self._session.ended(self)
        peer = self.peer
        if peer is not None:
            peer.write_eof()
            if peer.ended and self._session is not None:
                self._session.finish()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """End the pair with its socket, unless the endpoint has never taken it."""
        session, self._session = self._session, None
        if session is not None:
            session.hold(self, 0)
        if session is not None and not session.goes_on(self, error):
            who = "client" if self is session.client else "service"
            what = "closed the connection" if error is None else f"broke off: {error}"
            session.finish(self, f"the {who} {what}")
        self.transport = self.peer = None

    def is_open(self) -> bool:
        """Return whether the socket is connected, and its end has not been noted."""
        return self.transport is not None

    def pause_writing(self) -> None:
        """Note that the side takes bytes slower than they come."""
        self.is_full = True
        if self._session is not None and self.transport is not None:
            self._session.hold(self, self.transport.get_write_buffer_size())
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Note that the side has caught up."""
        self.is_full = False
        if self._session is not None:
            self._session.hold(self, 0)
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def give_up(self, count: int) -> int:
        """Cut a session of which one side does not read."""
        if self._session is not None:
            self._session.cut_soon()
        return 0


class TcpSession(Timed):
    """A client's connection and the endpoint's that serves it."""

    def __init__(
        self,
        destination: Destination,
        direction: Direction,
        meter: ServerMeter,
        on_closed: Callable[[TcpSession], None] | None = None,
        greeting: bytes = b"",
        refusal: bytes = b"",
    ) -> None:
        super().__init__()
        self._destination = destination
        self._runtime = destination.runtime
        self._meter = meter
        self._on_closed = on_closed
        self._greeting = greeting  # what the client reads first once the connection stands (CONNECT)
        self._refusal = refusal  # what it reads if none can be made
        self._direction = direction
        self.replay: Replay | None = None  # what the client sent, while the endpoint may not have taken it
        self._tried: list[Endpoint] = []
        self._endpoint: Endpoint | None = None
        self._generation = 0
        self._moved_at = self._runtime.now()
        self._finished = False
        self._counted = False  # among the cluster's connections
        self._flags: Flags = ()
        recorder = self._runtime.recorder
        self._observation = recorder.connection(direction) if recorder is not None else None
        self.client = _Side(self)

    def opened(self, side: _Side) -> None:
        """Note that a socket of the pair is connected."""
        if side is self.client:
            if self._observation is not None and side.transport is not None:
                self._observation.peer = side.transport.get_extra_info("peername")
            self._meter.connections += 1
            self._meter.active_connections += 1
            self.start()

    def start(self) -> None:
        """Look for an endpoint; the client's socket stands."""
        self._runtime.work += 1
        self._runtime.clients.sessions += 1
        self._destination.meter.requests += 1
        if self._runtime.shedding:
            self._refuse((OM,), "the sidecar is short of memory")
            return
        if self.client.transport is not None and is_reserved(self.client.transport):
            self._runtime.lack_descriptor()
            self._refuse((UF,), OUT_OF_DESCRIPTORS)
            return
        if self._overflows():
            self._destination.meter.overflows += 1
            self._refuse((UO,), "the circuit breaker is open")
            return
        self._counted = True
        self._destination.cluster.connections += 1
        self._runtime.spawn(self._connect(), f"tcp {self._destination.cluster.name}")

    def _overflows(self) -> bool:
        cluster = self._destination.cluster
        return cluster.connections >= cluster.policy.circuit_breaker.max_connections

    def adopt(self, transport: asyncio.Transport, early: bytes) -> None:
        """Take a client's socket over from HTTP."""
        transport.set_protocol(self.client)
        self.client.transport = transport
        self._meter.active_connections += 1
        if self._observation is not None:
            self._observation.peer = transport.get_extra_info("peername")
        if early:
            self.client.keep(early)
        self.start()

    async def _connect(self) -> None:
        cluster = self._destination.cluster
        while self._may_try():
            now = self._runtime.now()
            endpoint = cluster.pick(now, self._runtime.random(48), self._tried)
            if endpoint is None:
                break
            generation = endpoint.begin(now)
            server = _Side(self)
            try:
                transport = await self._dial(server, endpoint)
            except OSError as error:
                if is_exhausted(error):
                    self._runtime.lack_descriptor()
                    cluster.abandon(endpoint, self._runtime.now())
                    endpoint.end(generation)
                    self._tried.append(endpoint)
                    break
                endpoint.connect_failure = connect_failure(error)
                self._failed(endpoint, generation)
                continue
            endpoint.connect_failure = ""
            if server.was_reset:  # before this task heard that it was connected
                self._failed(endpoint, generation)
                continue
            keep_connection_alive(transport)
            cluster.succeed(endpoint, self._runtime.now(), self._runtime.now() - now)
            self._endpoint, self._generation = endpoint, generation
            if self._observation is not None:
                self._observation.endpoint = endpoint
            self._join(server)
            return
        self._refuse(_reason(len(self._tried)), "no endpoint could be connected")

    async def _dial(self, server: _Side, endpoint: Endpoint) -> asyncio.Transport:
        """Connect in time. Raises OSError."""
        seconds = self._destination.cluster.policy.timeouts.connect_seconds
        return await connect(self._runtime.loop, server, endpoint.address, endpoint.port, seconds)

    def _may_try(self) -> bool:
        """Return whether to try another endpoint: by the policy's count, and beyond it while one is in routing."""
        if self._finished:
            return False
        return len(self._tried) <= self._destination.cluster.policy.retries.count or self._knows_another()

    def _knows_another(self) -> bool:
        cluster = self._destination.cluster
        return cluster.policy.retries.count > 0 and cluster.has_another(self._tried, self._runtime.now())

    def _failed(self, endpoint: Endpoint, generation: int) -> None:
        destination = self._destination
        ejected = destination.cluster.refuse(endpoint, self._runtime.now())
        endpoint.end(generation)
        self._tried.append(endpoint)
        destination.meter.connect_errors += 1
        destination.meter.ejections += ejected
        destination.on_unreachable()

    def _refuse(self, flags: Flags, why: str) -> None:
        transport = self.client.transport
        if transport is not None and self._refusal and not self._finished:
            transport.write(self._refusal)
            transport.close()
        elif transport is not None and self._direction is INBOUND and not self._finished:
            reset(transport)  # the calling sidecar hears that nobody has taken the session
        if not self._finished:
            self._flags = flags
        self.finish(how=why)

    def _join(self, server: _Side) -> None:
        client = self.client
        if self._finished or client.transport is None or server.transport is None:
            if server.transport is not None:
                server.transport.abort()
            self._leave_endpoint()
            return
        if self._greeting:
            client.write(self._greeting)
        self._greeting = self._refusal = b""
        client.peer, server.peer = server, client
        seconds = self._destination.cluster.policy.timeouts.connect_seconds or LONGEST_REPLAY_SECONDS
        self.replay = Replay(self._runtime.held, client.early, self._runtime.now() + seconds)
        client.join(server)
        server.join(client)
        if client.ended and server.ended:
            self.finish()
            return
        seconds = self._destination.cluster.policy.timeouts.tcp_idle_seconds
        if seconds > 0:
            self._runtime.wheel.schedule(self, self._moved_at + seconds)

    def remember(self, side: _Side, data: bytes) -> None:
        """Keep what the client sends until the endpoint has shown that it took the session."""
        replay = self.replay
        if replay is not None and not (side is self.client and replay.add(data, self._runtime.now())):
            self._forget()

    def ended(self, side: _Side) -> None:
        """Note that a side sends no more: an endpoint that says so has taken the session."""
        if side is not self.client:
            self._forget()

    def _forget(self) -> list[bytes]:
        """Keep no more of what the client sent. Return what was kept."""
        replay, self.replay = self.replay, None
        return replay.end() if replay is not None else []

    def goes_on(self, side: _Side, error: Exception | None) -> bool:
        """Note a lost socket. Return whether the session goes on with another endpoint: this one has not taken it."""
        endpoint, client = self._endpoint, self.client
        if side is client or not isinstance(error, ConnectionError):
            return False
        if side.peer is None:
            side.was_reset = True
            return True
        if self.replay is None or endpoint is None:
            return False
        if self._finished or client.transport is None or client.transport.is_closing():
            return False
        if not self.replay.is_in_time(self._runtime.now()):
            return False
        early = self._forget()
        self._endpoint = None
        self._failed(endpoint, self._generation)
        if not self._knows_another():
            self._flags = (UF,)
            if self._direction is INBOUND:
                reset(client.transport)
            return False
        self._runtime.wheel.cancel(self)
        client.peer = None
        client.early, client.early_bytes = early, sum(map(len, early))
        self._runtime.spawn(self._connect(), f"tcp {self._destination.cluster.name}")
        return True

    def moved(self, side: _Side, count: int) -> None:
        """Count bytes that a side has sent."""
        self._moved_at = self._runtime.now()
        if self._observation is not None:
            if side is self.client:
                self._observation.received += count
            else:
                self._observation.sent += count
        self._meter.bytes += count
        self._destination.meter.bytes += count

    def read_much(self, side: _Side, count: int) -> None:
        """Let others have their turn if this side and others have brought much."""
        if self._runtime.read_much(count) and side.transport is not None and not side.transport.is_closing():
            side.transport.pause_reading()
            self._runtime.rest(side)

    def hold(self, side: _Side, count: int) -> None:
        """Note how many bytes a side does not take."""
        self._runtime.held.note(side, count, self._runtime.now())

    def cut_soon(self) -> None:
        """End both sides: too many bytes wait for one. Not from within its transport's call of `pause_writing`."""
        self._runtime.loop.call_soon(self._cut)

    def _cut(self) -> None:
        self._flags = (OM,)
        sides = (self.client, self.client.peer)
        self.finish(how="too many bytes waited for a side that does not read")
        for side in sides:
            if side is not None and side.transport is not None:
                side.transport.abort()

    def finish(self, lost: _Side | None = None, how: str = "both sides ended") -> None:
        """Close what is left of the pair; buffered bytes are still written."""
        peer = self.client.peer
        for side in (self.client, peer):
            if side is not None and side is not lost and side.transport is not None:
                side.transport.close()
        if self._finished:
            return
        self._finished = True
        self._forget()
        self._runtime.wheel.cancel(self)
        self._runtime.work -= 1
        self._runtime.clients.sessions -= 1
        if self._flags:
            self._destination.failures.count_flags(self._flags)
        if self._observation is not None:
            self._observation.end(self._destination.cluster.name, self._flags, how)
        self._leave_endpoint()
        if self._counted:
            self._destination.cluster.connections -= 1
        self._meter.active_connections -= 1
        if self._on_closed is not None:
            self._on_closed(self)

    def _leave_endpoint(self) -> None:
        if self._endpoint is not None:
            self._endpoint.end(self._generation)
            self._endpoint = None

    def on_deadline(self, now: float) -> None:
        """Close the pair if nothing moved for the idle time-out."""
        seconds = self._destination.cluster.policy.timeouts.tcp_idle_seconds
        idle_at = self._moved_at + seconds
        if seconds <= 0:
            return  # it was turned off meanwhile
        if idle_at > now:
            self._runtime.wheel.schedule(self, idle_at)
        else:
            self.finish(how="idle time-out")


def _reason(tried: int) -> Flags:
    """Return the flags of a connection for which so many endpoints were tried without success."""
    if not tried:
        return (UH,)
    return (UF,) if tried == 1 else (UF, URX)
