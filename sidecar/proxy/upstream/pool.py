"""The connections of one endpoint, whatever protocol they speak: who waits for one, and what the breaker counts.

Rules:
- A connection is tried for at most the policy's connect time-out, and no longer than somebody waits for it: when more
  are under way than those who wait need, as a client went away or its time was over, the one begun last is given up.
  Those before it have waited longer, and whoever opens requests and cuts them takes none from others.
- A connection that is given up serves nobody: it may be about to fail, where a new one would not.
- The circuit breaker counts connections and waiting requests over all endpoints of the cluster: a connection from the
  moment that it is asked for to the moment that it is gone. Who would be one too many waits in the `queue`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from mypy_extensions import trait

from sidecar.proxy.base.connect import connect
from sidecar.proxy.base.descriptors import OUT_OF_DESCRIPTORS, is_exhausted, is_reserved
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.base.sockets import connect_failure, keep_connection_alive
from sidecar.proxy.upstream.queue import Queue, Room

if TYPE_CHECKING:
    from sidecar.core.meters import ClientMeter
    from sidecar.core.routing.cluster import Cluster
    from sidecar.core.routing.endpoint import Endpoint
    from sidecar.proxy.base.interfaces import ExchangeEvents, Upstream


class Phase(Enum):
    """CONNECTING → OPEN → LOST, or CONNECTING → LOST: given up, or never made."""

    CONNECTING = "connecting"
    OPEN = "open"
    LOST = "lost"


@trait
class Pooled:
    """What the connections of all protocols have in common."""

    phase: Phase

    def is_open(self) -> bool:
        """Return whether it was connected, and `connection_lost` has not been called yet."""
        return self.phase is Phase.OPEN

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone."""
        raise NotImplementedError


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
        self._opening = 0  # connections that may serve those who wait, and have not begun to
        self._connects: dict[Pooled, asyncio.Task[None] | None] = {}  # those of which the socket is not connected yet

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
        """Make a connection that `_open` has counted, if it is still wanted."""
        raise NotImplementedError

    def _connects_needed(self) -> int:
        """Return how many connections serve all who wait."""
        raise NotImplementedError

    def _wait(self, exchange: ExchangeEvents) -> None:
        self._waiting.append(exchange)
        self._cluster.pending_requests += 1

    def forget(self, exchange: ExchangeEvents) -> None:
        """Forget an exchange that does not wait any more."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)
            self._cluster.pending_requests -= 1
            if len(self._connects) > self._connects_needed():
                self._give_up_one()

    def _give_up_one(self) -> None:
        connection, task = self._connects.popitem()
        connection.phase = Phase.LOST
        if task is not None:
            task.cancel()
        self._uncount()

    def _uncount(self) -> None:
        """Count a connection no more that was not made, as nobody waits for it."""
        self._opening -= 1
        self._count_closed()

    def _next(self) -> ExchangeEvents:
        self._cluster.pending_requests -= 1
        return self._waiting.popleft()

    def _open(self) -> None:
        self._opening += 1
        self._cluster.connections += 1
        self.runtime.spawn(self._connect(), f"connect {self._cluster.name} {self.endpoint.id}")

    def _wants_another(self) -> bool:
        """Return whether those under way do not serve all who wait, now that another can begin."""
        return len(self._connects) < self._connects_needed()

    async def _dial(self, connection: Pooled, is_shared: bool = False) -> str:
        """Connect to the endpoint in time, for one request at a time or for many. Return why not, or nothing."""
        endpoint = self.endpoint
        seconds = self._cluster.policy.timeouts.connect_seconds
        self._connects[connection] = asyncio.current_task()
        try:
            transport = await connect(self.runtime.loop, connection, endpoint.address, endpoint.port, seconds)
        except OSError as error:
            if is_exhausted(error):
                self.runtime.lack_descriptor()
                return OUT_OF_DESCRIPTORS
            endpoint.connect_failure = connect_failure(error)
            return endpoint.connect_failure
        finally:
            self._connects.pop(connection, None)
        endpoint.connect_failure = ""
        if is_reserved(transport):
            transport.abort()
            self.runtime.lack_descriptor()
            return OUT_OF_DESCRIPTORS
        keep_connection_alive(transport, is_shared)
        return ""

    def made(self, connection: Pooled) -> None:
        """Note that a socket is connected: it is kept, even if nobody waits any more."""
        self._connects.pop(connection, None)

    def _count_failure(self) -> None:
        self._meter.connect_errors += 1

    def _count_closed(self) -> None:
        self._cluster.connections -= 1
        self._queue.serve_soon()

    def meter_bytes(self, count: int) -> None:
        """Count bytes of the upstream connections."""
        self._meter.bytes += count
