"""A server on loopback that answers as it is set and keeps what it was asked, and credentials that are given."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

import botocore.session
from botocore.credentials import Credentials

KEYS = Credentials("AKID", "secret", "token")


class GivenSession(botocore.session.Session):
    """A session whose credentials are given, or what is raised when they are asked for."""

    def __init__(self, credentials: Credentials | Exception | None = KEYS) -> None:
        super().__init__()
        self.given = credentials

    def get_credentials(self) -> Credentials | None:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


class FakeHttp:
    """Serves from its making to the end of the `with` block, one request at a time."""

    def __init__(self) -> None:
        self.status = 200
        self.fields: dict[str, str] = {}
        self.body = b"{}"
        self.requests: list[tuple[str, str, Mapping[str, str], bytes]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                fields = {name.lower(): value for name, value in self.headers.items()}
                fake.requests.append((self.command, self.path, fields, body))
                self.send_response(fake.status)
                for name, value in fake.fields.items():
                    self.send_header(name, value)
                if fake.status != 304:
                    self.send_header("content-length", str(len(fake.body)))
                self.end_headers()
                if fake.status != 304:
                    self.wfile.write(fake.body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
