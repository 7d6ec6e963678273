"""What parsers and state machines must hold to for any bytes. Each target takes bytes and raises when it does not.

Hypothesis feeds them in the test suite, atheris for longer in `make fuzz`.

Rules:
- Nothing but the codec's own error comes out; what is taken in must be fit to be passed on.
- The first bytes of some inputs are not data: they say how the rest is cut into reads, and the like.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Final

from sidecar.core import access_log, snapshot, trace
from sidecar.core.errors import ProtocolError
from sidecar.core.histogram import Histogram
from sidecar.core.http import grpc
from sidecar.core.http.fields import show, valid_authority
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.http1_responses import PAST_PARSER_BYTES, ResponseReader
from sidecar.core.http.http1_writer import encode_chunk, encode_last_chunk, encode_request_head, encode_response_head
from sidecar.core.http.http2 import PREFACE, Http2Codec
from sidecar.core.http.messages import UNKNOWN_LENGTH, RequestHead, ResponseHead
from sidecar.proxy.forward import split_authority
from tests.support.wire import http2
from tests.support.wire.http1 import Summary, feed, summary

Target = Callable[[bytes], None]

METHODS: Final = (b"GET", b"HEAD", b"POST", b"CONNECT")
CUTS: Final = 3
"""Bytes in front of an input that cut it."""


def cut(data: bytes) -> tuple[list[bytes], bytes]:
    """The input cut in up to four reads where its first bytes say, and the input as a whole."""
    where, rest = data[:CUTS], data[CUTS:]
    ends = sorted({byte * len(rest) // 255 for byte in where})
    return [rest[a:b] for a, b in zip([0, *ends], [*ends, len(rest)], strict=True)], rest


def taken(reader: RequestReader | ResponseReader, parts: list[bytes]) -> list[Summary] | None:
    """The messages in these reads, None when they are refused."""
    try:
        return summary(feed(reader, parts))
    except ProtocolError:
        return None


# HTTP/1.1.


def http1_requests(data: bytes) -> None:
    """Requests mean the same in any split, and what is taken is well formed when it is written again."""
    parts, whole = cut(data)
    at_once = taken(RequestReader(), [whole])
    in_parts = taken(RequestReader(), parts)
    # Where a request line begins behind a chunked body is known in some splits only.
    if b"chunked" not in whole.lower():
        assert (at_once is None) == (in_parts is None)
    if at_once is not None and in_parts is not None:
        assert at_once == in_parts
    reader = RequestReader(accept_authority_form=True)
    try:
        events = reader.feed(whole)
    except ProtocolError:
        return
    for event in events:
        if isinstance(event, RequestHead):
            passes_as_http1(event)


def passes_as_http1(head: RequestHead) -> None:
    """A strict server reads the head that was written as the one that is meant."""
    repr(head)
    if head.method == b"CONNECT":
        split_authority(head.authority)
        return
    written = encode_request_head(head)
    try:
        found = RequestReader().feed(written)[0]
    except ProtocolError as error:
        raise AssertionError(f"{show(written)} is refused: {error}") from None
    assert isinstance(found, RequestHead)
    assert (found.method, found.target, found.authority) == (head.method, head.target, head.authority)
    assert (found.content_length, found.expect_continue) == (head.content_length, head.expect_continue)
    without_te = sorted(field for field in head.fields if field[0] != b"te")  # said once, in lower case
    assert sorted(field for field in found.fields if field[0] != b"te") == without_te


def http1_responses(data: bytes) -> None:
    """Responses mean the same in any split, and what is taken is well formed when it is written again."""
    method = METHODS[data[0] % len(METHODS)] if data else b"GET"
    parts, whole = cut(data[1:])
    found = []
    for reads in ([whole], parts):
        reader = ResponseReader()
        reader.expect(method)
        found.append(taken(reader, [part for part in reads if part]) if whole else None)
    at_once, in_parts = found
    if at_once is not None and in_parts is not None and at_once and at_once[-1].ended:
        # What is behind a whole response is surplus: an error in the read behind it, ignored within it.
        assert at_once == in_parts
    for message in at_once or []:
        status = int(message.first_line.partition(b" ")[0])
        reason = message.first_line.partition(b" ")[2]
        passes_as_response(ResponseHead(status, message.fields, message.content_length, reason), method, message)


def passes_as_response(head: ResponseHead, method: bytes, message: Summary | None = None) -> None:
    """A strict client reads the head that was written as the one that is meant."""
    if head.status == 101:
        return
    head.fields = [field for field in head.fields if field[0] not in (b"host", b"te")]
    written = encode_response_head(head, method)
    reader = ResponseReader()
    reader.expect(method)
    try:
        found = reader.feed(written)[0]
    except ProtocolError as error:
        raise AssertionError(f"{show(written)} is refused: {error}") from None
    assert isinstance(found, ResponseHead)
    assert found.status == head.status
    if message is not None and message.body and head.content_length == UNKNOWN_LENGTH:
        events = reader.feed(encode_chunk(message.body) + encode_last_chunk(message.trailers))
        assert events[0] == message.body


def http1_large_bodies(data: bytes) -> None:
    """A body that is too large for one read comes whole, in any split, and what is behind it is nobody's."""
    size = PAST_PARSER_BYTES * (1 + (data[0] if data else 0) % 4) + len(data)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    body = (data or b"x") * (size // max(len(data), 1) + 1)
    answer = head + body[:size]
    where = sorted(byte * len(answer) // 255 for byte in data[1:6])
    reads = [answer[a:b] for a, b in zip([0, *where], [*where, len(answer)], strict=True) if a != b]
    reader = ResponseReader()
    for _ in range(2):
        reader.expect(b"GET")
        (found,) = summary(feed(reader, reads))
        assert (found.ended, found.body, reader.keep_alive) == (True, body[:size], True)
    reader.expect(b"GET")
    (found,) = summary(feed(reader, [*reads[:-1], reads[-1] + answer]))
    assert (found.ended, found.body, reader.keep_alive) == (True, body[:size], False)


def http1_websocket(data: bytes) -> None:
    """What comes behind a request to leave HTTP that is declined is read as the next requests."""
    first = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    reader = RequestReader()
    try:
        reader.feed(first)
        parts, whole = cut(data)
        for part in parts:
            assert reader.feed(part) == []
        assert reader.leftover == whole
        reader.stay()
    except ProtocolError:
        return


# HTTP/2.


def http2_server(data: bytes) -> None:
    """No bytes of a client break the codec, and every request that it tells is fit for an HTTP/1.1 service."""
    codec = http2.server_codec()
    parts, _ = cut(data)
    serve(codec, parts)


def http2_preface(data: bytes) -> None:
    """The same from the first byte."""
    parts, whole = cut(data)
    serve(Http2Codec(is_server=True), parts)
    serve(Http2Codec(is_server=True), [PREFACE + whole])


def http2_block(data: bytes) -> None:
    """The same for one header block, valid or not, and what comes behind it."""
    codec = http2.server_codec()
    flags = 4 + (data[0] & 1) if data else 5
    block = http2.plain_block(http2.GET) + data[1:] if data[:1] > b"\x7f" else data[1:]
    serve(codec, [http2.frame(http2.HEADERS, flags, 1, block[:16_384]), http2.frame(http2.DATA, 1, 1, b"x")])


def http2_fields(data: bytes) -> None:
    """The same for fields of any names and values, separated by line feeds."""
    lines = data.split(b"\n")
    fields = [(name, value) for name, _, value in (line.partition(b"=") for line in lines[:50])]
    serve(http2.server_codec(), [http2.request((*http2.GET, *fields))[:16_384]])
    pseudo = dict(zip((b":method", b":path", b":authority"), lines, strict=False))
    serve(http2.server_codec(), [http2.request([(b":scheme", b"http"), *pseudo.items()])[:16_384]])


def serve(codec: Http2Codec, parts: list[bytes]) -> None:
    """Answer all that comes, as the proxy would."""
    for part in parts:
        for stream, event in [*codec.feed(part), *codec.deferred_events()]:
            repr(event)
            if isinstance(event, RequestHead):
                passes_as_http1(event)
                codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
                codec.send_data(stream, b"body")
                codec.send_end(stream, [(b"x", b"y")])
            elif isinstance(event, bytes):
                codec.acknowledge(stream, len(event))
        codec.output()
    codec.go_away(0)
    codec.output()


def http2_client(data: bytes) -> None:
    """No bytes of a server break the codec, and every answer that it tells is fit for an HTTP/1.1 client."""
    codec = http2.client_codec()
    streams = [codec.send_request(RequestHead(b"GET", b"/", b"svc", [])) for _ in range(2)]
    codec.output()
    if data[:1] > b"\x7f":
        data = data[:CUTS] + http2.frame(http2.HEADERS, 4 + (data[0] & 1), streams[0], data[CUTS : CUTS + 16_384])
    for part in cut(data)[0]:
        for stream, event in [*codec.feed(part), *codec.deferred_events()]:
            if isinstance(event, ResponseHead):
                if event.status in (204, 304):
                    event.content_length = 0  # the connection sees to that, whatever the server says
                passes_as_response(event, b"GET")
            elif isinstance(event, bytes):
                codec.acknowledge(stream, len(event))
        codec.output()


# gRPC.


def grpc_values(data: bytes) -> None:
    """Any field value is understood or is not, and a message of ours can always be sent."""
    seconds = grpc.timeout_seconds(data)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
    status = grpc.status_of([(b"grpc-status", data)])
    assert status is not None
    assert 0 <= status < 100
    grpc.is_grpc(data)


# Documents.


def snapshots(data: bytes) -> None:
    """A document is taken whole or refused with one kind of error, and its policy is read or left out."""
    try:
        found = snapshot.apply(None, snapshot.decode(data, "test.local"))
    except snapshot.SnapshotError:
        return
    for service in found.services.values():
        service.policy_or_default()
    again = snapshot.apply(None, snapshot.decode(snapshot.encode(found), found.namespace))
    assert again.services.keys() == found.services.keys()


def policies(data: bytes) -> None:
    """The same for a document that is good but for a service's policy."""
    try:
        policy = json.loads(data)
    except (ValueError, RecursionError):
        return
    service = {"name": "a", "protocol": "http", "vip": "127.254.0.2", "revision": 1, "aliases": [], "endpoints": []}
    document = {"schema": 1, "namespace": "test.local", "revision": 1, "services": [service | {"policy": policy}]}
    snapshots(json.dumps(document).encode())


# Telemetry.


def histograms(data: bytes) -> None:
    """Whatever is recorded is counted once, below a bound or beyond all."""
    histogram = Histogram()
    values = [abs(value) for (value,) in struct.iter_unpack("<d", data[: len(data) // 8 * 8]) if math.isfinite(value)]
    for value in values:
        histogram.record(min(value, 1e9))
    counts = [count for _, group in histogram.take() for count in group]
    assert sum(counts) == len(values) == histogram.count
    below = histogram.below()
    assert below == sorted(below)
    assert not below or below[-1] <= len(values)


def traces(data: bytes) -> None:
    """Trace fields of others are read or ignored."""
    parts = trace.parse(data)
    assert all(isinstance(value, str) for value in parts.values())
    trace.trace_id({b"x-amzn-trace-id": data, b"traceparent": data})
    trace.trace_id({b"traceparent": data})


def log_texts(data: bytes) -> None:
    """What clients sent cannot break a line of the log."""
    text = access_log.text_of(data)
    line = access_log.HttpLine(
        start_time="", direction="inbound", method=text or "", path=text or "", protocol="HTTP/2", response_code=200,
        response_flags="-", bytes_received=0, bytes_sent=0, duration=0.0, upstream_service_time=None,
        forwarded_for=text, user_agent=text, request_id=text, authority=text or "", upstream_host=None,
        upstream_cluster="a", upstream_endpoint=None, retries=0, downstream_address="", trace_id=text,
    )  # fmt: skip
    for written in (access_log.as_json(line), access_log.as_text(line)):
        assert written.endswith(b"\n")
        assert not set(written[:-1]) & set(range(32))


def authorities(data: bytes) -> None:
    """Every authority that is taken can be split."""
    if valid_authority(data):
        host, port = split_authority(data)
        assert host == host.lower()
        assert port >= 0


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        http1_requests, http1_responses, http1_large_bodies, http1_websocket, http2_server, http2_preface, http2_block,
        http2_fields, http2_client, grpc_values, snapshots, policies, histograms, traces, log_texts, authorities,
    )
}  # fmt: skip
