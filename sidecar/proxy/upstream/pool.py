"""The connections of one endpoint, whatever protocol they speak: who waits for one, and what the breaker counts.

Rules:
- A connection is tried for at most the policy's connect time-out.
- The circuit breaker counts connections and waiting requests over all endpoints of the cluster: a connection from the
  moment that it is asked for to the moment that it is gone. Who would be one too many waits in the `queue`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.proxy.base.descriptors import OUT_OF_DESCRIPTORS, is_exhausted, is_reserved
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.base.sockets import connect_failure, keep_connection_alive
from sidecar.proxy.upstream.queue import Queue, Room

if TYPE_CHECKING:
    from sidecar.core.meters import ClientMeter
    from sidecar.core.routing.cluster import Cluster
    from sidecar.core.routing.endpoint import Endpoint
    from sidecar.proxy.base.interfaces import ExchangeEvents, Upstream


class Pool:
    """What the pools of all protocols have in common."""

    def __init__(
        self, runtime: Runtime, cluster: Cluster, endpoint: Endpoint, meter: ClientMeter, queue: Queue, to_app: bool
    ) -> None:
        self.runtime = runtime
        self.endpoint = endpoint
        self.to_app = to_app  # the endpoint is this task's app, not another sidecar
        self._cluster = cluster
        self._meter = meter
        self._queue = queue
        self._waiting: deque[ExchangeEvents] = deque()

    def room(self) -> Room:
        """Return what can be done for another request."""
        raise NotImplementedError

    def close_an_idle_one(self) -> bool:
        """Close the connection that has been idle for longest. Return whether there was one."""
        raise NotImplementedError

    def acquire(self, exchange: ExchangeEvents) -> Upstream | None:
        """Return an upstream, or None: then `exchange.on_connected` or `on_connect_failed` follows."""
        raise NotImplementedError

    def close_idle(self) -> None:
        """Close what nobody uses: the endpoint takes no more requests."""
        raise NotImplementedError

    async def _connect(self) -> None:
        """Make a connection that `_open` has counted."""
        raise NotImplementedError

    def _wait(self, exchange: ExchangeEvents) -> None:
        self._waiting.append(exchange)
        self._cluster.pending_requests += 1

    def forget(self, exchange: ExchangeEvents) -> None:
        """Forget an exchange that does not wait any more."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)
            self._cluster.pending_requests -= 1

    def _next(self) -> ExchangeEvents:
        self._cluster.pending_requests -= 1
        return self._waiting.popleft()

    def _open(self) -> None:
        self._cluster.connections += 1
        self.runtime.spawn(self._connect(), f"connect {self._cluster.name} {self.endpoint.id}")

    async def _dial(self, connection: asyncio.Protocol, is_open: Callable[[], bool], is_shared: bool = False) -> str:
        """Connect to the endpoint in time, for one request at a time or for many. Return why not, or nothing."""
        endpoint = self.endpoint
        try:
            async with asyncio.timeout(self._cluster.policy.timeouts.connect_seconds or None):
                transport, _ = await self.runtime.loop.create_connection(
                    lambda: connection, endpoint.address, endpoint.port
                )
        except OSError as error:  # TimeoutError is one
            if is_open():
                # It was made in the turn of the loop in which its time was over: uvloop closes it without a word.
                connection.connection_lost(error)
            if is_exhausted(error):
                self.runtime.descriptors.say(self.runtime.now())
                return OUT_OF_DESCRIPTORS
            endpoint.connect_failure = connect_failure(error)
            return endpoint.connect_failure
        endpoint.connect_failure = ""
        if is_reserved(transport):
            transport.abort()
            self.runtime.descriptors.say(self.runtime.now())
            return OUT_OF_DESCRIPTORS
        keep_connection_alive(transport, is_shared)
        return ""

    def _count_failure(self) -> None:
        self._meter.connect_errors += 1

    def _count_closed(self) -> None:
        self._cluster.connections -= 1
        self._queue.serve_soon()

    def meter_bytes(self, count: int) -> None:
        """Count bytes of the upstream connections."""
        self._meter.bytes += count
