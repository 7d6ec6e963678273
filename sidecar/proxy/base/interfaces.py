"""What an exchange needs of those around it, whatever protocol they speak.

HTTP/1.1 connections and HTTP/2 streams are clients and upstreams alike, so that every exchange can join any two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sidecar.core.errors import LocalReply
    from sidecar.core.http.messages import Fields, RequestHead, ResponseHead
    from sidecar.core.routing.cluster import Cluster
    from sidecar.core.routing.endpoint import Endpoint
    from sidecar.proxy.exchange.exchange import Exchange


class Client(Protocol):
    """What an exchange needs of the client's connection."""

    def send_head(self, head: ResponseHead) -> None:
        """Begin the answer, or pass an informational one on."""

    def send_data(self, data: bytes) -> None:
        """A piece of the answer's body, or of a tunnel."""

    def send_end(self, trailers: Fields) -> None:
        """The answer is whole; the exchange is over."""

    def send_local(self, reply: LocalReply) -> None:
        """Answer in the service's place; the exchange is over."""

    def send_eof(self) -> None:
        """Half-close a tunnel."""

    def take_early(self) -> bytes:
        """What was sent behind a request that became a tunnel."""

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

    def send_head(self, exchange: Exchange, head: RequestHead) -> None:
        """Begin the request."""

    def send_data(self, data: bytes) -> None:
        """A piece of the request's body."""

    def send_end(self, trailers: Fields) -> None:
        """The request is whole."""

    def send_raw(self, data: bytes) -> None:
        """Bytes of a tunnel."""

    def send_eof(self) -> None:
        """Half-close a tunnel."""

    def detach(self) -> None:
        """The rest of the answer is not wanted."""

    def abort(self) -> None:
        """End the request at once."""

    def close(self) -> None:
        """End a tunnel once all is written."""

    def pause_reading(self) -> None:
        """Take no more of the answer for now."""

    def resume_reading(self) -> None:
        """Take the answer again."""

    def reused(self) -> bool:
        """Whether the endpoint may have been closing the connection as the request was sent."""


class UpstreamPool(Protocol):
    """Where an exchange gets its upstream from."""

    def overflows(self) -> bool:
        """Whether the circuit breaker forbids the connection that would be needed."""

    def acquire(self, exchange: Exchange) -> Upstream | None:
        """An upstream, or None: then `on_connected` or `on_connect_failed` follows."""

    def forget(self, exchange: Exchange) -> None:
        """The exchange does not wait any more."""


class Observer(Client, Protocol):
    """Who wants to know of an exchange stands between it and its client, and passes everything on."""

    received: int
    """Bytes of the request's body, or of the client's side of a tunnel."""

    def finished(self, cluster: Cluster, endpoint: Endpoint | None, attempts: int, latency: float, flags: str) -> None:
        """The exchange is over but for the last word to the client."""

    def end(self) -> None:
        """The client is gone: no word to it follows."""
