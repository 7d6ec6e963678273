"""The HTTP/1.1 connections of one endpoint.

Rules:
- Last in, first out: the connection used last is the one most likely alive, and the others can time out.
- A request that finds none starts one connection; whichever is free first, that or a released one, serves it.
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
        to_app: bool = False,
    ) -> None:
        Http1PoolEvents.__init__(self, runtime, cluster, endpoint, meter, to_app)
        self.idle_seconds = idle_seconds
        self._idle: list[Http1UpstreamConnection] = []

    def acquire(self, exchange: ExchangeEvents) -> Http1UpstreamConnection | None:
        """A free connection, or None: then `exchange.on_connected` or `on_connect_failed` follows."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        self._wait(exchange)
        self._open()
        return None

    def overflows(self) -> bool:
        """Whether a request would need a connection that the circuit breaker does not allow."""
        limits = self._cluster.policy.circuit_breaker
        if self._idle:
            return False
        return (
            self._cluster.pending_requests >= limits.max_pending_requests
            or self._cluster.connections >= limits.max_connections
        )

    async def _connect(self) -> None:
        connection = Http1UpstreamConnection(self)
        failure = await self._dial(connection)
        if failure:
            if not connection.made:  # else it was in time, is being closed, and `lost` counts it
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
        """The connection is free again."""
        if self._waiting:
            self._next().on_connected(connection)
        else:
            self._keep(connection)

    def _keep(self, connection: Http1UpstreamConnection) -> None:
        if self.endpoint.state != "ready":
            connection.abort()
            return
        self._idle.append(connection)
        connection.idle_at = self.runtime.now() + self.idle_seconds
        if connection.slot < 0:  # else it looks again when its present deadline comes
            self.runtime.wheel.schedule(connection, connection.idle_at)

    def lost(self, connection: Http1UpstreamConnection) -> None:
        """The connection was closed, by whichever side."""
        self._count_closed()
        self.runtime.wheel.cancel(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close_idle(self) -> None:
        """Close what nobody uses: the endpoint takes no more requests."""
        for connection in list(self._idle):
            connection.abort()
