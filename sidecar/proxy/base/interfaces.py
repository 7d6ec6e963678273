"""What an exchange is told, what it needs of those around it, and who records it, whatever protocol they speak.

Rules:
- HTTP/1.1 connections and HTTP/2 streams are clients and upstreams alike, so that every exchange can join any two.
- What an exchange needs is a Protocol: it is found by name, in either protocol's class.
- What an exchange is told is a trait, which compiled code calls by a table instead of by name. `Exchange` is the one
  class that has it; pools and upstreams know no more of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mypy_extensions import trait

from sidecar.core.direction import Direction
from sidecar.core.flags import DC, Flag, Flags

if TYPE_CHECKING:
    from sidecar.core.errors import LocalReply
    from sidecar.core.http.messages import Fields, RequestHead, ResponseHead
    from sidecar.core.routing.endpoint import Endpoint


@trait
class TunnelEvents:
    """What a tunnel is told: the bytes of both sides, and their ends."""

    __slots__ = ()

    def on_data(self, data: bytes) -> None:
        """Take bytes of the endpoint."""
        raise NotImplementedError

    def on_eof(self) -> None:
        """Note that the endpoint sends no more."""
        raise NotImplementedError

    def on_closed(self) -> None:
        """Note that the endpoint is gone."""
        raise NotImplementedError

    def on_client_data(self, data: bytes) -> None:
        """Take bytes of the client."""
        raise NotImplementedError

    def on_client_eof(self) -> None:
        """Note that the client sends no more."""
        raise NotImplementedError


@trait
class ExchangeEvents:
    """What an exchange is told: by its client, its pool and its upstream, by its deadline, attempt and tunnel."""

    __slots__ = ()

    tunnel: TunnelEvents | None
    """Since the answer 101: both sides' bytes are its."""

    def observe(self, observer: Observer) -> None:
        """Let an observer stand between this exchange and its client."""
        raise NotImplementedError

    def on_room(self) -> None:
        """Note that the limits of the service let the exchange go on, which waited in its queue."""
        raise NotImplementedError

    # The client.

    def on_request_data(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        raise NotImplementedError

    def on_request_end(self, trailers: Fields) -> None:
        """Note that the request is whole."""
        raise NotImplementedError

    def on_client_gone(self, flag: Flag = DC) -> None:
        """Note that the client closed its connection, or broke the protocol on it: nobody waits for the answer."""
        raise NotImplementedError

    def cut_short(self, reply: LocalReply) -> None:
        """End what is under way, and answer so in the service's place, or cut the answer that has begun."""
        raise NotImplementedError

    def on_client_full(self) -> None:
        """Note that the client takes the answer slower than it comes."""
        raise NotImplementedError

    def on_client_ready(self) -> None:
        """Note that the client has caught up."""
        raise NotImplementedError

    # The pool.

    def on_connected(self, connection: Upstream) -> None:
        """Note that a connection that the exchange waited for is there."""
        raise NotImplementedError

    def on_connect_failed(self, reason: str) -> None:
        """Note that no connection could be made."""
        raise NotImplementedError

    # The upstream.

    def on_response_head(self, head: ResponseHead, leftover: bytes) -> None:
        """Take the head of an answer. `leftover` came behind a 101."""
        raise NotImplementedError

    def on_response_data(self, data: bytes) -> None:
        """Take a piece of the answer's body."""
        raise NotImplementedError

    def on_response_end(self, trailers: Fields) -> None:
        """Note that the answer is whole."""
        raise NotImplementedError

    def on_upstream_refused(self, blamed: bool) -> None:
        """Note that the endpoint has not processed the request. `blamed`: it refused it while it stays."""
        raise NotImplementedError

    def on_upstream_invalid(self, reason: str) -> None:
        """Note that the endpoint sent what is not HTTP."""
        raise NotImplementedError

    def on_upstream_lost(self, saw_response: bool) -> None:
        """Note that the connection broke before the answer was whole."""
        raise NotImplementedError

    def on_upstream_full(self) -> None:
        """Note that the endpoint takes the request slower than it comes."""
        raise NotImplementedError

    def on_upstream_ready(self) -> None:
        """Note that the endpoint has caught up."""
        raise NotImplementedError

    # The deadline, the attempt and the tunnel.

    def on_overdue(self) -> None:
        """End what has lasted too long: the request, or the silence of a stream."""
        raise NotImplementedError

    def on_attempt_overdue(self, now: float) -> None:
        """Note that the attempt under way was not answered within the per-try time-out."""
        raise NotImplementedError

    def on_tunnel_moved(self, received: int) -> None:
        """Count bytes that went through the tunnel; so many of them came from the client."""
        raise NotImplementedError

    def on_tunnel_over(self) -> None:
        """Note that the tunnel has ended."""
        raise NotImplementedError


class Client(Protocol):
    """What an exchange needs of the client's connection."""

    def send_head(self, head: ResponseHead) -> None:
        """Begin the answer, or pass an informational one on."""

    def send_data(self, data: bytes) -> None:
        """Send a piece of the answer's body, or of a tunnel."""

    def send_end(self, trailers: Fields) -> None:
        """End the answer; the exchange is over."""

    def send_local(self, reply: LocalReply) -> None:
        """Answer in the service's place; the exchange is over."""

    def send_eof(self) -> None:
        """Half-close a tunnel."""

    def take_early(self) -> bytes:
        """Return what was sent behind a request that became a tunnel."""

    def abort(self) -> None:
        """Cut the connection; the exchange is over."""

    def close(self) -> None:
        """Close the connection once all is written; the exchange is over."""

    def pause_request(self) -> None:
        """Read no more of the request for now."""

    def resume_request(self) -> None:
        """Read the request again."""


class Upstream(Protocol):
    """What an exchange needs of the connection, or the stream of one, to the endpoint."""

    def send_head(self, exchange: ExchangeEvents, head: RequestHead) -> None:
        """Begin the request."""

    def send_data(self, data: bytes) -> None:
        """Send a piece of the request's body."""

    def send_end(self, trailers: Fields) -> None:
        """End the request."""

    def send_raw(self, data: bytes) -> None:
        """Send bytes of a tunnel."""

    def send_eof(self) -> None:
        """Half-close a tunnel."""

    def detach(self) -> None:
        """Let go of the rest of the answer, which is not wanted."""

    def abort(self) -> None:
        """End the request at once."""

    def close(self) -> None:
        """End a tunnel once all is written."""

    def pause_reading(self) -> None:
        """Take no more of the answer for now."""

    def resume_reading(self) -> None:
        """Take the answer again."""

    def reused(self) -> bool:
        """Return whether the endpoint may have been closing the connection as the request was sent."""


class Observer(Client, Protocol):
    """Who wants to know of an exchange stands between it and its client, and passes everything on."""

    received: int
    """Bytes of the request's body, or of the client's side of a tunnel."""

    def finished(self, endpoint: Endpoint | None, attempts: int, latency: float, flags: Flags) -> None:
        """Record the exchange, which is over; at most the end of the answer is still to be sent."""

    def end(self) -> None:
        """Record the end: the client is gone, nothing more is sent to it."""


class TcpObserver(Protocol):
    """Who records one TCP connection. The session fills it in."""

    peer: object
    """The address of the client's socket."""
    endpoint: Endpoint | None
    received: int
    """Bytes that the client sent."""
    sent: int

    def end(self, service: str, flags: Flags, how: str) -> None:
        """Record that the connection is over."""


class Request:
    """A request as the recorder sees it."""

    __slots__ = ("client", "direction", "head", "peer", "service", "stream")

    def __init__(
        self,
        direction: Direction,
        service: str,
        client: Client,
        head: RequestHead,
        peer: bytes,
        stream: int | None = None,
    ) -> None:
        self.direction = direction
        self.service = service  # where it goes
        self.client = client
        self.head = head
        self.peer = peer  # the address that the client connected from
        self.stream = stream  # its number on an HTTP/2 connection, None for HTTP/1


class Recorder(Protocol):
    """Who makes records of single requests and connections."""

    def observe(self, exchange: ExchangeEvents, request: Request) -> None:
        """Begin a request: follow it if it is to be recorded."""

    def refused(self, request: Request, reply: LocalReply) -> None:
        """Record a request that was answered without going anywhere."""

    def connection(self, direction: Direction) -> TcpObserver | None:
        """Return the observer of a new TCP connection, if there is to be one."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what became of the records, by where they go: `access_log`, `tracing`."""
