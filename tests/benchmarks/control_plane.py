"""What a sidecar needs around it to run with all features on: the API with one snapshot, and CloudWatch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.wire.answer_server import AnswerServer, Request, Response

NAMESPACE: Final = "bench.local"
POLL_SECONDS: Final = 5
_EMPTY_CBOR: Final = b"\xa0"
_METRICS_TAKEN: Final = {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}


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


class ControlPlane(AnswerServer):
    """Serves one snapshot by its ETag, and takes metrics."""

    def __init__(self, address: str, services: Sequence[Service]) -> None:
        self.puts = 0
        """How often metrics came."""
        document = {
            "schema": 1,
            "namespace": NAMESPACE,
            "revision": 1,
            "generated_at": "2026-11-22T12:00:00Z",
            "services": [service.record() for service in services],
        }
        self._body = json.dumps(document).encode()
        super().__init__(self._answer, address)

    def _answer(self, request: Request) -> Response:
        if request.method == "POST":
            self.puts += 1
            return Response(200, _METRICS_TAKEN, _EMPTY_CBOR)
        fields = {"ETag": '"1"', "Tramo-Poll-Seconds": str(POLL_SECONDS)}
        if request.fields.get("if-none-match") == '"1"':
            return Response(304, fields)
        return Response(200, fields, self._body)
