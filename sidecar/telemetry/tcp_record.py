"""The record of one TCP connection through the proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sidecar.core.access_log import TcpLine, Timestamps, milliseconds
from sidecar.core.direction import Direction
from sidecar.core.flags import Flags, joined
from sidecar.core.routing.endpoint import Endpoint
from sidecar.proxy.base.runtime import Runtime


class TcpLog(Protocol):
    """What a record needs of the recorder: its clocks and its log."""

    runtime: Runtime
    timestamps: Timestamps
    wall: Callable[[], float]

    def wants(self, failed: bool) -> bool:
        """Return whether to write this line."""

    def write(self, line: TcpLine) -> None:
        """Write a line."""


class TcpObservation:
    """A connection, from its acceptance on. The session fills it in and says when it is over."""

    __slots__ = ("_direction", "_log", "_number", "_started", "_wall", "endpoint", "peer", "received", "sent")

    def __init__(self, log: TcpLog, direction: Direction, number: int) -> None:
        self._log = log
        self._direction = direction
        self._number = number
        self._wall = log.wall()
        self._started = log.runtime.now()
        self.peer: Any = None  # the address of the socket
        self.endpoint: Endpoint | None = None
        self.received = 0  # bytes that the client sent
        self.sent = 0

    def end(self, service: str, flags: Flags, how: str) -> None:
        """Write the record, if it is one of those that are written."""
        if not self._log.wants(bool(flags)):
            return
        endpoint = self.endpoint
        line = TcpLine(
            start_time=self._log.timestamps.text(self._wall),
            direction=self._direction,
            protocol="TCP",
            downstream_address=str(self.peer[0]) if self.peer else "",
            downstream_port=int(self.peer[1]) if self.peer else 0,
            bytes_received=self.received,
            bytes_sent=self.sent,
            duration=milliseconds(self._log.runtime.now() - self._started),
            upstream_host=f"{endpoint.address}:{endpoint.port}" if endpoint is not None else None,
            upstream_cluster=service,
            upstream_endpoint=endpoint.id if endpoint is not None else None,
            response_flags=joined(flags) or "-",
            connection_termination_details=how,
            connection_id=self._number,
        )
        self._log.write(line)
