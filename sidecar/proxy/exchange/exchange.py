"""One request and its answer: from the client's head to the last byte back.

Rules:
- attempt → (connected) → sent → response head → response end. Every failure before the response head asks `retries`
  whether another attempt is made; after it the client's connection is cut, because an answer that stops in the middle
  must not look whole.
- One attempt at a time; `attempt` says what it means for its endpoint, `answer` how the answer is counted,
  `request_body` what of the request can be sent again, `deadline` how long all of it may take. After 101 a `tunnel`
  takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import (
    ATTEMPT_TIMEOUT,
    NO_HEALTHY_UPSTREAM,
    OVERLOADED,
    REQUEST_TIMEOUT,
    UPSTREAM_CONNECT_FAILURE,
    UPSTREAM_OVERFLOW,
    UPSTREAM_PROTOCOL_ERROR,
    UPSTREAM_REFUSED,
    UPSTREAM_RESET,
    LocalReply,
)
from sidecar.core.flags import DC, URX, Flag, Flags
from sidecar.core.http.messages import Fields, RequestHead, ResponseHead
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.policy import CONNECT_FAILURE, REFUSED_STREAM, RESET
from sidecar.core.routing.retry import PERHAPS_PROCESSED, REFUSED, UNPROCESSED
from sidecar.proxy.base.descriptors import OUT_OF_DESCRIPTORS
from sidecar.proxy.base.interfaces import ExchangeEvents, TunnelEvents
from sidecar.proxy.exchange import retries
from sidecar.proxy.exchange.answer import FinalAnswer, add_flags, is_stream
from sidecar.proxy.exchange.attempt import Attempt
from sidecar.proxy.exchange.deadline import RequestDeadline
from sidecar.proxy.exchange.request_body import RequestBody
from sidecar.proxy.exchange.tunnel import Tunnel
from sidecar.proxy.upstream.queue import Room

if TYPE_CHECKING:
    from sidecar.proxy.base.interfaces import Client, Observer, Upstream
    from sidecar.proxy.upstream.destination import Destination

_NONE_TRIED: Final[list[Endpoint]] = []


class Exchange(ExchangeEvents):
    """One request on its way."""

    __slots__ = (
        "_answer",
        "_attempt",
        "_attempts",
        "_body",
        "_client",
        "_client_full",
        "_connection",
        "_deadline",
        "_destination",
        "_done",
        "_head",
        "_tried",
        "_upstream_full",
        "flags",
        "observer",
        "tunnel",
    )

    def __init__(self, client: Client, head: RequestHead, destination: Destination) -> None:
        self._destination = destination
        self._deadline = RequestDeadline(self, destination)
        self._client = client
        self._head = head
        self._body = RequestBody(destination.runtime)
        self._attempts = 0
        self._tried = _NONE_TRIED  # the endpoints of failed attempts; most requests share the list, so it is replaced
        self._attempt: Attempt | None = None
        self._connection: Upstream | None = None
        self._answer = FinalAnswer(destination.meter)
        self._done = False
        self._client_full = False
        self._upstream_full = False
        self.tunnel: TunnelEvents | None = None
        self.flags: Flags = ()  # why the proxy failed or cut the request
        self.observer: Observer | None = None

    def observe(self, observer: Observer) -> None:
        """Let an observer stand between this exchange and its client."""
        self.observer = observer
        self._client = observer

    def _flag(self, flag: Flag) -> None:
        self.flags = (*self.flags, flag)

    # Attempts.

    def start(self) -> None:
        """Send the request to an endpoint, or answer at once."""
        destination = self._destination
        runtime, cluster = destination.runtime, destination.cluster
        cluster.active_requests += 1
        runtime.work += 1
        now = runtime.now()
        destination.meter.requests += 1
        if runtime.shedding:
            self._reply(OVERLOADED)
            return
        cluster.retry_budget.request(now)
        self._deadline.begin(self._head, now)
        if not destination.queue.is_full():
            self._try(now)
        elif not destination.queue.wait(self):
            self._overflow()

    def on_room(self) -> None:
        """Note that the limits of the service let the exchange go on, which waited in its queue."""
        self._deadline.pass_on(self._head)
        self._try(self._destination.runtime.now())

    def _try(self, now: float) -> None:
        destination = self._destination
        cluster = destination.cluster
        endpoint = cluster.pick(now, destination.runtime.random(48), self._tried)
        if endpoint is None:
            self._reply(NO_HEALTHY_UPSTREAM)
            return
        pool = destination.pool(endpoint)
        room = pool.room()
        if room is not Room.NOW:
            if room is Room.NONE or not destination.queue.wait_for_connection(self):
                self._overflow()
            return
        destination.meter.tried(cluster.zone, endpoint.zone)
        self._attempts += 1
        attempt = self._attempt = Attempt(self, destination, endpoint, now)
        connection = pool.acquire(self)
        if connection is None:
            attempt.pool = pool
        else:
            self._send(connection)

    def on_connected(self, connection: Upstream) -> None:
        """Note that a connection that the exchange waited for is there."""
        if self._attempt is not None:
            self._attempt.connected()
        self._deadline.pass_on(self._head)
        self._send(connection)

    def _send(self, connection: Upstream) -> None:
        """Send what there is of the request."""
        self._connection = connection
        self._upstream_full = False  # that was another
        if self._client_full:
            connection.pause_reading()
        connection.send_head(self, self._head)
        if self._body.send(connection) and not self._upstream_full:
            self._client.resume_request()

    def on_connect_failed(self, reason: str) -> None:
        """Note that no connection could be made."""
        if self._attempt is not None:
            self._attempt.pool = None
        if reason == OUT_OF_DESCRIPTORS:
            self._abandon()  # it is this process that cannot, whatever the endpoint
            self._reply(UPSTREAM_CONNECT_FAILURE)
            return
        if self._attempt is not None:
            self._attempt.refuse()
        self._destination.on_unreachable()
        self._retry_or(REFUSED, CONNECT_FAILURE, UPSTREAM_CONNECT_FAILURE)

    def _retry_or(self, failure: int, kind: str, reply: LocalReply) -> None:
        """Make another attempt if the rules allow it, else answer so."""
        if self._take_retry(failure, kind):
            self._try_again()
        else:
            self._reply(reply)

    def _take_retry(self, failure: int, kind: str) -> bool:
        if not self._body.is_kept:
            return False
        verdict = retries.take(self._destination, self._tried, self._head.method, failure, kind)
        if verdict is retries.Verdict.LIMIT_REACHED:
            self._flag(URX)
        return verdict is retries.Verdict.RETRY

    def _try_again(self) -> None:
        destination = self._destination
        destination.meter.retries += 1
        if self._attempt is not None:
            self._tried = [*self._tried, self._attempt.endpoint]
        self._end_attempt()
        self._deadline.pass_on(self._head)
        self._try(destination.runtime.now())

    # The client's side.

    def on_request_data(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        if self._deadline.is_streaming:
            self._deadline.moved()
        if self.observer is not None:
            self.observer.received += len(data)
        connection = self._connection
        self._body.add(data, connection is not None)
        if connection is not None:
            connection.send_data(data)
        elif self._body.fills_up():
            self._client.pause_request()

    def on_request_end(self, trailers: Fields) -> None:
        """Note that the request is whole."""
        self._body.end(trailers)
        self._deadline.request_ended()
        if self._connection is not None:
            self._connection.send_end(trailers)

    def on_client_gone(self, flag: Flag = DC) -> None:
        """Note that the client closed its connection, or broke the protocol on it: nobody waits for the answer."""
        if self._done:
            return
        if self._connection is not None:
            self._connection.abort()
        self._flag(flag)
        self.finish()
        if self.observer is not None:
            self.observer.end()

    def cut_short(self, reply: LocalReply) -> None:
        """End what is under way and answer in the service's place, or cut the answer that has begun.

        The client broke the protocol or does not go on with its request, or the endpoint does not take it.
        """
        if self._done:
            return
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        self._cut_or_reply(reply)

    def on_client_full(self) -> None:
        """Note that the client takes the answer slower than it comes."""
        self._client_full = True
        if self._connection is not None:
            self._connection.pause_reading()

    def on_client_ready(self) -> None:
        """Note that the client has caught up."""
        self._client_full = False
        if self._connection is not None:
            self._connection.resume_reading()

    # The endpoint's side.

    def on_response_head(self, head: ResponseHead, leftover: bytes) -> None:
        """Take the head of the endpoint's answer."""
        if head.status < 200:
            if head.status == 101:
                self._switch(head, leftover)
            else:
                self._client.send_head(head)
            return
        attempt = self._attempt
        now = self._destination.runtime.now()
        if attempt is not None:
            attempt.answered(now)
            is_failed = attempt.judge_head(head, self._head.is_grpc, self._deadline.clients_seconds > 0)
            if is_failed and self._retry_failed(head, attempt):
                return
        self._answer.begin(head, self._head.is_grpc, attempt)
        self._body.forget()
        if is_stream(head):
            self._deadline.answer_streams(now)
            if attempt is not None and not self._head.is_grpc:
                attempt.succeed()  # an event stream has no end that would say more
        add_flags(head, self.flags)
        self._client.send_head(head)

    def _retry_failed(self, head: ResponseHead, attempt: Attempt) -> bool:
        """Judge the endpoint by this failed answer, and make another attempt in its place if the rules allow it."""
        failure, kind = retries.failure_of(head)
        if failure == REFUSED:
            attempt.refuse()
        else:
            attempt.fail()
        may_retry = retries.keep_pause(self._destination, attempt.endpoint, head)
        if not may_retry or not self._take_retry(failure, kind):
            return False
        if self._connection is not None:
            self._connection.detach()
            self._connection = None
        self._try_again()
        return True

    def on_response_data(self, data: bytes) -> None:
        """Take a piece of the answer's body."""
        if self._deadline.is_streaming:
            self._deadline.moved()
        self._client.send_data(data)

    def on_response_end(self, trailers: Fields) -> None:
        """Note that the answer is whole."""
        self._connection = None
        code = self._answer.status_at_end(trailers)
        if self._attempt is not None:
            self._attempt.judge_end(code, self._deadline.clients_seconds > 0)
        self._answer.end(code)
        self.finish()
        self._client.send_end(trailers)

    def on_upstream_refused(self, blamed: bool) -> None:
        """Try elsewhere: the request was not processed. To blame is who refuses it, not who goes away."""
        self._connection = None
        if blamed:
            self._judge_failure()
        else:
            self._abandon()
        if self._answer.begun:
            self._cut_or_reply(UPSTREAM_RESET)
        else:
            self._retry_or(UNPROCESSED, REFUSED_STREAM, UPSTREAM_REFUSED)

    def on_upstream_invalid(self, reason: str) -> None:
        """Note that the endpoint sent what is not HTTP."""
        self._connection = None
        self._judge_failure()
        self._cut_or_reply(UPSTREAM_PROTOCOL_ERROR)

    def on_upstream_lost(self, saw_response: bool) -> None:
        """Note that the connection broke before the answer was whole."""
        connection, self._connection = self._connection, None
        stale = connection is not None and connection.reused() and not saw_response
        if stale:
            self._abandon()  # the endpoint closed an idle connection while the request was on its way
        else:
            self._judge_failure()
        if self._answer.begun or saw_response:
            self._cut_or_reply(UPSTREAM_RESET)
        else:
            self._retry_or(PERHAPS_PROCESSED, RESET, UPSTREAM_RESET)

    def on_upstream_full(self) -> None:
        """Note that the endpoint takes the request slower than it comes."""
        self._upstream_full = True
        self._client.pause_request()

    def on_upstream_ready(self) -> None:
        """Note that the endpoint has caught up."""
        self._upstream_full = False
        self._client.resume_request()

    def _switch(self, head: ResponseHead, leftover: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._head.upgrade:
            self._begin_tunnel(head, leftover, connection)
        else:
            connection.abort()
            self.on_upstream_invalid("it switched protocols without being asked to")

    def _begin_tunnel(self, head: ResponseHead, leftover: bytes, connection: Upstream) -> None:
        attempt = self._attempt
        now = self._destination.runtime.now()
        if attempt is not None:
            attempt.answered(now)
            attempt.switch()
        self._answer.begin(head, self._head.is_grpc, attempt)
        tunnel = self.tunnel = Tunnel(self, self._client, connection)
        self._deadline.answer_streams(now)
        tunnel.begin(head, leftover)

    def on_tunnel_moved(self, received: int) -> None:
        """Count bytes that went through the tunnel; so many of them came from the client."""
        self._deadline.moved()
        if self.observer is not None:
            self.observer.received += received

    def on_tunnel_over(self) -> None:
        """Note that the tunnel has ended."""
        self.finish()

    # Time.

    def on_overdue(self) -> None:
        """End what has lasted too long: the request, or the silence of a stream."""
        if self._done:
            return  # something else that was due at the same moment has ended it
        attempt = self._attempt
        if attempt is not None:
            is_long_answer = self._answer.begun and not self._head.is_grpc
            attempt.judge_overdue(
                is_long_answer, self._deadline.is_clients_haste(attempt.sent_at, attempt.endpoint.heard_at)
            )
        if self._connection is not None:
            self._connection.abort()
        self._time_out(REQUEST_TIMEOUT)

    def _time_out(self, reply: LocalReply) -> None:
        self._destination.meter.timeouts += 1
        self._cut_or_reply(reply)

    def on_attempt_overdue(self, now: float) -> None:
        """Look for a faster endpoint: the attempt was not answered within the per-try time-out."""
        attempt = self._attempt
        if attempt is None:
            return
        if self._deadline.is_due(now):
            self._deadline.on_deadline(now)  # no time for another
        elif self._waits_for_client():
            attempt.wait_longer(now)
        else:
            failure, kind = UNPROCESSED, CONNECT_FAILURE
            if self._connection is not None:
                failure, kind = PERHAPS_PROCESSED, "504"  # what the client hears if this was the last attempt
                self._connection.abort()
                self._connection = None
            attempt.fail()
            if self._take_retry(failure, kind):
                self._try_again()
            else:
                self._time_out(ATTEMPT_TIMEOUT)

    def _waits_for_client(self) -> bool:
        return self._connection is not None and not (self._body.is_whole or self._upstream_full)

    # Ends.

    def _overflow(self) -> None:
        destination = self._destination
        destination.meter.overflows += 1
        self._reply(UPSTREAM_OVERFLOW)

    def _reply(self, reply: LocalReply) -> None:
        if self.flags:
            reply = reply.with_flags(self.flags)
        self.flags = reply.flags
        self.finish()
        self._client.send_local(reply)

    def _cut_or_reply(self, reply: LocalReply) -> None:
        if self._answer.begun:
            self._flag(reply.flag)
            self.finish()
            self._client.abort()
        else:
            self._reply(reply)

    def _judge_failure(self) -> None:
        if self._attempt is not None:
            self._attempt.fail()

    def _abandon(self) -> None:
        if self._attempt is not None:
            self._attempt.abandon()

    def _end_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.end()

    def finish(self) -> None:
        """Free all that the exchange holds: it is over, and at most the end of the answer is still to be sent."""
        if self._done:
            return
        self._done = True
        destination = self._destination
        self._answer.cut(self.flags)
        if self.flags:
            destination.failures.count_flags(self.flags)
        if self.observer is not None:
            attempt = self._attempt
            if attempt is not None:
                self.observer.finished(attempt.endpoint, self._attempts, attempt.latency, self.flags)
            else:
                self.observer.finished(None, self._attempts, 0.0, self.flags)
        self._end_attempt()
        self._connection = None
        self._body.forget()
        self.tunnel = None
        self._deadline.end()
        destination.runtime.work -= 1
        destination.cluster.active_requests -= 1
        destination.queue.forget(self)
