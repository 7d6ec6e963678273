"""What the proxy asks the kernel for on its sockets.

Rules:
- TCP keep-alive on every socket: a peer that vanished without a word, with its host or behind a firewall that forgot
  the connection, is noticed within two minutes, and not only when the idle time-out of an hour is over.
- A listening socket hands its options down to those that it accepts (Linux, tcp(7)), so they cost nothing there.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

QUIET_SECONDS: Final = 60
"""Silence after which the kernel asks; below the 350 s after which a NAT gateway of AWS forgets."""
INTERVAL_SECONDS: Final = 15
PROBES: Final = 4

_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES),
)


def keep_alive(server: asyncio.Server) -> None:
    """Let all connections that this server accepts be kept alive."""
    found: Any = server  # uvloop gives a list where typeshed says a tuple, and compiled code would insist
    for listener in found.sockets:
        for level, option, value in _OPTIONS:
            listener.setsockopt(level, option, value)


def keep_connection_alive(transport: asyncio.BaseTransport) -> None:
    """Keep a connection alive that was made from here."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        for level, option, value in _OPTIONS:
            connection.setsockopt(level, option, value)


def reset(transport: asyncio.Transport) -> None:
    """Cut a connection so that the peer cannot take it for an orderly end: with RST, not FIN (socket(7), SO_LINGER)."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
