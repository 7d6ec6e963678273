"""The console's server: its page on this machine, and the same numbers as JSON.

Rules:
- It listens on loopback and answers only those who ask for it by a loopback name, so that no page of the web can read
  it through the user's browser.
- Every view has an address of its own; the page itself shows the one that is asked for.
- Sidecars are asked by POST of JSON only, which no other page can send without the browser's asking first.
- Nothing comes from elsewhere: `page/` holds uPlot 1.6.32 as npm has it, with its licence (MIT).
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from infra.console.live import BusyError
from infra.console.metrics import ReadError
from infra.console.reader import Console

PAGE: Final = Path(__file__).with_name("page")
JSON: Final = "application/json"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
FILES: Final = frozenset(path.name for path in PAGE.iterdir() if path.suffix in TYPES and path.suffix != ".html")
VIEWS: Final = ("", "services", "mesh")
"""First parts of the addresses at which the page is."""
MAX_MINUTES: Final = 12 * 60
"""Minutes as CloudWatch keeps them for 15 days; more of them than pixels."""
_POLICY: Final = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"


class ConsoleServer(ThreadingHTTPServer):
    """Serves one console; `server_port` is where."""

    daemon_threads = True

    def __init__(self, console: Console, port: int, minutes: int) -> None:
        """Listen on 127.0.0.1. `minutes` is the window that the page begins with. Raises OSError."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.console = console
        self.minutes = minutes
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless it is that a page was left before its answer came."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ConsoleServer

    def do_GET(self) -> None:
        """Answer the page, one of its files or numbers."""
        if self.headers.get("Host") not in self.server.hosts:
            self._answer(403, "text/plain", b"ask for 127.0.0.1 or localhost\n")
            return
        parts = urlsplit(self.path)
        first, _, rest = parts.path.removeprefix("/").partition("/")
        if first == "data":
            self._data(rest, parse_qs(parts.query))
        elif first in VIEWS and (first == "services" or not rest):
            self._answer(200, TYPES[".html"], (PAGE / "index.html").read_bytes())
        elif first == "page" and rest in FILES:
            self._answer(200, TYPES[Path(rest).suffix], (PAGE / rest).read_bytes())
        else:
            self._answer(404, "text/plain", b"no such page\n")

    def do_POST(self) -> None:
        """Ask the sidecars what happens at a service: /live/tap/NAME, a line each request, or /live/ejections/NAME."""
        first, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        what, _, name = rest.partition("/")
        if self.headers.get("Host") not in self.server.hosts or self.headers.get("Content-Type") != JSON:
            self._json(403, {"error": "only the console's own page may ask"})
        elif first != "live" or what not in ("tap", "ejections") or not name:
            self._json(404, {"error": "there are /live/tap/NAME and /live/ejections/NAME"})
        else:
            self._live(what, unquote(name))

    def _live(self, what: str, name: str) -> None:
        console = self.server.console
        try:
            namespaces = console.namespaces(name, self.server.minutes)
            with console.live.turn():
                if what == "ejections":
                    self._json(200, console.live.ejections(namespaces, name))
                    return
                self._begin(200, "application/x-ndjson")
                self.end_headers()  # without a length: it ends with the connection
                for each in console.live.tap(namespaces, name):
                    self.wfile.write(msgspec.json.encode(each) + b"\n")
                    self.wfile.flush()
        except ReadError as error:
            self._json(409 if isinstance(error, BusyError) else 502, {"error": str(error)})

    def _data(self, view: str, query: dict[str, list[str]]) -> None:
        asked = query.get("minutes", [str(self.server.minutes)])[0]
        if not asked.isdecimal() or not 1 <= int(asked) <= MAX_MINUTES:
            self._json(400, {"error": f"minutes is {asked!r}; it should be between 1 and {MAX_MINUTES}"})
            return
        minutes = int(asked)
        first, _, name = view.partition("/")
        console = self.server.console
        try:
            match first:
                case "overview" if not name:
                    self._json(200, console.overview(minutes))
                case "services" if name:
                    self._json(200, console.service(unquote(name), minutes))
                case "mesh" if not name:
                    self._json(200, console.mesh(minutes))
                case _:
                    self._json(404, {"error": f"there is no /data/{view}; there are overview, services/NAME and mesh"})
        except ReadError as error:
            self._json(502, {"error": str(error)})

    def _json(self, status: int, document: object) -> None:
        self._answer(status, JSON, msgspec.json.encode(document))

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self._begin(status, content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""
