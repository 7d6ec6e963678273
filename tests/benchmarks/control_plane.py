"""What a sidecar needs around it to run with all features on: the API with one snapshot, and CloudWatch."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

NAMESPACE: Final = "bench.local"
POLL_SECONDS: Final = 5
JOIN_SECONDS: Final = 10.0
_EMPTY_CBOR: Final = b"\xa0"


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the namespace. Its virtual address is numbered from the network's second one on."""

    name: str
    protocol: str
    vip_number: int
    port: int
    endpoints: tuple[tuple[str, int], ...]

    def record(self) -> dict[str, Any]:
        """The service as a snapshot says it."""
        return {
            "name": self.name,
            "protocol": self.protocol,
            "vip": f"127.254.{self.vip_number >> 8}.{self.vip_number & 255}",
            "revision": 1,
            "aliases": [
                {"dns_name": self.name, "port": self.port},
                {"dns_name": f"{self.name}.{NAMESPACE}", "port": self.port},
            ],
            "policy": {},
            "endpoints": [self._endpoint(index, *where) for index, where in enumerate(self.endpoints)],
        }

    def _endpoint(self, index: int, address: str, port: int) -> dict[str, Any]:
        return {
            "id": f"{self.vip_number:016x}{index:016x}/{self.name}", "address": address, "port": port,
            "zone": f"us-east-1{'abc'[index % 3]}", "state": "ready", "weight": 100,
            "task_definition": f"{self.name}:1", "deployment": "ecs-svc/1112223334445556667",
            "since": "2026-11-22T12:00:00.250Z",
        }  # fmt: skip


class ControlPlane:
    """Serves one snapshot by its ETag, and takes metrics."""

    def __init__(self, address: str, services: Sequence[Service]) -> None:
        self.puts = 0
        """How often metrics came."""
        plane = self
        document = {
            "schema": 1,
            "namespace": NAMESPACE,
            "revision": 1,
            "generated_at": "2026-11-22T12:00:00Z",
            "services": [service.record() for service in services],
        }
        body = json.dumps(document).encode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.headers.get("If-None-Match") == '"1"':
                    self._answer(304, b"", ETag='"1"')
                else:
                    self._answer(200, body, ETag='"1"')

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                plane.puts += 1
                self._answer(200, _EMPTY_CBOR, **{"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"})

            def _answer(self, status: int, content: bytes, **fields: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Tramo-Poll-Seconds", str(POLL_SECONDS))
                for name, value in fields.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(JOIN_SECONDS)
