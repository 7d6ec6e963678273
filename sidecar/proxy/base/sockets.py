"""What the proxy asks the kernel for on its sockets.

Rules:
- TCP keep-alive on every socket: a peer that vanished silently, with its host or behind a firewall that forgot
  the connection, is noticed within two minutes, and not only when the idle time-out of an hour is over.
- A connection that many requests share, to an endpoint by HTTP/2, must be found out sooner: within `SHARED_SECONDS` of
  silence, or of bytes that nobody acknowledges. The kernel asks, not a PING: servers of gRPC end the connection of a
  client that sends them PINGs while they have nothing to say (`too_many_pings`). HTTP/1.1 and TCP do without, because
  the kernel would also cut a peer that is alive and reads nothing for so long, which on HTTP/2 none does.
- A listening socket hands its options down to those that it accepts (Linux, tcp(7)), so they cost nothing there.
- Of a connection that a rule of netfilter redirected here, the kernel says where it was to go.
- Of a connection that the peer ended, the kernel says whether what we sent last came too late. A closed socket answers
  bytes with RST, and one that comes after FIN leaves EPIPE (Linux, `tcp_reset`). A peer that closes with bytes unread
  sends RST and no FIN, which leaves ECONNRESET; one that has read all sends FIN alone, which leaves nothing.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

QUIET_SECONDS: Final = 60
"""Silence after which the kernel asks; below the 350 s after which a NAT gateway of AWS forgets."""
INTERVAL_SECONDS: Final = 15
PROBES: Final = 4
SHARED_SECONDS: Final = 10
SHARED_QUIET_SECONDS: Final = 5
SHARED_INTERVAL_SECONDS: Final = 2

ONE_SEGMENT_BYTES: Final = 1_200
"""What one write sends in one segment on any path (IPv6's least MTU less the headers): the peer gets all or none."""

TIMED_OUT: Final = "timed out"
"""Why a connection could not be made to which nothing at all was answered: not even that nobody listens there."""

SO_ORIGINAL_DST: Final = 80  # linux/netfilter_ipv4.h; the socket module has no name for it
_SOCKADDR_IN_BYTES: Final = 16

_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES),
)
_SHARED_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SHARED_QUIET_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SHARED_INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SHARED_SECONDS * 1000),
)


def connect_failure(error: OSError) -> str:
    """Return why a connection could not be made."""
    return TIMED_OUT if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def keep_alive(server: asyncio.Server) -> None:
    """Let all connections that this server accepts be kept alive."""
    found: Any = server  # uvloop gives a list where typeshed says a tuple, and compiled code would insist
    for listener in found.sockets:
        for level, option, value in _OPTIONS:
            listener.setsockopt(level, option, value)


def keep_connection_alive(transport: asyncio.BaseTransport, is_shared: bool = False) -> None:
    """Keep a connection alive that was made from here, for one request at a time or for many."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        for level, option, value in _SHARED_OPTIONS if is_shared else _OPTIONS:
            connection.setsockopt(level, option, value)


def reset(transport: asyncio.Transport) -> None:
    """Cut a connection so that the peer cannot take it for an orderly end: with RST, not FIN (socket(7), SO_LINGER)."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def came_too_late(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer had closed its socket when the last bytes came. Asked when its end has been read."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return False
    error: int = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return error == errno.EPIPE


def listens(address: str, port: int) -> bool:
    """Whether something in this network namespace accepts connections there: the kernel answers within the call.

    Where it cannot be asked, for want of a descriptor, nobody can say that nothing does.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setblocking(False)
            error = probe.connect_ex((address, port))
            if error == errno.EINPROGRESS:
                error = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return error != errno.ECONNREFUSED
    except OSError:
        return True


def original_destination(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Return the IPv4 address and port that a redirected client called. None if no rule redirected it."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return None
    try:
        packed: bytes = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, _SOCKADDR_IN_BYTES)
    except OSError:
        return None  # ENOENT: the connection is not tracked, so nothing was changed about it
    return socket.inet_ntoa(packed[4:8]), int.from_bytes(packed[2:4], "big")
