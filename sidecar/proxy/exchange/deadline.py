"""How long a request may take.

Rules:
- The request time-out runs from the end of the request to the end of the answer, over all attempts, as Envoy's does:
  an upload takes as long as its client needs. Until then only the idle time-out counts.
- An event stream, a gRPC stream or a tunnel has no such end: from its head on only the idle time-out counts.
- The client's own deadline, `grpc-timeout`, wins over the policy's: it covers streams too, and the client has given up
  when it is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.http import grpc
from sidecar.core.timers import Timed

if TYPE_CHECKING:
    from sidecar.core.http.messages import RequestHead
    from sidecar.proxy.base.interfaces import ExchangeEvents
    from sidecar.proxy.upstream.destination import Destination

ENOUGH_SECONDS: Final = 1.0
"""Within which a living endpoint says something."""


class RequestDeadline(Timed):
    """The deadline of an exchange, which says what it means that it has passed."""

    __slots__ = ("_destination", "_exchange", "_is_stream", "_moved_at", "clients_seconds", "is_streaming")

    def __init__(self, exchange: ExchangeEvents, destination: Destination) -> None:
        Timed.__init__(self)
        self._exchange: ExchangeEvents | None = exchange  # until the request is over: each would keep the other
        self._destination = destination
        self.clients_seconds = 0.0  # the client's own deadline, 0 if it has none
        self._is_stream = False  # the answer has no end that one could wait for
        self._moved_at = 0.0
        self.is_streaming = False  # only the idle time-out counts

    def begin(self, head: RequestHead, now: float) -> None:
        """Begin with the request. One without a body ends in the same read."""
        if head.is_grpc:
            value = head.get(b"grpc-timeout")
            wanted = grpc.timeout_seconds(value) if value is not None else None
            if wanted is not None:
                self.clients_seconds = max(wanted, 0.001)
                self._destination.runtime.wheel.schedule(self, now + self.clients_seconds)
                return
        if head.content_length != 0:
            self._begin_idle(now)
        else:
            self._moved_at = now

    def request_ended(self) -> None:
        """Note that the request is whole. If the answer is a stream already, it stays one."""
        if self.clients_seconds > 0 or self._exchange is None or self._is_stream:
            return
        runtime = self._destination.runtime
        seconds = self._destination.cluster.request_seconds
        ended_at = runtime.now() if self.is_streaming else self._moved_at  # in the read that it began in
        self.is_streaming = False
        if seconds > 0:
            runtime.wheel.schedule(self, ended_at + seconds)
        elif self.slot >= 0:
            runtime.wheel.cancel(self)

    def answer_streams(self, now: float) -> None:
        """Note that the answer is a stream, or a tunnel."""
        self._is_stream = True
        if self.clients_seconds == 0:
            self._begin_idle(now)

    def _begin_idle(self, now: float) -> None:
        """From here on it may last as long as something moves."""
        self.is_streaming = True
        self._moved_at = now
        cluster = self._destination.cluster
        seconds = cluster.idle_seconds
        if seconds <= 0:
            self._destination.runtime.wheel.cancel(self)
            return
        if 0 < cluster.request_seconds < seconds:
            seconds = cluster.request_seconds  # looked at early: most requests end soon, and putting off costs least
        self._destination.runtime.wheel.schedule(self, now + seconds)

    def end(self) -> None:
        """End with the request: if it is due in this very tick, that means nothing any more."""
        self.is_streaming = False
        self._exchange = None
        self._destination.runtime.wheel.cancel(self)

    def is_due(self, now: float) -> bool:
        """Return whether the request time-out is over, though perhaps not noticed yet."""
        return 0.0 < self.deadline <= now and not self.is_streaming

    def pass_on(self, head: RequestHead) -> None:
        """Time has passed since the head came: tell the endpoint what is left of the client's own deadline."""
        if self.clients_seconds > 0:
            left = grpc.timeout_field(self.deadline - self._destination.runtime.now())
            head.fields = [(name, left if name == b"grpc-timeout" else value) for name, value in head.fields]

    def is_clients_haste(self, sent_at: float, heard_at: float) -> bool:
        """Return whether the end of the time speaks against the client's deadline, not against the endpoint.

        It does against an endpoint that was silent to everybody all the while, and had time enough.
        """
        if self.clients_seconds == 0:
            return False
        return self.clients_seconds < ENOUGH_SECONDS or heard_at > sent_at

    def moved(self) -> None:
        """Note that something moved on a stream or tunnel."""
        self._moved_at = self._destination.runtime.now()

    def on_deadline(self, now: float) -> None:
        """Look whether the time is really over."""
        exchange = self._exchange
        if exchange is None:
            return
        if self.is_streaming:
            seconds = self._destination.cluster.idle_seconds
            if seconds <= 0:
                return  # the policy has changed meanwhile
            idle_at = self._moved_at + seconds
            if idle_at > now:
                self._destination.runtime.wheel.schedule(self, idle_at)
                return
        exchange.on_overdue()
