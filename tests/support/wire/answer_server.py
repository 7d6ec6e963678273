"""An HTTP/1.1 server on loopback whose answers a function gives.

Rules:
- Every method is served, each connection on a thread of its own.
- A 304, a 204 and the answer to HEAD have no body and no length.
- A function that raises cuts its connection, and its traceback is on stderr.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self

POLL_SECONDS: Final = 0.02
"""How long the end of a server may take to be seen."""
STOP_SECONDS: Final = 10.0


class Request(NamedTuple):
    """A request. Names of fields are in lower case."""

    method: str
    target: str
    fields: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    """An answer. The server adds its length."""

    status: int = 200
    fields: Mapping[str, str] = {}
    body: bytes = b""


class AnswerServer:
    """Serves from its making until it is closed, on a free port."""

    def __init__(self, answer: Callable[[Request], Response], host: str = "127.0.0.1") -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                """Return what answers a method: the same for all."""
                if name.startswith("do_"):
                    return self._serve
                raise AttributeError(name)

            def _serve(self) -> None:
                fields = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(fields.get("content-length", "0")))
                response = answer(Request(self.command, self.path, fields, body))
                self.send_response(response.status)
                for name, value in response.fields.items():
                    self.send_header(name, value)
                has_body = response.status not in (204, 304) and self.command != "HEAD"
                if has_body:
                    self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                if has_body:
                    self.wfile.write(response.body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: a test asks for what it wants to know."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
