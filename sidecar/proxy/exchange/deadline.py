"""How long a request may take.

Rules:
- The request time-out covers all attempts up to the end of the answer. An event stream, a gRPC stream or a tunnel
  has no such end: from its head on only the idle time-out counts, and for a gRPC call whose client still sends at once.
- The client's own deadline, `grpc-timeout`, wins over the policy's: it covers streams too, and the client has given up
  when it is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.http import grpc
from sidecar.core.timers import Timed

if TYPE_CHECKING:
    from sidecar.core.http.messages import RequestHead
    from sidecar.proxy.base.interfaces import ExchangeEvents
    from sidecar.proxy.upstream.destination import Destination


class RequestDeadline(Timed):
    """The deadline of an exchange, which says what it means that it has passed."""

    __slots__ = ("_destination", "_exchange", "_is_clients", "_moved_at", "is_streaming")

    def __init__(self, exchange: ExchangeEvents, destination: Destination) -> None:
        Timed.__init__(self)
        self._exchange = exchange
        self._destination = destination
        self._is_clients = False
        self._moved_at = 0.0
        self.is_streaming = False  # only the idle time-out counts

    def begin(self, head: RequestHead, now: float) -> None:
        """The request begins."""
        seconds = self._destination.cluster.policy.timeouts.request_seconds
        if head.is_grpc:
            value = head.get(b"grpc-timeout")
            wanted = grpc.timeout_seconds(value) if value is not None else None
            if wanted is not None:
                self._is_clients = True
                seconds = max(wanted, 0.001)
        if seconds > 0:
            self._destination.runtime.wheel.schedule(self, now + seconds)

    def begin_idle(self) -> None:
        """From here on it may last as long as something moves, or up to the client's own deadline."""
        if self._is_clients:
            return
        runtime = self._destination.runtime
        seconds = self._destination.cluster.policy.timeouts.idle_seconds
        self.is_streaming = True
        self._moved_at = runtime.now()
        if seconds > 0:
            runtime.wheel.schedule(self, self._moved_at + seconds)
        else:
            runtime.wheel.cancel(self)

    def end(self) -> None:
        """The request is over: if it is due in this very tick, that means nothing any more."""
        self.is_streaming = False
        self._destination.runtime.wheel.cancel(self)

    def is_due(self, now: float) -> bool:
        """Whether the request time-out is over, though perhaps not noticed yet."""
        return 0.0 < self.deadline <= now and not self.is_streaming

    def moved(self) -> None:
        """Something moved on a stream or tunnel."""
        self._moved_at = self._destination.runtime.now()

    def on_deadline(self, now: float) -> None:
        """Look whether the time is really over."""
        if self.is_streaming:
            idle_at = self._moved_at + self._destination.cluster.policy.timeouts.idle_seconds
            if idle_at > now:
                self._destination.runtime.wheel.schedule(self, idle_at)
                return
        elif not self._is_clients and self._exchange.is_open_call():
            self.begin_idle()  # it is a stream, even if the service has not answered yet
            return
        self._exchange.on_overdue()
