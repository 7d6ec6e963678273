"""The record of one TCP connection through the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.core.access_log import TcpLine, milliseconds
from sidecar.core.direction import Direction
from sidecar.core.flags import Flags, joined
from sidecar.core.routing.endpoint import Endpoint

if TYPE_CHECKING:
    from sidecar.telemetry.recorder import Recorder


class TcpObservation:
    """A connection, from its acceptance on. The session fills it in and says when it is over."""

    __slots__ = ("_direction", "_number", "_recorder", "_started", "_wall", "endpoint", "peer", "received", "sent")

    def __init__(self, recorder: Recorder, direction: Direction, number: int) -> None:
        self._recorder = recorder
        self._direction = direction
        self._number = number
        self._wall = recorder.wall()
        self._started = recorder.runtime.now()
        self.peer: Any = None  # the address of the socket
        self.endpoint: Endpoint | None = None
        self.received = 0  # bytes that the client sent
        self.sent = 0

    def end(self, service: str, flags: Flags, how: str) -> None:
        """Write the record, if it is one of those that are written."""
        if not self._recorder.wants(bool(flags)):
            return
        endpoint = self.endpoint
        line = TcpLine(
            start_time=self._recorder.timestamps.text(self._wall),
            direction=self._direction,
            protocol="TCP",
            downstream_address=str(self.peer[0]) if self.peer else "",
            downstream_port=int(self.peer[1]) if self.peer else 0,
            bytes_received=self.received,
            bytes_sent=self.sent,
            duration=milliseconds(self._recorder.runtime.now() - self._started),
            upstream_host=f"{endpoint.address}:{endpoint.port}" if endpoint is not None else None,
            upstream_cluster=service,
            upstream_endpoint=endpoint.id if endpoint is not None else None,
            response_flags=joined(flags) or "-",
            connection_termination_details=how,
            connection_id=self._number,
        )
        self._recorder.write(line)
