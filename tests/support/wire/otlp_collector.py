"""A collector of OpenTelemetry on loopback: takes OTLP/HTTP as its definitions say, and is strict about it."""

from __future__ import annotations

from collections.abc import Mapping
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

from tests.support.wire.answer_server import AnswerServer, Request, Response

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


class Collector(AnswerServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[dict[str, Any], Span]] = []  # with the attributes of the resource
        self.metrics: list[tuple[dict[str, Any], list[Metric]]] = []  # one for each call
        self.fields: list[Mapping[str, str]] = []
        super().__init__(self._take)

    def _take(self, request: Request) -> Response:
        assert (request.method, request.fields["content-type"]) == ("POST", PROTOBUF)
        self.fields.append(request.fields)
        if request.target == "/v1/traces":
            self.spans += read_spans(request.body)
        else:
            assert request.target == "/v1/metrics"
            self.metrics.append(read_metrics(request.body))
        return Response(fields={"Content-Type": PROTOBUF})


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
