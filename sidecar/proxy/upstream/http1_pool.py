"""The HTTP/1.1 connections of one endpoint.

Rules:
- Last in, first out: the connection used last is the one most likely alive, and the others can time out.
- A request that finds none starts one connection; whichever is free first, that or a released one, serves it.
- A connection rests until the loop has read its sockets once more: an app that closes behind its answer is found out
  before the next request is on its way, which nobody could repeat if it is a POST. Who waits for one that was closed
  meanwhile starts another.
- The failure of a connection fails one waiting request.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.meters import ClientMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.proxy.base.interfaces import ExchangeEvents
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.http1 import Http1PoolEvents, Http1UpstreamConnection
from sidecar.proxy.upstream.pool import Phase
from sidecar.proxy.upstream.queue import Queue, Room

MESH_IDLE_SECONDS: Final = 30.0
"""Another sidecar keeps an idle connection for 300 s, so this side always closes first."""
APP_IDLE_SECONDS: Final = 1.0
"""Below the keep-alive of every common application server (gunicorn's is 2 s): reusing a connection that the app
is closing would fail a request that is not idempotent."""


class Http1Pool(Http1PoolEvents):
    """Idle connections to one endpoint, and the exchanges that wait for one."""

    def __init__(
        self,
        runtime: Runtime,
        cluster: Cluster,
        endpoint: Endpoint,
        idle_seconds: float,
        meter: ClientMeter,
        queue: Queue,
        to_app: bool = False,
    ) -> None:
        Http1PoolEvents.__init__(self, runtime, cluster, endpoint, meter, queue, to_app)
        self.idle_seconds = idle_seconds
        self._idle: list[Http1UpstreamConnection] = []
        self._serving = False  # it is called soon

    def acquire(self, exchange: ExchangeEvents) -> Http1UpstreamConnection | None:
        """Return a free connection, or None: then `exchange.on_connected` or `on_connect_failed` follows."""
        connection = self._take()
        if connection is not None:
            return connection
        self._wait(exchange)
        if self._idle:
            self._serve_soon()
        else:
            self._open()
        return None

    def _take(self) -> Http1UpstreamConnection | None:
        """Return the idle connection used last of those that have rested."""
        idle = self._idle
        turn = self.runtime.turn
        if idle and idle[-1].answered_turn != turn and not idle[-1].closed:
            return idle.pop()  # nearly always
        for index in range(len(idle) - 1, -1, -1):
            connection = idle[index]
            if connection.closed or connection.answered_turn != turn:
                del idle[index]
                if not connection.closed:
                    return connection
        return None

    def _serve_soon(self) -> None:
        if not self._serving:
            self._serving = True
            self.runtime.loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Hand on what rested: it is written in the next turn, after the sockets were read."""
        self._serving = False
        while self._waiting and self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                self._next().on_connected(connection)
        for _ in range(len(self._waiting) - self._opening):
            self._open()

    def _connects_needed(self) -> int:
        return len(self._waiting)

    def room(self) -> Room:
        """Return what can be done for another request."""
        if self._idle:
            return Room.NOW
        limits = self._cluster.policy.circuit_breaker
        if self._cluster.pending_requests >= limits.max_pending_requests:
            return Room.NONE
        return Room.LATER if self._cluster.connections >= limits.max_connections else Room.NOW

    def close_an_idle_one(self) -> bool:
        """Close the connection that has been idle for longest. Return whether there was one."""
        for connection in self._idle:
            if not connection.closed:
                connection.abort()
                return True
        return False

    async def _connect(self) -> None:
        if not self._wants_another():
            self._uncount()
            return
        connection = Http1UpstreamConnection(self)
        failure = await self._dial(connection)
        self._opening -= 1
        if failure:
            if connection.phase is Phase.CONNECTING:  # else `lost` has counted it
                self._count_closed()
            self._failed(failure)
            return
        if connection.closed:
            self._failed("it was closed at once")  # `lost` has seen it already, or will
        elif self._waiting:
            self._next().on_connected(connection)
        else:
            self._keep(connection)

    def _failed(self, reason: str) -> None:
        self._count_failure()
        if self._waiting:
            self._next().on_connect_failed(reason)

    def release(self, connection: Http1UpstreamConnection) -> None:
        """Take back a connection that is free again."""
        self._keep(connection)
        if self._waiting:
            self._serve_soon()

    def _keep(self, connection: Http1UpstreamConnection) -> None:
        if self.endpoint.state != "ready":
            connection.abort()
            return
        self._idle.append(connection)
        connection.idle_at = self.runtime.now() + self.idle_seconds
        if connection.slot < 0:  # else it looks again when its present deadline comes
            self.runtime.wheel.schedule(connection, connection.idle_at)

    def lost(self, connection: Http1UpstreamConnection) -> None:
        """Forget a connection that was closed, by whichever side."""
        self._count_closed()
        self.runtime.wheel.cancel(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close_idle(self) -> None:
        """Close what nobody uses: the endpoint takes no more requests."""
        for connection in list(self._idle):
            connection.abort()
