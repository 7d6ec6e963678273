"""Spans and metrics in OpenTelemetry's definitions and words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidecar.core import otlp
from sidecar.core.otlp import Buckets, Point
from sidecar.core.trace import Span
from tests.support.wire.otlp_collector import (
    has_unknown_fields,
    partial_success,
    read_metrics,
    read_spans,
    values,
)

SPAN = Span(
    "1-67891233-abcdef012345678912345678",
    "53995c3f42cd8ad8",
    "00f067aa0ba902b7",
    "orders",
    False,
    1_795_348_800.25,
    1_795_348_800.5,
    method="GET",
    authority="orders:8080",
    path="/a",
    version="1.1",
    client="127.0.0.1",
    user_agent="curl/8",
    status=200,
    upstream="10.0.1.17:15100",
)


def read(span: Span) -> OtlpSpan:
    found = OtlpSpan.FromString(otlp.span(span))
    assert not has_unknown_fields(found)
    return found


def test_a_call_is_a_client_span() -> None:
    found = read(SPAN)
    assert (found.trace_id.hex(), found.span_id.hex()) == ("67891233abcdef012345678912345678", SPAN.id)
    assert (found.parent_span_id.hex(), found.name, found.kind) == (SPAN.parent_id, "GET", OtlpSpan.SPAN_KIND_CLIENT)
    assert found.start_time_unix_nano == 1_795_348_800_250_000_000
    assert found.end_time_unix_nano == 1_795_348_800_500_000_000
    assert found.status.code == Status.STATUS_CODE_UNSET
    assert values(found.attributes) == {
        "http.request.method": "GET",
        "server.address": "orders",
        "server.port": 8080,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
        "url.full": "http://orders:8080/a",
        "peer.service": "orders",
        "network.peer.address": "10.0.1.17",
        "network.peer.port": 15100,
        "tramo.service": "orders",
    }


def test_what_comes_in_is_a_server_span() -> None:
    found = read(replace(SPAN, inbound=True, parent_id="", authority="orders", upstream="127.0.0.1:8080"))
    assert (found.kind, found.parent_span_id) == (OtlpSpan.SPAN_KIND_SERVER, b"")
    attributes = values(found.attributes)
    assert (attributes["url.scheme"], attributes["url.path"], attributes["client.address"]) == (
        "http",
        "/a",
        "127.0.0.1",
    )
    assert not {"peer.service", "url.full", "network.peer.address", "server.port"} & attributes.keys()


def test_a_parent_that_is_no_id_is_left_out() -> None:
    assert read(replace(SPAN, parent_id="main")).parent_span_id == b""


def test_a_method_that_is_not_https_is_not_a_name() -> None:
    found = read(replace(SPAN, method="STEAL"))
    attributes = values(found.attributes)
    assert found.name == "HTTP"
    assert (attributes["http.request.method"], attributes["http.request.method_original"]) == ("_OTHER", "STEAL")


def test_text_from_outside_is_cut() -> None:
    assert len(values(read(replace(SPAN, path="/" + "a" * 9000)).attributes)["url.full"]) == otlp.MAX_TEXT


def test_retries_and_flags_are_attributes() -> None:
    attributes = values(read(replace(SPAN, retries=2, flags="UC,URX", status=503)).attributes)
    assert attributes["http.request.resend_count"] == 2
    assert (attributes["tramo.response_flags"], attributes["error.type"]) == ("UC,URX", "UC,URX")


@pytest.mark.parametrize(
    ("inbound", "status", "grpc_status", "flags", "failed"),
    [
        (True, 200, None, "", ""),
        (True, 404, None, "", ""),
        (False, 404, None, "", "404"),
        (True, 503, None, "", "503"),
        (False, 503, None, "UH", "UH"),
        (True, 200, 0, "", ""),
        (True, 200, 14, "", "14"),
        (True, 200, 5, "", ""),
        (False, 200, 5, "", "5"),
        (True, 0, None, "DC", "DC"),
    ],
)
def test_what_is_an_error(inbound: bool, status: int, grpc_status: int | None, flags: str, failed: str) -> None:
    is_grpc = grpc_status is not None
    span = replace(SPAN, inbound=inbound, status=status, grpc_status=grpc_status, flags=flags, is_grpc=is_grpc)
    found = read(span)
    assert values(found.attributes).get("error.type", "") == failed
    assert found.status.code == (Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET)


def test_a_grpc_call_is_named_by_its_method() -> None:
    found = read(replace(SPAN, method="POST", is_grpc=True, grpc_status=14, path="/shop.Orders/Get"))
    attributes = values(found.attributes)
    assert found.name == "shop.Orders/Get"
    assert [attributes[f"rpc.{name}"] for name in ("system", "service", "method", "grpc.status_code")] == [
        "grpc",
        "shop.Orders",
        "Get",
        14,
    ]


def test_spans_are_sent_with_who_sends_them() -> None:
    body = otlp.request(
        otlp.resource([("service.name", "web"), ("a", 1), ("b", 0.5), ("c", True)]), "1", [otlp.span(SPAN)] * 2
    )
    found = read_spans(body)
    assert [resource for resource, _ in found] == [{"service.name": "web", "a": 1, "b": 0.5, "c": True}] * 2
    assert {span.name for _, span in found} == {"GET"}


def test_counters_gauges_and_histograms() -> None:
    points = [Point([("tramo.service", "orders")], 7.0)]
    buckets = [Buckets([("tramo.service", "orders")], [1, 0, 2], 3.5)]
    metrics = [
        otlp.counter("a", "1", "A.", points, 1.0, 2.0),
        otlp.gauge("b", "By", "B.", points, 2.0),
        otlp.histogram("c", "s", "C.", buckets, [0.5, 1.0], 1.0, 2.0),
    ]
    resource, (counter, gauge, histogram) = read_metrics(otlp.request(otlp.resource([]), "1", metrics))
    assert resource == {}
    assert (counter.name, counter.unit, counter.description) == ("a", "1", "A.")
    assert counter.sum.is_monotonic
    assert counter.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = counter.sum.data_points
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (7.0, 10**9, 2 * 10**9)
    assert values(point.attributes) == {"tramo.service": "orders"}
    assert [point.as_double for point in gauge.gauge.data_points] == [7.0]
    assert_histogram(histogram)


def assert_histogram(found: Metric) -> None:
    assert found.histogram.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = found.histogram.data_points
    assert (point.count, point.sum, list(point.bucket_counts), list(point.explicit_bounds)) == (
        3,
        3.5,
        [1, 0, 2],
        [0.5, 1.0],
    )
    assert (point.start_time_unix_nano, point.time_unix_nano) == (10**9, 2 * 10**9)


def test_a_collector_says_what_it_left_out() -> None:
    assert otlp.rejected(partial_success(3, "too old")) == (3, "too old")
    assert otlp.rejected(b"") == (0, "")
