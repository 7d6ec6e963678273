"""Bytes of a client to request events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ProtocolError
from sidecar.core.http.fields import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES
from sidecar.core.http.http1_reader import Event
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, RequestHead
from tests.support.wire.http1 import Summary, feed, pieces, refusal, request, summary

GET = b"GET /a?b=c HTTP/1.1\r\nHost: orders\r\nX-One: 1\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;name=value\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n"
)
H2C_GET = (
    b"GET /h HTTP/1.1\r\nHost: orders\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: A\r\n\r\n"
)
H2C_POST = (
    b"POST /h HTTP/1.1\r\nHost: orders\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: A\r\nContent-Length: 5\r\n\r\nhello"
)
WEBSOCKET = b"GET /w HTTP/1.1\r\nHost: orders\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def head_of(data: bytes) -> RequestHead:
    head = RequestReader().feed(data)[0]
    assert isinstance(head, RequestHead)
    return head


def test_a_request_without_a_body() -> None:
    head, end = RequestReader().feed(GET)
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.authority) == (b"GET", b"/a?b=c", b"orders")
    assert head.fields == [(b"x-one", b"1")]
    assert head.content_length == 0
    assert isinstance(end, End)


def test_a_request_with_a_length() -> None:
    reader = RequestReader()
    head, body, end = reader.feed(POST)
    assert isinstance(head, RequestHead)
    assert (head.content_length, body) == (5, b"hello")
    assert isinstance(end, End)
    assert reader.keep_alive
    assert reader.idle()


def test_a_chunked_request_with_trailers() -> None:
    events = RequestReader().feed(CHUNKED)
    head, end = events[0], events[-1]
    assert isinstance(head, RequestHead)
    assert head.content_length == UNKNOWN_LENGTH
    assert isinstance(end, End)
    assert end.trailers == [(b"x-sum", b"7")]
    assert summary(events)[0].body == b"hello world"


def test_pipelined_requests_come_in_their_order() -> None:
    found = summary(RequestReader().feed(GET + POST + CHUNKED + GET))
    assert [(message.first_line, message.body) for message in found] == [
        (b"GET /a?b=c", b""),
        (b"POST /p", b"hello"),
        (b"PUT /c", b"hello world"),
        (b"GET /a?b=c", b""),
    ]


def test_empty_values_and_values_between_blanks() -> None:
    head = head_of(b"GET / HTTP/1.1\r\nX-Empty:\r\nX-Blank: \t \r\nHost: a\r\nX-Tab: \ta\tb \r\n\r\n")
    assert head.fields == [(b"x-empty", b""), (b"x-blank", b""), (b"x-tab", b"a\tb")]


def test_bytes_above_ascii_stay_as_they_are() -> None:
    """bytes.strip() without arguments, and str.strip() above all, would take \\x85 and \\xa0 for blanks."""
    assert head_of(b"GET / HTTP/1.1\r\nHost: a\r\nX: \x85a\xa0\r\n\r\n").fields == [(b"x", b"\x85a\xa0")]


@pytest.mark.parametrize(
    "host", [b"a", b"a:80", b"orders.shop.local", b"10.0.0.1:65535", b"[::1]", b"[::1]:80", b"a_b"]
)
def test_hosts_that_are_taken(host: bytes) -> None:
    assert head_of(request(b"Host: " + host)).authority == host


@pytest.mark.parametrize(
    "fields",
    [
        (b"Host:",),
        (b"Host: a/b",),
        (b"Host: a b",),
        (b"Host: a,b",),
        (b"Host: u@a",),
        (b"Host: a:",),
        (b"Host: a:b",),
        (b"Host: a:123456",),
        (b"Host: a?b",),
        (b"Host: a#b",),
        (b"Host: [::1",),
        (b"Host: \xff",),
        (b"Host: a", b"Host: a"),
        (b"Host: a", b"Host: b"),
        (),
    ],
)
def test_hosts_that_are_refused(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(ProtocolError) as caught:
        RequestReader().feed(request(*fields))
    assert caught.value.status == 400


def test_an_absolute_target_wins_over_host() -> None:
    head = head_of(b"GET http://stock:8080/x?y HTTP/1.1\r\nHost: orders\r\n\r\n")
    assert (head.target, head.authority) == (b"/x?y", b"stock:8080")


@pytest.mark.parametrize(
    ("target", "path"), [(b"http://a", b"/"), (b"http://a?q", b"/?q"), (b"HTTP://a/b", b"/b"), (b"http://a/", b"/")]
)
def test_the_path_of_an_absolute_target(target: bytes, path: bytes) -> None:
    assert head_of(b"GET " + target + b" HTTP/1.1\r\nHost: b\r\n\r\n").target == path


@pytest.mark.parametrize(
    "line",
    [
        b"GET * HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET a:80 HTTP/1.1",
        b"GET https://a/ HTTP/1.1",
        b"GET http://u:p@a/ HTTP/1.1",
        b"GET http:///x HTTP/1.1",
        b"GET http://a/#f HTTP/1.1",
        b"GET /a#f HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"CONNECT / HTTP/1.1",
    ],
)
def test_targets_that_are_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        RequestReader().feed(line + b"\r\nHost: a\r\n\r\n")


def test_options_may_ask_about_the_server() -> None:
    assert head_of(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target == b"*"


def test_connect_is_for_the_forward_proxy_only() -> None:
    data = b"CONNECT ledger:5432 HTTP/1.1\r\nHost: ledger:5432\r\n\r\n"
    reader = RequestReader(accept_authority_form=True)
    events = reader.feed(data + b"tunnel")
    assert isinstance(events[0], RequestHead)
    assert events[0].authority == b"ledger:5432"
    assert reader.left_http
    assert reader.leftover == b"tunnel"
    with pytest.raises(ProtocolError) as caught:
        RequestReader().feed(data)
    assert caught.value.status == 405


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.0", 426),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/9.9", 400),
        (b"GET /", 505),
        (b"GET / http/1.1", 400),
        (b"BREW / HTTP/1.1", 400),
        (b"DESCRIBE / RTSP/1.1", 501),
        (b"SOURCE / ICE/1.1", 501),
        (b"SOURCE / HTTP/1.1", 501),
    ],
)
def test_versions_and_methods_that_are_refused(line: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        RequestReader().feed(line + b"\r\nHost: a\r\n\r\n")
    assert caught.value.status == status


# Fields of one connection.


def test_connection_fields_end_here() -> None:
    head = head_of(
        request(
            b"Host: a",
            b"Connection: keep-alive, X-Private",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: Basic YQ==",
            b"TE: trailers, deflate",
            b"X-Private: 1",
            b"X-Public: 2",
        )
    )
    assert head.fields == [(b"x-public", b"2"), (b"te", b"trailers")]


def test_connection_close_is_an_attribute_of_the_reader() -> None:
    reader = RequestReader()
    reader.feed(request(b"Host: a", b"Connection: Close"))
    assert not reader.keep_alive


@pytest.mark.parametrize("name", [b"Host", b"content-length", b"X-Forwarded-For", b"authorization", b"X-Amzn-Trace-Id"])
def test_connection_may_not_name_what_the_proxy_relies_on(name: bytes) -> None:
    with pytest.raises(ProtocolError):
        RequestReader().feed(request(b"Host: a", b"Connection: close, " + name))


def test_many_connection_options_cost_one_pass() -> None:
    options = b",".join(b"x%d" % number for number in range(5000))
    head = head_of(request(b"Host: a", b"Connection: " + options, *(b"x%d: v" % number for number in range(60))))
    assert head.fields == []


def test_nothing_behind_the_last_request_is_read() -> None:
    last = request(b"Host: a", b"Connection: close")
    whole = RequestReader().feed(last + GET)
    reader = RequestReader()
    apart = reader.feed(last) + reader.feed(b"\r\n") + reader.feed(GET)
    assert summary(whole) == summary(apart) == summary(RequestReader().feed(last))


def test_expectations() -> None:
    assert head_of(request(b"Host: a", b"Expect: 100-Continue")).expect_continue
    with pytest.raises(ProtocolError) as caught:
        RequestReader().feed(request(b"Host: a", b"Expect: cake"))
    assert caught.value.status == 417


# Leaving HTTP.


def test_a_websocket_leaves_http() -> None:
    reader = RequestReader()
    head = reader.feed(WEBSOCKET + b"early")[0]
    assert isinstance(head, RequestHead)
    assert head.upgrade == b"websocket"
    assert reader.left_http
    assert reader.feed(b" bird") == []
    assert reader.leftover == b"early bird"


def test_a_declined_websocket_stays() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET + GET[:10])
    reader.feed(GET[10:])
    assert summary(reader.stay()) == summary(RequestReader().feed(GET))
    assert reader.leftover == b""
    assert not reader.left_http


def test_an_upgrade_that_connection_does_not_name_is_none() -> None:
    reader = RequestReader()
    head = reader.feed(request(b"Host: a", b"Upgrade: websocket"))[0]
    assert isinstance(head, RequestHead)
    assert head.upgrade == b""
    assert not reader.left_http


@pytest.mark.parametrize("first", [H2C_GET, H2C_POST, H2C_POST.replace(b"h2c", b"websocket")])
def test_an_upgrade_that_is_not_taken_changes_nothing(first: bytes) -> None:
    """Java's HttpClient offers h2c with every first request; llhttp takes its body for another protocol's bytes."""
    found = summary(RequestReader().feed(first + first + GET))
    assert [message.first_line for message in found] == [first[: first.index(b" HTTP")]] * 2 + [b"GET /a?b=c"]
    assert [message.body for message in found] == [b"hello" if first.startswith(b"POST") else b""] * 2 + [b""]
    assert all(message.upgrade == b"" for message in found)


def test_a_chunked_request_with_an_upgrade_that_is_not_taken() -> None:
    upgrade = b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\nTransfer"
    found = summary(RequestReader().feed(CHUNKED.replace(b"\r\nTransfer", upgrade) + GET))
    assert [message.body for message in found] == [b"hello world", b""]
    assert found[0].trailers == [(b"x-sum", b"7")]


def test_a_last_request_with_an_upgrade_that_is_not_taken() -> None:
    data = H2C_POST.replace(b"Upgrade, ", b"Upgrade, close, ")
    assert len(summary(RequestReader().feed(data + GET))) == 1


def test_thousands_of_upgrades_in_one_read() -> None:
    assert len(summary(RequestReader().feed(H2C_GET * 2000))) == 2000


# Limits.


def test_the_head_is_bounded_in_one_read_and_in_many() -> None:
    big = request(b"Host: a", b"X: " + b"a" * MAX_HEAD_BYTES)
    for size in (len(big), 4096):
        with pytest.raises(ProtocolError) as caught:
            feed(RequestReader(), pieces(big, size))
        assert caught.value.status == 431


def test_a_head_without_an_end_is_bounded() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    error = refusal(reader, [b"a" * 1000] * 100)
    assert error is not None
    assert error.status == 431


def test_a_head_does_not_pay_for_the_one_before() -> None:
    """A long head whose last byte comes with the first bytes of the next one."""
    long = request(b"Host: a", b"X: " + b"a" * (MAX_HEAD_BYTES - 200))
    found = feed(RequestReader(), [long[:-1], long[-1:] + GET[:10], GET[10:]])
    assert len(summary(found)) == 2


def test_fields_are_counted() -> None:
    fields = [b"X-%d: v" % number for number in range(MAX_FIELDS)]
    assert len(head_of(request(b"Host: a", *fields)).fields) == MAX_FIELDS
    with pytest.raises(ProtocolError) as caught:
        RequestReader().feed(request(b"Host: a", *fields, b"X: v"))
    assert caught.value.status == 431


def test_the_target_is_bounded() -> None:
    with pytest.raises(ProtocolError) as caught:
        RequestReader().feed(b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert caught.value.status == 414


def test_small_chunks_pay_for_themselves() -> None:
    body = b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"
    data = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    assert summary(feed(RequestReader(), pieces(data, 5000)))[0].body == b"a" * 50_000


@pytest.mark.parametrize("size", [100, 4096, 1 << 20])
@pytest.mark.parametrize(
    "tail", [b"3;" + b"a" * 100_000, b"0\r\nX: " + b"a" * 100_000, b"1;a=%b\r\nb\r\n" % (b"b" * 90) * 2000]
)
def test_framing_that_outweighs_the_body_is_refused(tail: bytes, size: int) -> None:
    data = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + tail
    with pytest.raises(ProtocolError):
        feed(RequestReader(), pieces(data, size))


# Properties.

STREAMS = st.lists(st.sampled_from([GET, POST, CHUNKED, H2C_GET, H2C_POST]), min_size=1, max_size=5).flatmap(
    lambda messages: st.sampled_from([b"", WEBSOCKET + b"tunnel data"]).map(lambda tail: b"".join(messages) + tail)
)


@given(STREAMS, st.data())
def test_however_a_stream_is_cut_its_events_are_the_same(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut = RequestReader(), RequestReader()
    expected: list[Summary] = summary(whole.feed(stream))
    events: list[Event] = feed(cut, parts)
    assert summary(events) == expected
    assert (cut.leftover, cut.left_http, cut.keep_alive) == (whole.leftover, whole.left_http, whole.keep_alive)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data: bytes) -> None:
    error = refusal(RequestReader(), [data])
    assert error is None or 400 <= error.status <= 505


@given(st.sampled_from([GET, POST, CHUNKED, H2C_POST, WEBSOCKET]), st.data())
def test_damaged_requests_raise_nothing_but_protocol_errors(message: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(message) - 1))
    damaged = message[:at] + data.draw(st.binary(max_size=3)) + message[at + data.draw(st.integers(0, 2)) :]
    error = refusal(RequestReader(), [damaged, GET])
    assert error is None or 400 <= error.status <= 505
