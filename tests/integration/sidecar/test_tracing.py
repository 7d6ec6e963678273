"""Traces across sidecars: a test plays the X-Ray daemon and an OpenTelemetry collector, and services with apps."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from sidecar.core.trace import w3c_trace_id
from tests.support.proxy.sidecar import NAMESPACE, Address, Backend, Peer, Request, Stage
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until
from tests.support.wire.http2_server import Http2Server
from tests.support.wire.otlp_collector import Collector, values

ROOT = "1-67891233-abcdef012345678912345678"
TRACE = "x-amzn-trace-id"


class Daemon:
    """The X-Ray daemon: takes datagrams, and is strict about them."""

    def __init__(self) -> None:
        self.segments: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := self._socket.recv(65_536):
            header, _, body = data.partition(b"\n")
            assert json.loads(header) == {"format": "json", "version": 1}
            self.segments.append(json.loads(body))

    def spans(self) -> dict[str, dict[str, Any]]:
        """All segments and subsegments by id, with trace and parent."""
        found: dict[str, dict[str, Any]] = {}
        for segment in list(self.segments):
            check(segment, embedded=False)
            found[segment["id"]] = segment
            for part in segment.get("subsegments", []):
                check(part, embedded=True)
                found[part["id"]] = part | {"parent_id": segment["id"], "trace_id": segment["trace_id"]}
        return found

    def close(self) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


def check(document: dict[str, Any], embedded: bool) -> None:
    """The rules of X-Ray's segment documents, as far as we use them."""
    required = {"name", "id", "start_time", "end_time"} | (set() if embedded else {"trace_id"})
    assert required <= set(document)
    assert len(document["id"]) == 16
    int(document["id"], 16)
    assert document["start_time"] <= document["end_time"]
    assert 0 < len(document["name"]) <= 200
    if document.get("type") == "subsegment":
        assert document["parent_id"]
    for value in document.get("annotations", {}).values():
        assert isinstance(value, str | int | float | bool)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    found = Daemon()
    yield found
    found.close()


@contextmanager
def traced(directory: Path, daemon: Daemon, **environment: str) -> Iterator[Stage]:
    settings = {"TRAMO_TRACING": "xray", "TRAMO_TRACING_RATE": "1", "AWS_XRAY_DAEMON_ADDRESS": daemon.address}
    with open_stage(directory, **settings, **environment) as stage:
        yield stage


def get(stage: Stage, host: str, port: int, path: str, headers: dict[str, str]) -> int:
    return send(host, port, "GET", path, headers)


def send(host: str, port: int, method: str, path: str, headers: dict[str, str]) -> int:
    """The status of one request on a connection of its own."""
    connection = HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_the_tree_of_a_call_across_two_services(tmp_path: Path, daemon: Daemon) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with traced(tmp_path / "a", daemon) as front, traced(tmp_path / "b", daemon, TRAMO_SERVICE_NAME="back-svc") as back:
        failures = [503]

        def serve(peer: Peer, request: Request) -> None:
            peer.answer(failures.pop() if failures else 200, b"done")

        back.backend("back-app", f"{back.prefix}.250.2", 8080).behaviours["/deep"] = serve
        ingress = {"id": "back/http", "address": f"{back.prefix}.250.1", "port": 15100, "state": "ready"}
        called = front.publish("orders", ingress)
        app = front.backend("front-app", f"{front.prefix}.250.2", 8080)

        def call(peer: Peer, request: Request) -> None:
            status = get(front, called.host, called.port, "/deep", {TRACE: request.headers[TRACE]})
            peer.answer(status, b"")

        app.behaviours["/"] = call
        address = front.address(15100)
        assert get(front, address.host, address.port, "/", {"User-Agent": "test"}) == 200
        until(lambda: len(daemon.segments) >= 4, 5, "all segments")
        spans = daemon.spans()
        assert len({span["trace_id"] for span in spans.values()}) == 1
        (root,) = [span for span in spans.values() if "parent_id" not in span]
        (out,) = [span for span in spans.values() if span.get("parent_id") == root["id"]]
        tries = [span for span in spans.values() if span.get("parent_id") == out["id"]]
        assert len(spans) == 4
        assert (root["name"], out["name"], out["namespace"]) == ("app", "orders", "remote")
        assert (out["type"], out["annotations"]["retries"]) == ("subsegment", 1)
        assert sorted(span["http"]["response"]["status"] for span in tries) == [200, 503]
        assert [span.get("fault") for span in tries] in ([True, None], [None, True])
        assert root["http"]["request"]["user_agent"] == "test"
        assert root["start_time"] <= out["start_time"] <= out["end_time"] <= root["end_time"] + 0.001


def serving(stage: Stage, behaviour: Callable[[Peer, Request], None]) -> dict[str, Any]:
    """Start the app behind a stage's sidecar; return its endpoint for those who call it."""
    stage.backend("app", f"{stage.prefix}.250.2", 8080).behaviours["/"] = behaviour
    return {"id": "self/http", "address": f"{stage.prefix}.250.1", "port": 15100, "state": "ready"}


def test_the_tree_of_a_call_across_three_services(tmp_path: Path, daemon: Daemon, collector: Collector) -> None:
    """web calls orders, and orders stock twice: once it must be tried again, once stock breaks off for good.

    The app of orders passes on W3C's header only, the others X-Ray's only.
    """
    names = ("web", "orders", "stock")
    with ExitStack() as stack:
        stages = []
        for name in names:
            (tmp_path / name).mkdir()
            inbound = {"TRAMO_INBOUND": f"{name}=15100:8080/http", "TRAMO_SERVICE_NAME": f"{name}-svc"}
            otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.origin}
            stages.append(stack.enter_context(traced(tmp_path / name, daemon, **inbound, **otlp)))
        web, orders, stock = stages
        ends = [503, 200, 0]

        def be_stock(peer: Peer, request: Request) -> None:
            status = ends.pop(0)
            if status:
                peer.answer(status)
            else:
                peer.reset()

        def be_orders(peer: Peer, request: Request) -> None:
            trace = {"traceparent": request.headers["traceparent"]}
            statuses = [call(to_stock, method, trace) for method in ("GET", "POST")]
            peer.answer(200 if statuses == [200, 502] else 500)

        def be_web(peer: Peer, request: Request) -> None:
            peer.answer(call(to_orders, "GET", {TRACE: request.headers[TRACE]}))

        def call(address: Address, method: str, headers: dict[str, str]) -> int:
            return send(address.host, address.port, method, "/", headers)

        to_stock = orders.publish("stock", serving(stock, be_stock))
        to_orders = web.publish("orders", serving(orders, be_orders))
        serving(web, be_web)
        assert call(web.address(15100), "GET", {TRACE: f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"}) == 200
        until(lambda: len(daemon.segments) >= 8, 5, "all segments")
        spans = daemon.spans()
    assert {span["trace_id"] for span in spans.values()} == {ROOT}
    (root,) = [each for each in spans.values() if each["parent_id"] == "53995c3f42cd8ad8"]
    assert shape(spans, root) == (
        "web", "in", 200, 0, "", [
            ("orders", "out", 200, 0, "", [
                ("orders", "in", 200, 0, "", [
                    ("stock", "out", 200, 1, "", [
                        ("stock", "in", 503, 0, "", []),
                        ("stock", "in", 200, 0, "", []),
                    ]),
                    ("stock", "out", 502, 0, "", [  # an answer like any other for who called
                        ("stock", "in", 502, 0, "UC", []),
                    ]),
                ]),
            ]),
        ],
    )  # fmt: skip
    for span in spans.values():
        assert (span.get("type") == "subsegment") == (span["annotations"]["direction"] == "outbound")
        if (parent := spans.get(span["parent_id"])) is not None:
            assert parent["start_time"] <= span["start_time"] + 0.001
            assert span["end_time"] <= parent["end_time"] + 0.001
    assert sorted(row(resource, span) for resource, span in collector.spans) == sorted(map(as_otlp, spans.values()))
    assert answers_of(collector, "stock") == {200: 1, 502: 1, 503: 1}, "the last metrics, sent at the end"


Row = tuple[str, str, str, str, str, str, int, int, str]


def row(resource: dict[str, Any], span: OtlpSpan) -> Row:
    """A span: trace, id, parent, the called service, its side and what became of it."""
    attributes = values(span.attributes)
    assert resource["service.namespace"] == NAMESPACE
    is_client = span.kind == OtlpSpan.SPAN_KIND_CLIENT
    assert attributes["tramo.service"] == (attributes["peer.service"] if is_client else resource["service.name"])
    return (
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        attributes["tramo.service"],
        "outbound" if is_client else "inbound",
        attributes["http.request.method"],
        attributes["http.response.status_code"],
        attributes.get("http.request.resend_count", 0),
        attributes.get("tramo.response_flags", ""),
    )


def as_otlp(span: dict[str, Any]) -> Row:
    """X-Ray's span in the same form."""
    notes = span["annotations"]
    return (
        w3c_trace_id(span["trace_id"]),
        span["id"],
        span["parent_id"],
        span["name"],
        notes["direction"],
        span["http"]["request"]["method"],
        span["http"]["response"]["status"],
        notes["retries"],
        notes.get("response_flags", ""),
    )


def answers_of(collector: Collector, service: str) -> dict[int, int]:
    """How often a service answered with which status, by the last metrics that it sent."""
    (metrics,) = [metrics for resource, metrics in collector.metrics if resource["service.name"] == service][-1:]
    (found,) = [metric for metric in metrics if metric.name == "http.server.request.duration"]
    points = found.histogram.data_points
    return {values(point.attributes)["http.response.status_code"]: point.count for point in points}


Shape = tuple[str, str, int, int, str, list[Any]]


def shape(spans: dict[str, dict[str, Any]], span: dict[str, Any]) -> Shape:
    """Name, side, status, retries and flags of a span, and the same of what it caused, in the order of time."""
    caused = [each for each in spans.values() if each["parent_id"] == span["id"]]
    notes = span["annotations"]
    return (
        span["name"],
        "in" if notes["direction"] == "inbound" else "out",
        span["http"]["response"]["status"],
        notes["retries"],
        notes.get("response_flags", ""),
        [shape(spans, each) for each in sorted(caused, key=lambda each: float(each["start_time"]))],
    )


def test_a_trace_that_begins_outbound_begins_with_a_segment(tmp_path: Path, daemon: Daemon) -> None:
    with traced(tmp_path, daemon) as stage:
        backend = stage.backend("orders-1")
        address = stage.publish("orders", backend)
        assert get(stage, address.host, address.port, "/a?secret=1", {}) == 200
        until(lambda: daemon.segments, 5, "a segment")
        (segment,) = daemon.segments
        (call,) = segment["subsegments"]
        assert (segment["name"], call["name"]) == ("web-svc", "orders")
        assert call["http"]["request"]["url"].endswith("/a")
        assert f"Root={segment['trace_id']};Parent={call['id']};Sampled=1" == backend.requests[0].headers[TRACE]


def test_failures_are_faults_with_flags(tmp_path: Path, daemon: Daemon) -> None:
    with traced(tmp_path, daemon) as stage:
        address = stage.publish("nobody")
        header = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"
        assert get(stage, address.host, address.port, "/", {TRACE: header}) == 503
        until(lambda: daemon.segments, 5, "a segment")
        (segment,) = daemon.segments
        assert (segment["trace_id"], segment["parent_id"], segment["fault"]) == (ROOT, "53995c3f42cd8ad8", True)
        assert segment["annotations"] == {"direction": "outbound", "retries": 0, "response_flags": "UH"}


def test_what_is_not_sampled_is_not_sent_but_goes_on(tmp_path: Path, daemon: Daemon) -> None:
    with traced(tmp_path, daemon) as stage:
        backend = stage.backend("orders-1")
        address = stage.publish("orders", backend)
        assert get(stage, address.host, address.port, "/", {TRACE: f"Root={ROOT};Sampled=0"}) == 200
        assert backend.requests[0].headers[TRACE] == f"Root={ROOT};Sampled=0"
        assert stage.sidecar.stop() == 0
        assert daemon.segments == []


OTHERS = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    "baggage": "user=42",
    "b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
    "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7",
    "x-b3-spanid": "e457b5a2e4d86bd1",
    "x-b3-sampled": "1",
}


def test_headers_of_other_tracers_and_without_tracing_of_xray_pass_untouched(stage: Stage) -> None:
    headers = {**OTHERS, TRACE: f"Root={ROOT};Sampled=?"}
    backend = stage.backend("others-1")
    address = stage.publish("others", backend)
    assert get(stage, address.host, address.port, "/", headers) == 200
    assert {name: backend.requests[0].headers[name] for name in headers} == headers


@pytest.mark.parametrize("protocol", ["http", "http2"])
def test_headers_of_other_tracers_pass_both_sidecars_that_trace(tmp_path: Path, daemon: Daemon, protocol: str) -> None:
    with traced(tmp_path, daemon, TRAMO_INBOUND=f"app=15100:8080/{protocol}") as stage:
        ingress = {"id": "self/http", "address": f"{stage.prefix}.250.1", "port": 15100, "state": "ready"}
        address = stage.publish("app", ingress, protocol=protocol)
        app: Backend | Http2Server
        if protocol == "http":
            app = stage.backend("app", f"{stage.prefix}.250.2", 8080)
        else:
            app = Http2Server("app", f"{stage.prefix}.250.2", port=8080)
            stage.wait_open(8080)
        assert get(stage, address.host, address.port, "/", OTHERS) == 200
        headers = app.requests[0].headers
        assert {name: headers[name] for name in OTHERS} == OTHERS
        assert headers[TRACE].startswith("Root=1-"), "X-Ray's own stands beside them"
        if isinstance(app, Http2Server):
            app.close()


def test_a_daemon_that_is_not_there_costs_nothing(tmp_path: Path, daemon: Daemon) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    settings = {"TRAMO_TRACING": "xray", "TRAMO_TRACING_RATE": "1", "AWS_XRAY_DAEMON_ADDRESS": f"udp:127.0.0.1:{port}"}
    with open_stage(tmp_path, **settings) as stage:
        address = stage.publish("orders", stage.backend("orders-1"))
        for _ in range(20):
            assert address.get()[0] == 200
        tracing = stage.sidecar.page("/stats")[1]["xray"]
        assert tracing["sent"] + tracing["dropped"] == 20
