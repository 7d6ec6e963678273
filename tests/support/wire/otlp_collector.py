"""A collector of OpenTelemetry on loopback: takes OTLP/HTTP as its definitions say, and is strict about it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

STOP_SECONDS: Final = 10.0
PROTOBUF: Final = "application/x-protobuf"


def values(pairs: Any) -> dict[str, Any]:
    """Attributes by name. A name must be there once."""
    found: dict[str, Any] = {}
    pair: KeyValue
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        assert kind is not None, f"{pair.key} has no value"
        assert pair.key not in found, f"{pair.key} is there twice"
        found[pair.key] = getattr(pair.value, kind)
    return found


def partial_success(rejected: int, reason: str) -> bytes:
    """The answer of a collector that left some spans out."""
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=reason)
    return ExportTraceServiceResponse(partial_success=partial).SerializeToString()


class Collector:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[dict[str, Any], Span]] = []  # with the attributes of the resource
        self.metrics: list[tuple[dict[str, Any], list[Metric]]] = []  # one for each call
        self.fields: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, dict(self.headers.items()), body)
                self.send_response(200)
                self.send_header("Content-Type", PROTOBUF)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def take(self, path: str, fields: dict[str, str], body: bytes) -> None:
        """One call."""
        assert fields["Content-Type"] == PROTOBUF
        self.fields.append(fields)
        if path == "/v1/traces":
            self.spans += read_spans(body)
        else:
            assert path == "/v1/metrics"
            self.metrics.append(read_metrics(body))

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(STOP_SECONDS)


def read_spans(body: bytes) -> list[tuple[dict[str, Any], Span]]:
    """The spans of a request, each with the attributes of its resource."""
    request = ExportTraceServiceRequest.FromString(body)
    assert not has_unknown_fields(request)
    return [
        (values(group.resource.attributes), span)
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def read_metrics(body: bytes) -> tuple[dict[str, Any], list[Metric]]:
    """The metrics of a request with the attributes of their one resource."""
    request = ExportMetricsServiceRequest.FromString(body)
    assert not has_unknown_fields(request)
    (group,) = request.resource_metrics
    (scope,) = group.scope_metrics
    return values(group.resource.attributes), list(scope.metrics)


def has_unknown_fields(message: Any) -> bool:
    """Whether there is anything in a message, or in one inside it, that the definitions do not know.

    What they know keeps its size when it is written again without the rest.
    """
    size = message.ByteSize()
    message.DiscardUnknownFields()
    return bool(message.ByteSize() != size)
