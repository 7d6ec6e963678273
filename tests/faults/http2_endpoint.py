"""The faults of an HTTP/2 server."""

from __future__ import annotations

from typing import Final

from h2.errors import ErrorCodes

from tests.faults.endpoint import Fault
from tests.support.wire.http2_server import Http2Server, Request

ANSWERS_BEFORE_GOAWAY: Final = 10


class Http2:
    """An endpoint."""

    def __init__(self, address: str, port: int, fault: Fault) -> None:
        self._fault = fault
        self._has_begun = False
        self._requests = 0
        server = Http2Server("faulty", address, port=port)
        server.behaviours = {"/": self._answer, "/count": self._count}

    def begin(self, number: int, frame: object) -> None:
        """The fault begins."""
        self._has_begun = True

    def _count(self, request: Request) -> None:
        request.peer.answer(request.stream, 200, str(self._requests).encode())

    def _answer(self, request: Request) -> None:
        self._requests += 1
        peer = request.peer
        if self._has_begun and self._fault is Fault.REFUSE_STREAMS:
            peer.reset(request.stream, ErrorCodes.REFUSED_STREAM)
        elif self._has_begun and self._fault is Fault.RESET_STREAMS:
            peer.reset(request.stream, ErrorCodes.INTERNAL_ERROR)
        else:
            peer.answer(request.stream, 200, b"ok", [("content-length", "2")])
        served = len(peer.requests)
        if self._has_begun and self._fault is Fault.GOAWAY and served % ANSWERS_BEFORE_GOAWAY == 0:
            peer.h2.close_connection(last_stream_id=request.stream)
