"""One attempt of a request, on one endpoint.

Rules:
- It is begun when it is made, judged (succeed, fail or abandon) at most once, and ended once. What ends without a
  verdict says nothing about its endpoint.
- The head of a good answer ends its endpoint's ejection, as its whole may come hours later; the verdict follows.
- The policy's per-try time-out runs from its beginning to the head of its answer. Its exchange says what follows.
- The latency that the balancer learns begins when the request is sent: making a connection costs once, and counted
  in, it would make a new endpoint look slow to the balancer for as long as latencies are remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.routing.endpoint import HEALTHY
from sidecar.core.routing.load import CLIENT_ERROR
from sidecar.core.timers import Timed

if TYPE_CHECKING:
    from sidecar.core.routing.endpoint import Endpoint
    from sidecar.proxy.base.interfaces import ExchangeEvents
    from sidecar.proxy.upstream.destination import Destination
    from sidecar.proxy.upstream.pool import Pool


class Attempt(Timed):
    """An exchange's try of an endpoint."""

    __slots__ = ("_destination", "_ended", "_exchange", "_generation", "_judged", "endpoint", "pool", "sent_at")

    def __init__(self, exchange: ExchangeEvents, destination: Destination, endpoint: Endpoint, now: float) -> None:
        Timed.__init__(self)
        self._exchange = exchange
        self._destination = destination
        self._judged = False
        self._ended = False
        self.endpoint = endpoint
        self.pool: Pool | None = None  # while the exchange waits there for a connection
        self.sent_at = now
        self._generation = endpoint.begin(now)
        seconds = destination.cluster.policy.timeouts.per_try_seconds
        if seconds > 0:
            destination.runtime.wheel.schedule(self, now + seconds)

    def connected(self) -> None:
        """Note that the connection that was waited for is there."""
        self.pool = None
        self.sent_at = self._destination.runtime.now()

    def answered(self, now: float) -> None:
        """Take the head of an answer."""
        if self.slot >= 0:
            self._destination.runtime.wheel.cancel(self)
        self.endpoint.heard(self._generation, now)

    def answered_well(self) -> None:
        """And it is a good one."""
        if self.endpoint.health != HEALTHY:
            self._destination.cluster.come_back(self.endpoint, self._destination.runtime.now())

    def on_deadline(self, now: float) -> None:
        """End the attempt's time: the per-try time-out."""
        if not self._ended:  # else something that was due at the same moment has ended it
            self._exchange.on_attempt_overdue(now)

    def wait_longer(self, now: float) -> None:
        """Give the endpoint its time once more: it is not to blame."""
        seconds = self._destination.cluster.policy.timeouts.per_try_seconds
        if seconds > 0:
            self._destination.runtime.wheel.schedule(self, now + seconds)

    def succeed(self, latency: float, doubt: float) -> None:
        """Count an answer of the endpoint after so many seconds, and with this doubt."""
        if not self._judged:
            self._judged = True
            destination = self._destination
            destination.cluster.succeed(self.endpoint, destination.runtime.now(), latency, doubt)

    def fail(self) -> None:
        """Count the attempt against the endpoint."""
        if not self._judged:
            self._judged = True
            destination = self._destination
            destination.meter.ejections += destination.cluster.fail(self.endpoint, destination.runtime.now())

    def refuse(self) -> None:
        """Note that no request reaches an app on the endpoint."""
        if not self._judged:
            self._judged = True
            destination = self._destination
            destination.meter.ejections += destination.cluster.refuse(self.endpoint, destination.runtime.now())

    def abandon(self) -> None:
        """End the attempt without a verdict on the endpoint."""
        if not self._judged:
            self._judged = True
            destination = self._destination
            destination.cluster.abandon(self.endpoint, destination.runtime.now())

    def cut_short(self) -> None:
        """End an attempt that had less time than the service may take: no verdict, but no merit either."""
        if not self._judged:
            self.endpoint.doubted(CLIENT_ERROR)
            self.abandon()

    def end(self) -> None:
        """End the attempt, however it went."""
        self._ended = True
        if self.slot >= 0:
            self._destination.runtime.wheel.cancel(self)
        if self.pool is not None:
            self.pool.forget(self._exchange)
            self.pool = None
        self.abandon()
        self.endpoint.end(self._generation)
