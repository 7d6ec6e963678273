"""The forward proxy: for apps that find services by `HTTP_PROXY` instead of by address.

Rules:
- The authority of the request, not the socket it came in on, says the service: `http://orders/x` is the alias
  orders:80. Names are compared without case, and without a trailing dot.
- CONNECT opens a tunnel to an alias, whatever its protocol: so TLS passes too.
- What is HTTP within a tunnel to a service of HTTP or gRPC is balanced, retried and measured request by request, as
  anywhere: gRPC's libraries know no proxy but by CONNECT, and a channel must spread over all endpoints.
- Only names of the namespace are served. This is no way out to other hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from sidecar.core.direction import OUTBOUND
from sidecar.core.errors import NO_ROUTE, LocalReply
from sidecar.core.http.messages import RequestHead
from sidecar.core.meters import Meter, ServerMeter
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.downstream.detect import DetectingConnection
from sidecar.proxy.downstream.frontend import Frontend, Handover, TakeOver
from sidecar.proxy.listeners import HttpListener
from sidecar.proxy.tcp import TcpSession
from sidecar.proxy.upstream.destination import Destination

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
UNREACHABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

Resolve = Callable[[str, int], Destination | None]


class ForwardListener(Frontend):
    """Accepts requests in absolute form, and CONNECT."""

    accept_connect = True

    def __init__(self, runtime: Runtime, resolve: Resolve, failures: Meter) -> None:
        super().__init__(runtime, OUTBOUND, ServerMeter(""))
        self._resolve = resolve
        self._failures = failures

    def accept(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        return DetectingConnection(self)

    def lead_to(self, destination: Destination) -> bool:
        """Keep the destination: each request names its own."""
        return False

    def name(self) -> str:
        """Return no name: it stands for no service."""
        return ""

    def failures(self) -> Meter:
        """Return where requests are counted that name no service."""
        return self._failures

    def http_10_host(self) -> bytes | None:
        """HTTP/1.0 is not accepted."""
        return None

    def route(self, head: RequestHead) -> Destination | LocalReply | TakeOver:
        """Return the service that the authority names."""
        name, port = split_authority(head.authority)
        destination = self._resolve(name, port)
        if destination is None:
            return NO_ROUTE
        if head.method == b"CONNECT":
            return partial(_tunnel, self, destination)
        if destination.cluster.protocol == "tcp":
            return NO_ROUTE
        return destination


def split_authority(authority: bytes) -> tuple[str, int]:
    """Host and port of `host[:port]`, the port 80 where there is none."""
    host, colon, port = authority.decode("ascii").rpartition(":")
    if not colon or not port.isdigit():
        host, port = authority.decode("ascii"), "80"
    return host.lower().rstrip("."), int(port)


class TunnelListener(HttpListener):
    """Takes the requests within one tunnel, all for the service that the tunnel leads to."""

    def __init__(self, forward: ForwardListener, destination: Destination) -> None:
        super().__init__(forward.runtime, destination, OUTBOUND, forward.meter)


class TunnelConnection(DetectingConnection):
    """A tunnel whose client has not said yet what it speaks."""

    def __init__(self, listener: TunnelListener) -> None:
        super().__init__(listener)
        self._tunnel = listener

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        if data[:1].isalpha():
            super()._hand_over(transport, data)
        else:
            session = TcpSession(self._tunnel.destination, OUTBOUND, self._tunnel.meter)
            session.adopt(transport, data)  # no method begins so: TLS


def _tunnel(listener: ForwardListener, destination: Destination, connection: Handover) -> None:
    transport, early = connection.hand_over()
    if destination.cluster.protocol == "tcp":
        session = TcpSession(destination, OUTBOUND, listener.meter, greeting=ESTABLISHED, refusal=UNREACHABLE)
        session.adopt(transport, early)
        return
    transport.write(ESTABLISHED)
    tunnel = TunnelConnection(TunnelListener(listener, destination))
    transport.set_protocol(tunnel)
    tunnel.connection_made(transport)
    transport.resume_reading()  # a request in front of CONNECT may have stopped it
    if early:
        tunnel.data_received(early)
