"""The requests that wait because a limit of the service's circuit breaker is reached.

Rules:
- Limits count work. A connection that nobody uses refuses no request: it is closed for one that is wanted elsewhere.
- Who waits is served in turn, when a request ends, a connection is closed or the policy changes. The request's own
  time-out, and its client, may end the wait before.
- At most `max_pending_requests` wait, with those whose connection is being made. A limit of 0 lets nobody wait: nothing
  would ever end it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from sidecar.core.routing.cluster import Cluster
from sidecar.proxy.base.runtime import Runtime

if TYPE_CHECKING:
    from sidecar.proxy.base.interfaces import ExchangeEvents


class Room(Enum):
    """What a pool can do for a request."""

    NOW = "now"  # serve it, or make it a connection
    LATER = "later"  # the service has all the connections that it may have
    NONE = "none"  # enough wait already


class Queue:
    """Those who wait, of one service."""

    def __init__(self, runtime: Runtime, cluster: Cluster, close_idle: Callable[[], bool]) -> None:
        self._runtime = runtime
        self._cluster = cluster
        self._close_idle = close_idle  # one connection of any endpoint; whether there was one
        self._waiting: OrderedDict[ExchangeEvents, None] = OrderedDict()
        self._serving = False  # it is called soon

    def is_full(self) -> bool:
        """Return whether as many requests are under way as may be, with the one that asks."""
        cluster = self._cluster
        return cluster.active_requests - len(self._waiting) > cluster.max_requests

    def wait(self, exchange: ExchangeEvents) -> bool:
        """Wait for `on_room`. Return False when there is no use in it, or no room for it."""
        cluster = self._cluster
        limits = cluster.policy.circuit_breaker
        if not (limits.max_requests and limits.max_connections):
            return False
        if cluster.pending_requests >= limits.max_pending_requests:
            return False
        self._waiting[exchange] = None
        cluster.pending_requests += 1
        return True

    def wait_for_connection(self, exchange: ExchangeEvents) -> bool:
        """Wait for `on_room`, and see to it that there is some. Return False as `wait` does."""
        if not self.wait(exchange):
            return False
        self._close_idle()
        return True

    def forget(self, exchange: ExchangeEvents) -> None:
        """Forget an exchange that is over, whether it waits or not: another may have its turn."""
        if self._waiting:
            if exchange in self._waiting:
                del self._waiting[exchange]
                self._cluster.pending_requests -= 1
            self.serve_soon()

    def serve_soon(self) -> None:
        """Serve who waits, soon: something has ended."""
        if self._waiting and not self._serving:
            self._serving = True
            self._runtime.loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._serving = False
        cluster = self._cluster
        while self._waiting:
            if cluster.active_requests - len(self._waiting) >= cluster.max_requests:
                return
            exchange, _ = self._waiting.popitem(last=False)
            cluster.pending_requests -= 1
            exchange.on_room()
            if exchange in self._waiting:
                self._waiting.move_to_end(exchange, last=False)  # it keeps its turn
                return
