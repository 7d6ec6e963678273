"""Messages over HTTP/2 that no proxy may pass on: each costs its stream, and nothing of it is told."""

from __future__ import annotations

import pytest
from hpack import Decoder

from sidecar.core.http import grpc_status
from sidecar.core.http.fields import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.http2_limits import MAX_BLOCK_FIELDS, MAX_CONTINUATIONS
from sidecar.core.http.messages import RequestHead, ResponseHead
from tests.support.wire import http2
from tests.support.wire.http2 import GET, POST, Headers, replaced, told, with_fields

OK = http2.request(stream=101)


def survives(codec: Http2Codec) -> bool:
    """Whether the connection still takes a request."""
    events = [event for stream, event in codec.feed(OK) if stream == 101]
    return len(events) == 2 and not codec.closed


MALFORMED: dict[str, Headers] = {
    "the host differs from the authority": with_fields((b"host", b"other")),
    "the host differs by its port": with_fields((b"host", b"svc:81")),
    "two hosts": with_fields((b"host", b"svc"), (b"host", b"svc")),
    "two hosts and no authority": with_fields((b"host", b"a"), (b"host", b"b"), base=replaced(b":authority", None)),
    "two authorities": ((b":authority", b"svc"), *GET),
    "no authority and no host": replaced(b":authority", None),
    "an empty authority": replaced(b":authority", b""),
    "an authority with user information": replaced(b":authority", b"user@svc"),
    "an authority that is a list": replaced(b":authority", b"a,b"),
    "an authority with a path": replaced(b":authority", b"svc/x"),
    "an authority with a space": replaced(b":authority", b"s vc"),
    "an authority with a bad port": replaced(b":authority", b"svc:port"),
    "an empty host": with_fields((b"host", b""), base=replaced(b":authority", None)),
    "connection": with_fields((b"connection", b"close")),
    "connection naming a field": with_fields((b"connection", b"x-a"), (b"x-a", b"b")),
    "keep-alive": with_fields((b"keep-alive", b"timeout=5")),
    "proxy-connection": with_fields((b"proxy-connection", b"keep-alive")),
    "transfer-encoding": with_fields((b"transfer-encoding", b"chunked"), base=POST),
    "transfer-encoding identity": with_fields((b"transfer-encoding", b"identity"), base=POST),
    "upgrade": with_fields((b"upgrade", b"websocket")),
    "upgrade to h2c": with_fields((b"upgrade", b"h2c"), (b"http2-settings", b"AAMAAABk")),
    "http2-settings": with_fields((b"http2-settings", b"AAMAAABk")),
    "te that is not trailers": with_fields((b"te", b"trailers, deflate")),
    "te gzip": with_fields((b"te", b"gzip")),
    "a path with a space": replaced(b":path", b"/a b"),
    "a path that smuggles a version": replaced(b":path", b"/ HTTP/1.1"),
    "a path with a fragment": replaced(b":path", b"/a#b"),
    "a path with a line feed": replaced(b":path", b"/a\nb"),
    "a path with a carriage return": replaced(b":path", b"/a\r\nx: y"),
    "a path with NUL": replaced(b":path", b"/a\0b"),
    "a path beyond ASCII": replaced(b":path", b"/\xc3\xa9"),
    "a path with a tab": replaced(b":path", b"/a\tb"),
    "a path with DEL": replaced(b":path", b"/a\x7f"),
    "a path that does not begin with a slash": replaced(b":path", b"a"),
    "an absolute path": replaced(b":path", b"http://svc/"),
    "an empty path": replaced(b":path", b""),
    "no path": replaced(b":path", None),
    "two paths": ((b":path", b"/x"), *GET),
    "an asterisk for GET": replaced(b":path", b"*"),
    "no method": replaced(b":method", None),
    "an empty method": replaced(b":method", b""),
    "a method with a space": replaced(b":method", b"GET /x"),
    "a method with a line feed": replaced(b":method", b"GET\r\n"),
    "two methods": ((b":method", b"GET"), *GET),
    "no scheme": replaced(b":scheme", None),
    "an empty scheme": replaced(b":scheme", b""),
    "a scheme with a slash": replaced(b":scheme", b"http://x/"),
    "two schemes": ((b":scheme", b"http"), *GET),
    "CONNECT": ((b":method", b"CONNECT"), (b":authority", b"svc:80")),
    "CONNECT with a path": replaced(b":method", b"CONNECT"),
    "extended CONNECT": ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]),
    "a status in a request": ((b":status", b"200"), *GET),
    "an unknown pseudo field": ((b":foo", b"bar"), *GET),
    "a pseudo field after others": ((b"a", b"b"), *GET),
    "a pseudo field in the middle": (*GET[:2], (b"a", b"b"), *GET[2:]),
    "an upper case name": with_fields((b"X-A", b"b")),
    "an empty name": with_fields((b"", b"b")),
    "a name with a space": with_fields((b"a b", b"c")),
    "a name with a colon": with_fields((b"a:b", b"c")),
    "a name with a line feed": with_fields((b"a\nb", b"c")),
    "a name that smuggles a field": with_fields((b"a: b\r\nhost", b"c")),
    "a name with NUL": with_fields((b"a\0", b"c")),
    "a name with a high byte": with_fields((b"a\xff", b"c")),
    "a value with NUL": with_fields((b"a", b"b\0c")),
    "a value with a line feed": with_fields((b"a", b"b\nc: d")),
    "a value with a carriage return": with_fields((b"a", b"b\rc: d")),
    "a value that smuggles a request": with_fields((b"a", b"b\r\n\r\nGET /admin HTTP/1.1\r\n")),
    "two lengths": with_fields((b"content-length", b"0"), (b"content-length", b"0"), base=POST),
    "two lengths that differ": with_fields((b"content-length", b"0"), (b"content-length", b"1"), base=POST),
    "an empty length": with_fields((b"content-length", b""), base=POST),
    "a negative length": with_fields((b"content-length", b"-1"), base=POST),
    "a signed length": with_fields((b"content-length", b"+1"), base=POST),
    "a length with an underscore": with_fields((b"content-length", b"1_0"), base=POST),
    "a length in hexadecimal": with_fields((b"content-length", b"0x1"), base=POST),
    "a list of lengths": with_fields((b"content-length", b"0, 0"), base=POST),
    "a length beyond all numbers": with_fields((b"content-length", b"9" * 30), base=POST),
    "a length and no body": with_fields((b"content-length", b"1"), base=POST),
    "a cookie that smuggles": with_fields((b"cookie", b"a=b\r\nx: y")),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_costs_its_stream(fields: Headers) -> None:
    codec = http2.server_codec()
    assert told(codec.feed(http2.request(fields))) in ([], [(1, "refused", 0)])
    (reset,) = http2.sent(codec)
    assert (reset.type, reset.stream, reset.code()) == (http2.RST_STREAM, 1, http2.PROTOCOL_ERROR)
    assert survives(codec)


# What must go through: a rule that is too strict breaks somebody.
GOOD: dict[str, Headers] = {
    "the host equals the authority": with_fields((b"host", b"svc")),
    "an authority with a port": replaced(b":authority", b"svc:80"),
    "an IPv6 authority": replaced(b":authority", b"[::1]:80"),
    "te trailers": with_fields((b"te", b"trailers")),
    "https as scheme": replaced(b":scheme", b"https"),
    "an asterisk for OPTIONS": replaced(b":method", b"OPTIONS", replaced(b":path", b"*")),
    "a query with all its characters": replaced(b":path", b"/a;b=c/%20?d=e&f=[g]|h"),
    "an empty value": with_fields((b"a", b"")),
    "a value with a high byte": with_fields((b"a", b"\xe4")),
    "a value with a tab": with_fields((b"a", b"b\tc")),
    "an odd method": replaced(b":method", b"M-SEARCH"),
    "an expectation": with_fields((b"expect", b"100-continue"), base=POST),
    "as many fields as allowed": with_fields(*[(b"a%d" % n, b"b") for n in range(MAX_FIELDS)]),
    "a target as long as allowed": replaced(b":path", b"/" + b"a" * (MAX_TARGET_BYTES - 1)),
}


@pytest.mark.parametrize("fields", GOOD.values(), ids=GOOD)
def test_a_good_request_is_told(fields: Headers) -> None:
    codec = http2.server_codec()
    (_, head), _ = codec.feed(split_request(fields, 1, True))
    assert isinstance(head, RequestHead)
    assert not any(name.startswith(b":") for name, _ in head.fields)
    assert http2.sent(codec) == []


ANSWERED: dict[str, tuple[Headers, int]] = {
    "too many fields": (with_fields(*[(b"a%d" % n, b"b") for n in range(MAX_FIELDS + 1)]), 431),
    "too long a head": (with_fields(*[(b"a%d" % n, bytes([97] * 15_000)) for n in range(5)]), 431),
    "too long a target": (replaced(b":path", b"/" + b"a" * MAX_TARGET_BYTES), 414),
    "an unknown method": (replaced(b":method", b"BREW"), 501),
    "a method in lower case": (replaced(b":method", b"get"), 501),
    "the preface's method": (replaced(b":method", b"PRI"), 501),
    "an unknown expectation": (with_fields((b"expect", b"200-maybe")), 417),
}


def split_request(fields: Headers, stream: int, end: bool) -> bytes:
    """A request in frames of the usual size."""
    block = http2.plain_block(fields)
    pieces = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
    frames = [
        http2.frame(
            http2.CONTINUATION if index else http2.HEADERS,
            (http2.END_STREAM if end and index == 0 else 0) | (http2.END_HEADERS if piece is pieces[-1] else 0),
            stream,
            piece,
        )
        for index, piece in enumerate(pieces)
    ]
    return b"".join(frames)


@pytest.mark.parametrize(("fields", "status"), ANSWERED.values(), ids=ANSWERED)
@pytest.mark.parametrize("end", [True, False], ids=["whole", "open"])
def test_what_is_too_large_is_answered(fields: Headers, status: int, end: bool) -> None:
    codec = http2.server_codec()
    assert told(codec.feed(split_request(fields, 1, end))) == [(1, "refused", status)]
    answer, *more = http2.sent(codec)
    assert answer.ends_stream()
    assert dict(Decoder().decode(answer.payload, raw=True))[b":status"] == b"%d" % status
    assert [(frame.type, frame.code()) for frame in more] == ([] if end else [(http2.RST_STREAM, 0)])
    assert survives(codec)


@pytest.mark.parametrize(("fields", "status"), ANSWERED.values(), ids=ANSWERED)
def test_a_grpc_call_that_is_too_large_is_answered_as_one(fields: Headers, status: int) -> None:
    codec = http2.server_codec()
    call = (*fields[:4], (b"content-type", b"application/grpc"), *fields[4:])
    assert told(codec.feed(split_request(call, 1, end=True))) == [(1, "refused", status)]
    (answer,) = http2.sent(codec)
    assert answer.ends_stream()
    head = dict(Decoder().decode(answer.payload, raw=True))
    code = grpc_status.RESOURCE_EXHAUSTED if status == 431 else grpc_status.UNKNOWN
    assert (head[b":status"], head[b"grpc-status"]) == (b"200", b"%d" % code)
    assert head[b"grpc-message"]


def test_trace_has_no_body() -> None:
    codec = http2.server_codec()
    assert told(codec.feed(http2.request(replaced(b":method", b"TRACE", POST), end=False))) == [(1, "refused", 0)]
    assert [(frame.type, frame.code()) for frame in http2.sent(codec)] == [(http2.RST_STREAM, http2.PROTOCOL_ERROR)]
    assert survives(codec)


@pytest.mark.parametrize("count", [MAX_BLOCK_FIELDS + 1, 5_000])
def test_fields_without_number_cost_the_connection(count: int) -> None:
    codec = http2.server_codec()
    assert (
        codec.feed(http2.frame(http2.HEADERS, 5, 1, http2.plain_block(GET) + b"\x40\x01a\x01b" + b"\xbe" * count)) == []
    )
    (goaway,) = http2.sent(codec)
    assert (goaway.type, goaway.code()) == (http2.GOAWAY, http2.ENHANCE_YOUR_CALM)
    assert codec.closed


def test_trailers_may_not_change_framing_or_routing() -> None:
    for name in (b"content-length", b"host", b"te", b"trailer", b"expect"):
        codec = http2.server_codec()
        codec.feed(http2.request(POST, end=False))
        value = b"trailers" if name == b"te" else b"0"
        assert told(codec.feed(http2.request([(name, value)]))) == [(1, "reset", http2.PROTOCOL_ERROR, True)], name
        assert [frame.type for frame in http2.sent(codec)] == [http2.RST_STREAM]
        assert survives(codec)


def test_as_many_trailers_as_fields() -> None:
    codec = http2.server_codec()
    codec.feed(http2.request(POST, 1, end=False) + http2.request(POST, 3, end=False))
    trailers = [(b"a%d" % n, b"b") for n in range(MAX_FIELDS + 1)]
    assert told(codec.feed(http2.request(trailers[1:], 1))) == [(1, "end", tuple(trailers[1:]))]
    assert told(codec.feed(http2.request(trailers, 3))) == [(3, "reset", http2.PROTOCOL_ERROR, True)]


# What libnghttp2 finds by itself in the middle of a message: the exchange must hear of it.

BROKEN_OFF = {
    "a body beyond its length": (5, http2.frame(http2.DATA, 0, 1, b"123456")),
    "a body short of its length": (5, http2.frame(http2.DATA, http2.END_STREAM, 1, b"1234")),
    "trailers short of the length": (5, http2.request([(b"a", b"b")])),
    "trailers that do not end": (None, http2.request([(b"a", b"b")], end=False)),
    "a pseudo field in trailers": (None, http2.request([(b":path", b"/")])),
    "an upper case name in trailers": (None, http2.request([(b"A", b"b")])),
    "a connection field in trailers": (None, http2.request([(b"transfer-encoding", b"chunked")])),
    "a window of more than 2^31": (None, http2.frame(http2.WINDOW_UPDATE, 0, 1, http2.number(2**31 - 1))),
    "a window of more than 2^31 with a length": (5, http2.frame(http2.WINDOW_UPDATE, 0, 1, http2.number(2**31 - 1))),
}  # fmt: skip


@pytest.mark.parametrize(("length", "then"), BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_a_request_that_breaks_off_is_told(length: int | None, then: bytes) -> None:
    codec = http2.server_codec()
    fields = POST if length is None else with_fields((b"content-length", b"%d" % length), base=POST)
    assert len(codec.feed(http2.request(fields, end=False))) == 1
    events = codec.feed(then)
    frames = http2.sent(codec)
    events += codec.deferred_events()
    if codec.closed:  # then the connection's end tells it
        assert [frame.type for frame in frames] == [http2.GOAWAY]
        return
    assert [event[:2] for event in told(events) if isinstance(event, tuple)][-1] == (1, "reset")
    assert (1, "end", ()) not in told(events)
    assert [frame.type for frame in frames] == [http2.RST_STREAM]
    assert survives(codec)


# The endpoint's side.

BAD_ANSWERS: dict[str, Headers] = {
    "no status": [(b"a", b"b")],
    "two statuses": [(b":status", b"200"), (b":status", b"200")],
    "a status of two digits": [(b":status", b"20")],
    "a status of letters": [(b":status", b"abc")],
    "a status with a plus": [(b":status", b"+20")],
    "a request's field": [(b":status", b"200"), (b":path", b"/")],
    "an upper case name": [(b":status", b"200"), (b"A", b"b")],
    "a line feed in a value": [(b":status", b"200"), (b"a", b"b\nc: d")],
    "a split response": [(b":status", b"200"), (b"a", b"b\r\n\r\nHTTP/1.1 200 OK")],
    "a NUL in a value": [(b":status", b"200"), (b"a", b"\0")],
    "two lengths": [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
    "a bad length": [(b":status", b"200"), (b"content-length", b"x")],
    "connection": [(b":status", b"200"), (b"connection", b"close")],
    "transfer-encoding": [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
    "http2-settings": [(b":status", b"200"), (b"http2-settings", b"AAMAAABk")],
    "upgrade": [(b":status", b"200"), (b"upgrade", b"h2c")],
    "too many fields": [(b":status", b"200"), *[(b"a%d" % n, b"b") for n in range(MAX_FIELDS + 1)]],
    "an informational answer that ends": [(b":status", b"103")],
}


def awaiting() -> Http2Codec:
    """A client's codec with a request under way on stream 1."""
    codec = http2.client_codec()
    codec.send_request(RequestHead(b"GET", b"/", b"svc", []))
    codec.output()
    return codec


@pytest.mark.parametrize("fields", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_malformed_answer_is_told_as_such(fields: Headers) -> None:
    codec = awaiting()
    events = codec.feed(http2.request(fields, end=True))
    frames = http2.sent(codec)
    assert told(events + codec.deferred_events()) == [(1, "reset", http2.PROTOCOL_ERROR, True)]
    # An answer that was whole has closed its stream already.
    assert [(frame.type, frame.code()) for frame in frames] in ([], [(http2.RST_STREAM, http2.PROTOCOL_ERROR)])
    assert codec.takes_requests()


def test_a_large_answer_costs_its_stream_only() -> None:
    codec = awaiting()
    fields = [(b":status", b"200"), *[(b"a%d" % n, b"b" * 15_000) for n in range(5)]]
    assert sum(len(value) for _, value in fields) > MAX_HEAD_BYTES
    events = codec.feed(split_request(fields, 1, True))
    assert told(events) == [(1, "reset", http2.PROTOCOL_ERROR, True)]
    assert codec.takes_requests()


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_where_there_is_none_is_malformed(status: int) -> None:
    codec = awaiting()
    codec.feed(http2.request([(b":status", b"%d" % status)], end=False))
    events = codec.feed(http2.frame(http2.DATA, http2.END_STREAM, 1, b"x"))
    http2.sent(codec)
    assert told(events + codec.deferred_events())[-1] == (1, "reset", http2.PROTOCOL_ERROR, True)


def test_a_push_promise_breaks_the_connection() -> None:
    codec = awaiting()
    codec.feed(http2.frame(http2.PUSH_PROMISE, http2.END_HEADERS, 1, http2.number(2) + http2.plain_block(GET)))
    assert [frame.type for frame in http2.sent(codec)] == [http2.GOAWAY]
    assert codec.broken


def test_an_http1_server_is_not_understood() -> None:
    codec = Http2Codec(is_server=False)
    codec.send_request(RequestHead(b"GET", b"/", b"svc", []))
    codec.output()
    codec.feed(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    codec.output()
    assert codec.closed
    assert codec.broken


def test_continuations_have_an_end() -> None:
    codec = http2.server_codec()
    block = http2.plain_block(GET)
    codec.feed(http2.frame(http2.HEADERS, http2.END_STREAM, 1, block))
    for _ in range(MAX_CONTINUATIONS + 1):
        codec.feed(http2.frame(http2.CONTINUATION, 0, 1, b"\x00\x01a\x01b"))
    (goaway,) = http2.sent(codec)
    assert (goaway.type, goaway.code()) == (http2.GOAWAY, http2.ENHANCE_YOUR_CALM)
    assert codec.closed


@pytest.mark.parametrize("trusted_peer", [True, False])
def test_what_only_a_proxy_may_say_is_left_out_of_an_apps_answer(trusted_peer: bool) -> None:
    codec = Http2Codec(is_server=False, trusted_peer=trusted_peer)
    codec.feed(http2.frame(http2.SETTINGS))
    stream = codec.send_request(RequestHead(b"GET", b"/", b"svc", []))
    codec.output()
    own = ((b"tramo-unprocessed", b"true"), (b"tramo-response-flags", b"UH"))
    ((_, head), _) = codec.feed(http2.request([(b":status", b"503"), *own, (b"x", b"y")], stream))
    assert isinstance(head, ResponseHead)
    assert head.fields == ([*own, (b"x", b"y")] if trusted_peer else [(b"x", b"y")])
