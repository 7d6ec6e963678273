"""`tramo dashboard`: a page with the dashboard's graphs on this machine, and the same numbers as JSON.

Rules:
- It listens on loopback and answers only those who ask for it by a loopback name, so that no page of the web can read
  it through the user's browser.
- What was read is kept for one period: several pages cost as much as one.
- Nothing comes from elsewhere: `page/` holds uPlot 1.6.32 as npm has it, with its licence (MIT).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from infra.dashboards.reader import Page, Reader, ReadError

PAGE: Final = Path(__file__).with_name("page")
FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/uPlot.iife.min.js": ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "/uPlot.min.css": ("uPlot.min.css", "text/css; charset=utf-8"),
}
MAX_MINUTES: Final = 12 * 60
"""Minutes as CloudWatch keeps them for 15 days; more of them than pixels."""
MAX_KEPT: Final = 16
"""Answers in memory: some services in some windows."""
_POLICY: Final = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"


class Cache:
    """Pages by service and window, each read once in a period however many ask."""

    def __init__(self, reader: Reader, now: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._now = now
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], tuple[float, Page]] = {}

    def read(self, service: str, minutes: int) -> Page:
        """Return a page that is not older than a period. Raises ReadError."""
        with self._lock:
            kept = self._kept.get((service, minutes))
            if kept is not None and self._now() - kept[0] < self._reader.period:
                return kept[1]
            page = self._reader.read(service, timedelta(minutes=minutes))
            self._kept.pop((service, minutes), None)
            self._kept[service, minutes] = (self._now(), page)
            if len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            return page


class DashboardServer(ThreadingHTTPServer):
    """Serves one dashboard; `server_port` is where."""

    daemon_threads = True

    def __init__(self, reader: Reader, port: int, minutes: int) -> None:
        """Listen on 127.0.0.1. `minutes` is the window that the page begins with. Raises OSError."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.cache = Cache(reader)
        self.minutes = minutes
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless it is that a page was left before its answer came."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: DashboardServer

    def do_GET(self) -> None:
        """Answer a page, a file or the numbers."""
        if self.headers.get("Host") not in self.server.hosts:
            self._answer(403, "text/plain", b"ask for 127.0.0.1 or localhost\n")
            return
        parts = urlsplit(self.path)
        if parts.path == "/data":
            self._data(parse_qs(parts.query))
        elif parts.path in FILES:
            name, content_type = FILES[parts.path]
            self._answer(200, content_type, (PAGE / name).read_bytes())
        else:
            self._answer(404, "text/plain", b"no such page\n")

    def _data(self, query: dict[str, list[str]]) -> None:
        minutes = query.get("minutes", [str(self.server.minutes)])[0]
        if not minutes.isdecimal() or not 1 <= int(minutes) <= MAX_MINUTES:
            self._json(400, {"error": f"minutes is {minutes!r}; it should be between 1 and {MAX_MINUTES}"})
            return
        try:
            page = self.server.cache.read(query.get("service", [""])[0], int(minutes))
        except ReadError as error:
            self._json(502, {"error": str(error)})
        else:
            self._json(200, page)

    def _json(self, status: int, document: object) -> None:
        self._answer(status, "application/json", msgspec.json.encode(document))

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""
