"""The HTTP/2 connections of one endpoint.

Rules:
- A request takes a stream of the first connection that has one free; only when all are full is another opened. So
  each request is balanced by itself and still few connections carry them all.
- A new connection takes one request at once and the others when its SETTINGS have come; what finds no room waits for a
  free stream or the next connection, whichever is first.
- A connection is being opened, for the pool, until it is known how many streams it takes.
- When no connection is left that could still be made, all who wait hear it; each may try another endpoint.
"""

from __future__ import annotations

from sidecar.core.http.http2_limits import MAX_OWN_STREAMS
from sidecar.core.meters import ClientMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.proxy.base.interfaces import ExchangeEvents
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.http2 import Http2PoolEvents, Http2UpstreamConnection, Http2UpstreamStream
from sidecar.proxy.upstream.pool import Phase
from sidecar.proxy.upstream.queue import Queue, Room


class Http2Pool(Http2PoolEvents):
    """The HTTP/2 connections to one endpoint, and the exchanges that wait for one."""

    def __init__(
        self,
        runtime: Runtime,
        cluster: Cluster,
        endpoint: Endpoint,
        meter: ClientMeter,
        queue: Queue,
        to_app: bool = False,
    ) -> None:
        Http2PoolEvents.__init__(self, runtime, cluster, endpoint, meter, queue, to_app)
        self._connections: list[Http2UpstreamConnection] = []

    def room(self) -> Room:
        """Return what can be done for another request. One that finds all streams taken waits for a stream, here."""
        if self._find() is not None:
            return Room.NOW
        limits = self._cluster.policy.circuit_breaker
        if self._cluster.pending_requests >= limits.max_pending_requests:
            return Room.NONE
        if self._opening or self._connections:
            return Room.NOW
        return Room.LATER if self._cluster.connections >= limits.max_connections else Room.NOW

    def close_an_idle_one(self) -> bool:
        """Close a connection without streams. Return whether there was one."""
        return any(connection.retire() for connection in list(self._connections))

    def _find(self) -> Http2UpstreamConnection | None:
        for connection in self._connections:
            if connection.has_room():
                return connection
        return None

    def acquire(self, exchange: ExchangeEvents) -> Http2UpstreamStream | None:
        """Return a stream, or None: then `on_connected` or `on_connect_failed` follows."""
        connection = self._find()
        if connection is not None:
            return Http2UpstreamStream(connection)
        self._wait(exchange)
        self._open_more()
        return None

    def _open_more(self) -> None:
        """Open another connection if those being opened will not carry all who wait."""
        limit = self._cluster.policy.circuit_breaker.max_connections
        if len(self._waiting) > self._opening * MAX_OWN_STREAMS and self._cluster.connections < limit:
            self._open()

    def _connects_needed(self) -> int:
        return -(-len(self._waiting) // MAX_OWN_STREAMS)

    async def _connect(self) -> None:
        if not self._wants_another():
            self._uncount()
            return
        connection = Http2UpstreamConnection(self)
        failure = await self._dial(connection, is_shared=True)
        if failure and connection.phase is Phase.CONNECTING:  # else `lost` has counted it
            self.not_connected(failure)

    def connected(self, connection: Http2UpstreamConnection) -> None:
        """There is another connection; it says so itself, as much can happen to it before a task hears of it."""
        self._connections.append(connection)
        self.serve_waiting()

    def not_connected(self, reason: str) -> None:
        """Note that no connection could be made."""
        self._count_closed()
        self._count_failure()
        self._not_opened(reason)

    def _not_opened(self, reason: str) -> None:
        self._opening -= 1
        if self._opening == 0:
            # Nobody else will serve them; each may try another endpoint.
            for _ in range(len(self._waiting)):
                self._next().on_connect_failed(reason)

    def settled(self) -> None:
        """Note that a connection knows how many streams it takes."""
        self._opening -= 1
        self.serve_waiting()

    def serve_waiting(self) -> None:
        """Give free streams to those who wait."""
        while self._waiting:
            connection = self._find()
            if connection is None:
                self._open_more()
                return
            self._next().on_connected(Http2UpstreamStream(connection))

    def keeps(self, connection: Http2UpstreamConnection) -> bool:
        """Return whether a connection without streams is still of use."""
        return connection in self._connections and self.endpoint.state == "ready"

    def leave(self, connection: Http2UpstreamConnection) -> None:
        """Take no more requests on the connection."""
        if connection in self._connections:
            self._connections.remove(connection)

    def lost(self, connection: Http2UpstreamConnection) -> None:
        """Forget a connection that was closed, by whichever side."""
        self._count_closed()
        self.leave(connection)
        if not connection.settled:
            self._not_opened("the endpoint closed the connection at once")
        self.serve_waiting()

    def close_idle(self) -> None:
        """Close what nobody uses: the endpoint takes no more requests."""
        for connection in list(self._connections):
            connection.retire()
