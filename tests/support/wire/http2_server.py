"""An HTTP/2 server of others' making (h2, pure Python), whose answers a test decides frame by frame."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, TrailersReceived, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.support.proxy.sidecar import endpoint

Headers = list[tuple[str, str]]
STOP_SECONDS: Final = 5.0


@dataclass
class Request:
    """A request as the server read it."""

    stream: int
    headers: dict[str, str]
    peer: Peer
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    reset: int | None = None


class Peer:
    """One connection. Its methods may be called by the thread that reads it alone."""

    def __init__(self, server: Http2Server, connection: socket.socket) -> None:
        self.server = server
        self.socket = connection
        self.requests: dict[int, Request] = {}
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.waiting: dict[int, tuple[bytes, Headers]] = {}  # what the windows have not taken
        if server.max_streams is not None:
            limits = {SettingCodes.MAX_CONCURRENT_STREAMS: server.max_streams}
            self.h2.local_settings = Settings(client=False, initial_values=limits)

    def run(self) -> None:
        """Serve the connection up to its end."""
        self.h2.initiate_connection()
        self.flush()
        while data := self.socket.recv(65_536):
            for event in self.h2.receive_data(data):
                self._on(event)
            self.flush()

    def _on(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            headers = _text(event.headers)
            request = self.requests[event.stream_id] = Request(event.stream_id, headers, self)
            self.server.begun.append(request)
            if (early := self.server.early.get(headers[":path"])) is not None:
                early(request)
        elif isinstance(event, DataReceived):
            self.requests[event.stream_id].body += event.data
            if self.server.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self.requests[event.stream_id].trailers = _text(event.headers)
        elif isinstance(event, StreamEnded):
            request = self.requests[event.stream_id]
            self.server.requests.append(request)
            if request.headers[":path"] not in self.server.early:
                self.server.behaviours.get(request.headers[":path"], echo)(request)
        elif isinstance(event, StreamReset):
            self.requests[event.stream_id].reset = event.error_code
            self.waiting.pop(event.stream_id, None)
        elif isinstance(event, WindowUpdated):
            self._send_waiting()

    def answer(self, stream: int, status: int, body: bytes = b"", fields: Headers = [], trailers: Headers = []) -> None:  # noqa: B006
        """Send an answer, as fast as the windows allow."""
        bare = not body and not trailers
        self.h2.send_headers(stream, [(":status", str(status)), *fields], end_stream=bare)
        if not bare:
            self.waiting[stream] = (body, trailers)
            self._send_waiting()

    def _send_waiting(self) -> None:
        for stream, (body, trailers) in list(self.waiting.items()):
            with suppress(ProtocolError):
                while body and (room := min(self.h2.local_flow_control_window(stream), 16_384)) > 0:
                    self.h2.send_data(stream, body[:room])
                    body = body[room:]
                self.waiting[stream] = (body, trailers)
                if body:
                    continue
                if trailers:
                    self.h2.send_headers(stream, trailers, end_stream=True)
                else:
                    self.h2.end_stream(stream)
            if not body:
                self.waiting.pop(stream, None)

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """Reset a stream."""
        self.h2.reset_stream(stream, code)

    def flush(self) -> None:
        """Send what h2 has ready."""
        self.socket.sendall(self.h2.data_to_send())


def _text(headers: Any) -> dict[str, str]:
    return dict(headers)  # by `header_encoding` they are text already


Behaviour = Callable[[Request], None]


def echo(request: Request) -> None:
    """Answer with the request's body, and its trailers."""
    fields = [("x-method", request.headers[":method"]), ("x-authority", request.headers[":authority"])]
    request.peer.answer(request.stream, 200, request.body, fields, list(request.trailers.items()))


class Http2Server:
    """A server. `behaviours` maps paths to what happens once a request is whole, `early` once its head is there."""

    def __init__(self, name: str, address: str, max_streams: int | None = None, port: int = 0) -> None:
        self.name = name
        self.max_streams = max_streams
        self.reads = True  # whether windows are opened
        self.behaviours: dict[str, Behaviour] = {}
        self.early: dict[str, Behaviour] = {}
        self.begun: list[Request] = []
        self.requests: list[Request] = []
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self._listener = socket.create_server((address, port))
        self.address, self.port = self._listener.getsockname()[:2]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def record(self, state: str = "ready") -> dict[str, Any]:
        """This endpoint as a snapshot says it."""
        return endpoint(self.name, self.address, self.port, state)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                peer = Peer(self, connection)
                self.peers.append(peer)
                thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            with peer.socket, suppress(OSError):
                peer.run()
        except ProtocolError as error:
            self.errors.append(error)

    def close(self) -> None:
        """Stop listening and cut all connections. What broke the protocol is raised here."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            with suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        if self.errors:
            raise AssertionError(f"the sidecar broke the protocol: {self.errors}")
