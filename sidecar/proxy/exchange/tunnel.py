"""What becomes of an exchange after 101: both sides send what they like until both have ended.

Rules:
- Half-closes are passed on. The tunnel is over when both sides have ended, or when either is gone.
- It lives under the idle time-out, which stays with the exchange.
"""

from __future__ import annotations

from sidecar.core.http.messages import ResponseHead
from sidecar.proxy.base.interfaces import Client, ExchangeEvents, TunnelEvents, Upstream


class Tunnel(TunnelEvents):
    """Bytes between a client and an endpoint."""

    __slots__ = ("_client", "_client_ended", "_connection", "_exchange", "_upstream_ended")

    def __init__(self, exchange: ExchangeEvents, client: Client, connection: Upstream) -> None:
        self._exchange = exchange
        self._client = client
        self._connection = connection
        self._client_ended = False
        self._upstream_ended = False

    def begin(self, head: ResponseHead, leftover: bytes) -> None:
        """Pass the 101 on, and what both sides sent before it was through."""
        self._client.send_head(head)
        if leftover:
            self._client.send_data(leftover)
        early = self._client.take_early()
        if early:
            self.on_client_data(early)

    def on_data(self, data: bytes) -> None:
        """Take bytes of the endpoint."""
        self._exchange.on_tunnel_moved(0)
        self._client.send_data(data)

    def on_eof(self) -> None:
        """Note that the endpoint sends no more."""
        self._upstream_ended = True
        self._client.send_eof()
        self._end()

    def on_closed(self) -> None:
        """Note that the endpoint is gone."""
        self._exchange.on_tunnel_over()
        self._client.close()

    def on_client_data(self, data: bytes) -> None:
        """Take bytes of the client."""
        self._exchange.on_tunnel_moved(len(data))
        self._connection.send_raw(data)

    def on_client_eof(self) -> None:
        """Note that the client sends no more."""
        self._client_ended = True
        self._connection.send_eof()
        self._end()

    def _end(self) -> None:
        """Close both sides once both have said all."""
        if self._client_ended and self._upstream_ended:
            self._connection.close()
            self._exchange.on_tunnel_over()
            self._client.close()
