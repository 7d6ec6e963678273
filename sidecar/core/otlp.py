"""Spans and metrics as OpenTelemetry's collectors take them: OTLP 1.x, messages in Protocol Buffers.

https://github.com/open-telemetry/opentelemetry-proto and, for names of attributes,
https://opentelemetry.io/docs/specs/semconv/http/

Rules:
- Messages are built from the inside: a function gives the bytes of one message, and the one around it takes them.
- The numbers of fields are the definitions' own; they are never changed there, and the tests compare with them.
- A gRPC call has the attributes of RPC beside those of HTTP, and its outcome is its `grpc-status`.
- What comes from outside is cut to `MAX_TEXT` characters, and a method that is not HTTP's is `_OTHER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sidecar.core.http.grpc import SERVER_ERRORS
from sidecar.core.protobuf import (
    content,
    double,
    fixed64,
    integer,
    numbers_and_messages,
    packed_double,
    packed_fixed64,
    text,
)
from sidecar.core.trace import Span, is_span_id, w3c_trace_id

SCOPE: Final = "tramo"
MAX_TEXT: Final = 1024
METHODS: Final = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"))
OTHER_METHOD: Final = "_OTHER"
_METHOD_NAMES: Final = frozenset(method.decode() for method in METHODS)

_SERVER: Final = 2  # SpanKind
_CLIENT: Final = 3
_ERROR: Final = 2  # StatusCode
_CUMULATIVE: Final = 2  # AggregationTemporality

Value = str | bool | int | float
Attributes = Sequence[tuple[str, Value]]


class Point(NamedTuple):
    """One value of a counter or gauge."""

    attributes: Attributes
    value: float


class Buckets(NamedTuple):
    """One histogram: what was in each bucket, the one above all bounds last."""

    attributes: Attributes
    counts: Sequence[int]
    sum: float


def attributes(number: int, pairs: Attributes) -> bytes:
    """Return a repeated field of KeyValue."""
    return b"".join([content(number, text(1, key) + content(2, _any(value))) for key, value in pairs])


def _any(value: Value) -> bytes:
    if isinstance(value, str):
        return text(1, value[:MAX_TEXT])
    if isinstance(value, bool):
        return integer(2, int(value))
    return integer(3, value) if isinstance(value, int) else double(4, value)


def resource(pairs: Attributes) -> bytes:
    """Resource: who sends."""
    return attributes(1, pairs)


def request(resource: bytes, version: str, parts: Sequence[bytes]) -> bytes:
    """ExportTraceServiceRequest of Spans, or ExportMetricsServiceRequest of Metrics: they have the same numbers."""
    scope = text(1, SCOPE) + text(2, version)
    scoped = content(1, scope) + b"".join([content(2, part) for part in parts])
    return content(1, content(1, resource) + content(2, scoped))


def rejected(answer: bytes) -> tuple[int, str]:
    """How many spans or points a collector did not take of a request that it took, and why. Raises ValueError."""
    _, messages = numbers_and_messages(answer)
    numbers, texts = numbers_and_messages(messages.get(1, b""))
    return numbers.get(1, 0), texts.get(2, b"").decode("utf-8", "replace")


# Spans.


def span(span: Span) -> bytes:
    """Return a Span."""
    found = content(1, bytes.fromhex(w3c_trace_id(span.trace_id))) + content(2, bytes.fromhex(span.id))
    if is_span_id(span.parent_id.lower()):
        found += content(4, bytes.fromhex(span.parent_id))
    found += text(5, _name(span)[:MAX_TEXT])
    found += integer(6, _SERVER if span.inbound else _CLIENT)
    found += fixed64(7, nanoseconds(span.start)) + fixed64(8, nanoseconds(span.end))
    failed = error(span.inbound, span.status, span.grpc_status, span.flags)
    found += attributes(9, [*_attributes(span), *([("error.type", failed)] if failed else [])])
    return found + content(15, integer(3, _ERROR)) if failed else found


def _name(span: Span) -> str:
    """Of few values: gRPC's methods are in its definitions, but paths of HTTP are without end."""
    if span.is_grpc:
        return span.path.removeprefix("/") or "gRPC"
    return span.method if span.method in _METHOD_NAMES else "HTTP"


def _attributes(span: Span) -> list[tuple[str, Value]]:
    known = span.method in _METHOD_NAMES
    host, port = host_and_port(span.authority)
    found: list[tuple[str, Value]] = [("http.request.method", span.method if known else OTHER_METHOD)]
    if not known and span.method:
        found.append(("http.request.method_original", span.method))
    found.append(("server.address", host))
    if port:
        found.append(("server.port", port))
    if span.status:
        found.append(("http.response.status_code", span.status))
    found.append(("network.protocol.version", span.version))
    if span.user_agent:
        found.append(("user_agent.original", span.user_agent))
    if span.is_grpc:
        found += rpc(span.path, span.grpc_status)
    if span.inbound:
        found += [("url.scheme", "http"), ("url.path", span.path), ("client.address", span.client)]
    else:
        found += [("url.full", f"http://{span.authority}{span.path}"), ("peer.service", span.name)]
        address, upstream_port = host_and_port(span.upstream)
        if address:
            found += [("network.peer.address", address), ("network.peer.port", upstream_port)]
        if span.retries:
            found.append(("http.request.resend_count", span.retries))
    found.append(("tramo.service", span.name))
    if span.flags:
        found.append(("tramo.response_flags", span.flags))
    return found


def rpc(path: str, status: int | None) -> list[tuple[str, Value]]:
    """Return the attributes of RPC."""
    service, _, method = path.removeprefix("/").rpartition("/")
    found: list[tuple[str, Value]] = [("rpc.system", "grpc"), ("rpc.service", service), ("rpc.method", method)]
    if status is not None:
        found.append(("rpc.grpc.status_code", status))
    return found


def error(inbound: bool, status: int, grpc_status: int | None, flags: str) -> str:
    """Return the `error.type` of a request, empty if it did not fail: the proxy's flags, else what the service said."""
    if flags:
        return flags
    if grpc_status is not None and status < 400:
        failed = grpc_status in SERVER_ERRORS if inbound else grpc_status != 0
        return str(grpc_status) if failed else ""
    return str(status) if status >= (500 if inbound else 400) else ""


def host_and_port(authority: str) -> tuple[str, int]:
    """Return the parts of `host:port`; the port is 0 where there is none."""
    host, colon, port = authority.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5:
        return host, int(port)
    return authority, 0


def nanoseconds(seconds: float) -> int:
    """Return a time since 1970 in nanoseconds, exact to the microsecond as a float is."""
    return round(seconds * 1e6) * 1000


# Metrics.


def counter(name: str, unit: str, meaning: str, points: Sequence[Point], start: float, now: float) -> bytes:
    """Return a Metric that only grows since `start`."""
    data = b"".join([content(1, _number(point, start, now)) for point in points])
    return _metric(name, unit, meaning) + content(7, data + integer(2, _CUMULATIVE) + integer(3, 1))


def gauge(name: str, unit: str, meaning: str, points: Sequence[Point], now: float) -> bytes:
    """Return a Metric of what is now."""
    return _metric(name, unit, meaning) + content(
        5, b"".join([content(1, _number(point, 0.0, now)) for point in points])
    )


def histogram(
    name: str, unit: str, meaning: str, points: Sequence[Buckets], bounds: Sequence[float], start: float, now: float
) -> bytes:
    """Return a Metric of distributions since `start` with these bounds."""
    times = fixed64(2, nanoseconds(start)) + fixed64(3, nanoseconds(now))
    limits = packed_double(7, bounds)
    data = b"".join(
        [
            content(
                1,
                times
                + fixed64(4, sum(point.counts))
                + double(5, point.sum)
                + packed_fixed64(6, point.counts)
                + limits
                + attributes(9, point.attributes),
            )
            for point in points
        ]
    )
    return _metric(name, unit, meaning) + content(9, data + integer(2, _CUMULATIVE))


def _metric(name: str, unit: str, meaning: str) -> bytes:
    return text(1, name) + text(2, meaning) + text(3, unit)


def _number(point: Point, start: float, now: float) -> bytes:
    times = fixed64(2, nanoseconds(start)) + fixed64(3, nanoseconds(now))
    return times + double(4, point.value) + attributes(7, point.attributes)
