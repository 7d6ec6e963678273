"""One attempt of a request, on one endpoint.

Rules:
- It is begun when it is made, judged (succeed, fail or abandon) at most once, and ended once. What ends without a
  verdict says nothing about its endpoint.
- The head of a good answer ends its endpoint's ejection, as its whole may come hours later; the verdict follows. A gRPC
  status that only reports the end of the client's own time is no failure of the endpoint.
- The policy's per-try time-out runs from its beginning to the head of its answer. Its exchange says what follows.
- The latency that the balancer learns begins when the request is sent: making a connection costs once, and counted
  in, it would make a new endpoint look slow to the balancer for as long as latencies are remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.http import grpc
from sidecar.core.http.grpc_status import DEADLINE_EXCEEDED
from sidecar.core.routing.endpoint import HEALTHY
from sidecar.core.routing.load import CLIENT_ERROR, GOOD, doubt_of_grpc, doubt_of_status
from sidecar.core.timers import Timed

if TYPE_CHECKING:
    from sidecar.core.http.messages import ResponseHead
    from sidecar.core.routing.endpoint import Endpoint
    from sidecar.proxy.base.interfaces import ExchangeEvents
    from sidecar.proxy.upstream.destination import Destination
    from sidecar.proxy.upstream.pool import Pool

_UNKNOWN: Final = -1.0


class Attempt(Timed):
    """An exchange's try of an endpoint."""

    __slots__ = (
        "_destination",
        "_doubt",
        "_ended",
        "_exchange",
        "_generation",
        "_judged",
        "endpoint",
        "latency",
        "pool",
        "sent_at",
    )

    def __init__(self, exchange: ExchangeEvents, destination: Destination, endpoint: Endpoint, now: float) -> None:
        Timed.__init__(self)
        self._exchange = exchange
        self._destination = destination
        self._judged = False
        self._ended = False
        self.endpoint = endpoint
        self.pool: Pool | None = None  # while the exchange waits there for a connection
        self.sent_at = now
        self.latency = 0.0  # until the head of the answer
        self._doubt = _UNKNOWN  # what the head of the answer says against the endpoint
        self._generation = endpoint.begin(now)
        seconds = destination.cluster.per_try_seconds
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
        self.latency = now - self.sent_at

    def judge_head(self, head: ResponseHead, is_grpc: bool, has_clients_time: bool) -> bool:
        """Judge the endpoint as far as the head of its answer goes. Return whether it has failed."""
        if is_grpc and head.status == 200:
            code = grpc.status_of(head.fields)
            if code is not None:  # there is no body
                self._doubt = doubt_of_grpc(code)
                return _has_failed(code, has_clients_time)
        elif head.status >= 500:
            return True
        else:
            self._doubt = doubt_of_status(head.status)
        if self.endpoint.health != HEALTHY:
            self._destination.cluster.come_back(self.endpoint, self._destination.runtime.now())
        return False

    def is_open(self) -> bool:
        """Return whether only the end of the answer says what it says of the endpoint: a gRPC answer with a body."""
        return self._doubt == _UNKNOWN

    def judge_end(self, code: int | None, has_clients_time: bool) -> None:
        """Judge the endpoint by the whole of its answer; `code` is its `grpc-status` if it is open until then."""
        if self.is_open():
            if _has_failed(code, has_clients_time):
                self.fail()
                return
            self._doubt = doubt_of_grpc(code)
        self.succeed()

    def judge_overdue(self, is_long_answer: bool, is_clients_haste: bool) -> None:
        """Judge the endpoint at the end of the request's time.

        A long answer is no failure, nor is a call that had less time than others that it answers.
        """
        if is_long_answer:
            self.abandon()
        elif is_clients_haste:
            self._cut_short()
        else:
            self.fail()

    def switch(self) -> None:
        """Judge the endpoint by its leave to begin a tunnel: no other answer follows."""
        self._doubt = GOOD
        self.succeed()

    def on_deadline(self, now: float) -> None:
        """End the attempt's time: the per-try time-out."""
        if not self._ended:  # else something that was due at the same moment has ended it
            self._exchange.on_attempt_overdue(now)

    def wait_longer(self, now: float) -> None:
        """Give the endpoint its time once more: it is not to blame."""
        seconds = self._destination.cluster.per_try_seconds
        if seconds > 0:
            self._destination.runtime.wheel.schedule(self, now + seconds)

    def succeed(self) -> None:
        """Count the answer for the endpoint, with what the head said against it."""
        if not self._judged:
            self._judged = True
            self._destination.cluster.succeed(self.endpoint, self.sent_at + self.latency, self.latency, self._doubt)

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

    def _cut_short(self) -> None:
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


def _has_failed(code: int | None, has_clients_time: bool) -> bool:
    """Return whether this `grpc-status` speaks against the endpoint."""
    return code in grpc.FAILURES and not (code == DEADLINE_EXCEEDED and has_clients_time)
