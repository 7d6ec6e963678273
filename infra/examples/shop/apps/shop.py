"""What the shop's HTTP programs share: a server that ends gracefully, and a client that keeps its connection.

Nothing here knows of a mesh: services are called by name, as http://orders, with the standard library. Where names
do not resolve but HTTP_PROXY is set, it is obeyed, as most HTTP libraries would by themselves.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

LONGEST_SECONDS = 25.0  # for what is under way at SIGTERM; ECS sends SIGKILL after 30

PROXY = urlsplit(os.environ.get("http_proxy", ""))

Json = dict[str, Any]
Answer = Callable[[str], tuple[int, Json]]


def task_id() -> str:
    """Return the id of the task that this runs in, from the ECS task metadata endpoint."""
    with urllib.request.urlopen(f"{os.environ['ECS_CONTAINER_METADATA_URI_V4']}/task", timeout=5) as answer:  # noqa: S310
        arn: str = json.load(answer)["TaskARN"]
    return arn.rpartition("/")[2]


class Server(ThreadingHTTPServer):
    """Serves GET requests by one function of the path. On SIGTERM it finishes what it has and ends."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Answer) -> None:
        super().__init__((os.environ.get("HOST", "0.0.0.0"), port), _Handler)  # noqa: S104 - in a container
        self.answer = answer
        self.closing = False
        self._active = 0
        self._changed = threading.Condition()

    def run(self) -> None:
        """Serve until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self.shutdown).start())
        self.serve_forever(poll_interval=0.1)
        self.closing = True
        self.server_close()
        with self._changed:
            self._changed.wait_for(lambda: not self._active, LONGEST_SECONDS)

    def began(self) -> None:
        """Count a request that is under way."""
        with self._changed:
            self._active += 1

    def ended(self) -> None:
        """Count a request that was answered."""
        with self._changed:
            self._active -= 1
            self._changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:
        self.server.began()
        try:
            try:
                status, body = self.server.answer(self.path)
            except (OSError, http.client.HTTPException) as error:
                status, body = 502, {"error": f"{type(error).__name__}: {error}"}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if self.server.closing:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
        finally:
            self.server.ended()

    def log_message(self, *_: object) -> None:
        """Write no line for each request."""


def connect(name: str, port: int) -> socket.socket:
    """Return a TCP connection to a service. Raises OSError."""
    if not PROXY.hostname:
        return socket.create_connection((name, port), timeout=10)
    connection = socket.create_connection((PROXY.hostname, PROXY.port or 80), timeout=10)
    connection.sendall(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    if not head.startswith(b"HTTP/1.1 200"):
        connection.close()
        raise ConnectionRefusedError(f"{name}:{port} through the proxy: {head[:100]!r}")
    return connection


class Peer:
    """GETs JSON from one service. Every thread keeps its own connection."""

    _connections: ClassVar[threading.local] = threading.local()

    def __init__(self, name: str, port: int) -> None:
        self._name = name
        self._port = port

    def get(self, path: str) -> Json:
        """Return the JSON that the service answers. Raises OSError or HTTPException."""
        target = f"http://{self._name}:{self._port}{path}" if PROXY.hostname else path
        for attempt in (1, 2):
            connection, fresh = self._connection()
            try:
                connection.request("GET", target)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self._connections.__dict__.pop(self._name, None)
                # A kept connection that the other side had closed meanwhile: that request was never seen.
                if fresh or attempt == 2:
                    raise
                continue
            if answer.status != 200:
                raise http.client.HTTPException(f"{self._name} answered {answer.status}: {content[:200]!r}")
            result: Json = json.loads(content)
            return result
        raise AssertionError("unreachable")

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        kept = self._connections.__dict__.get(self._name)
        if kept is not None:
            return kept, False
        made = http.client.HTTPConnection(PROXY.hostname or self._name, PROXY.port or self._port, timeout=10)
        self._connections.__dict__[self._name] = made
        return made, True
