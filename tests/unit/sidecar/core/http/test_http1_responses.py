"""Bytes of a server to response events."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ProtocolError
from sidecar.core.http.fields import MAX_HEAD_BYTES, MAX_INFORMATIONAL
from sidecar.core.http.http1_reader import Event
from sidecar.core.http.http1_responses import PAST_PARSER_BYTES, ResponseReader
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, ResponseHead
from tests.support.wire.http1 import feed, pieces, refusal, summary

OK = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nto the end"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def reader(method: bytes = b"GET") -> ResponseReader:
    found = ResponseReader()
    found.expect(method)
    return found


def head_of(data: bytes, method: bytes = b"GET") -> ResponseHead:
    head = reader(method).feed(data)[0]
    assert isinstance(head, ResponseHead)
    return head


def test_a_response_with_a_length() -> None:
    found = reader()
    head, body, end = found.feed(OK)
    assert isinstance(head, ResponseHead)
    assert (head.status, head.reason, head.fields, head.content_length) == (200, b"OK", [(b"x-a", b"1")], 5)
    assert body == b"hello"
    assert isinstance(end, End)
    assert found.keep_alive


def test_a_chunked_response_with_trailers() -> None:
    found = summary(reader().feed(CHUNKED))
    assert (found[0].content_length, found[0].body) == (UNKNOWN_LENGTH, b"hello")
    assert found[0].trailers == [(b"x-sum", b"7")]


def test_a_response_until_the_close() -> None:
    found = reader()
    events = found.feed(UNTIL_CLOSE) + found.close()
    assert summary(events)[0].body == b"to the end"
    assert summary(events)[0].ended
    assert not found.keep_alive


@pytest.mark.parametrize("data", [OK[:10], OK[:-1], CHUNKED[:-2], EARLY_HINTS, b""])
def test_a_close_before_the_end_is_an_error(data: bytes) -> None:
    found = reader()
    if data:
        found.feed(data)
    with pytest.raises(ProtocolError):
        found.close()


def test_one_connection_answers_many_requests() -> None:
    found = ResponseReader()
    for method, data in ((b"GET", OK), (b"HEAD", OK[:-5]), (b"GET", CHUNKED), (b"HEAD", OK[:-5]), (b"POST", OK)):
        found.expect(method)
        assert summary(found.feed(data))[0].ended


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"", b"Content-Length: 0\r\n"]
)
def test_an_answer_to_head_has_no_body(fields: bytes) -> None:
    found = reader(b"HEAD")
    head, end = found.feed(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    assert isinstance(head, ResponseHead)
    assert isinstance(end, End)
    assert head.content_length == 0
    assert (b"content-length", b"5") in head.fields or b"5" not in fields
    assert found.keep_alive


def test_an_answer_to_head_behind_an_informational_one() -> None:
    found = summary(reader(b"HEAD").feed(EARLY_HINTS + OK[:-5]))
    assert [message.ended for message in found] == [False, True]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_statuses_without_a_body(status: bytes) -> None:
    found = reader()
    head, end = found.feed(b"HTTP/1.1 " + status + b"\r\nX: 1\r\n\r\n")
    assert isinstance(head, ResponseHead)
    assert isinstance(end, End)
    assert head.content_length == 0


def test_304_keeps_the_length_that_the_body_would_have() -> None:
    head = head_of(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n")
    assert (head.content_length, head.fields) == (0, [(b"content-length", b"99")])


@pytest.mark.parametrize("status", [b"100", b"103", b"204"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_framing_where_no_body_can_be(status: bytes, framing: bytes) -> None:
    with pytest.raises(ProtocolError):
        reader().feed(b"HTTP/1.1 " + status + b" X\r\n" + framing + b"\r\n\r\n")


def test_informational_responses_come_before_the_final_one() -> None:
    found = summary(reader().feed(EARLY_HINTS + b"HTTP/1.1 100 Continue\r\n\r\n" + OK))
    assert [message.first_line for message in found] == [b"103 Early Hints", b"100 Continue", b"200 OK"]
    assert [message.ended for message in found] == [False, False, True]


def test_informational_responses_are_counted_for_each_request() -> None:
    found = reader()
    for _ in range(2):
        found.expect(b"GET")
        found.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * MAX_INFORMATIONAL + OK)
    found.expect(b"GET")
    with pytest.raises(ProtocolError, match="informational"):
        found.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MAX_INFORMATIONAL + 1))


def test_switching_protocols_leaves_the_rest_alone() -> None:
    found = reader()
    head = found.feed(SWITCHING + b"\x81\x05hello")[0]
    assert isinstance(head, ResponseHead)
    assert (head.status, head.upgrade) == (101, b"websocket")
    assert found.leftover == b"\x81\x05hello"


@pytest.mark.parametrize("fields", [b"", b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n"])
def test_switching_to_nothing_is_refused(fields: bytes) -> None:
    with pytest.raises(ProtocolError):
        reader().feed(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n")


def test_an_offer_to_upgrade_is_not_passed_on() -> None:
    """Apache sends one with every answer."""
    head = head_of(b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2,h2c\r\nContent-Length: 0\r\n\r\n")
    assert (head.status, head.fields) == (200, [])


@pytest.mark.parametrize("fields", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
def test_answers_after_which_the_server_closes(fields: bytes) -> None:
    found = reader()
    found.feed(fields + b"Content-Length: 0\r\n\r\n")
    assert not found.keep_alive


@pytest.mark.parametrize(
    ("method", "first"),
    [(b"GET", OK), (b"GET", CHUNKED), (b"HEAD", OK[:-5]), (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n")],
)
@pytest.mark.parametrize("surplus", [OK, b"garbage", b"x"])
def test_surplus_behind_a_response_costs_the_connection_only(method: bytes, first: bytes, surplus: bytes) -> None:
    """Whether it comes in the same read or a later one, the first answer stands and the connection is done for."""
    together = reader(method)
    assert summary(together.feed(first + surplus)) == summary(reader(method).feed(first))
    assert not together.keep_alive
    apart = reader(method)
    apart.feed(first)
    with pytest.raises(ProtocolError):
        apart.feed(surplus)


def test_what_only_a_proxy_may_say_is_left_out_of_an_apps_answer() -> None:
    data = b"HTTP/1.1 503 X\r\nTramo-Unprocessed: true\r\nX: y\r\nTramo-Response-Flags: UH\r\nContent-Length: 0\r\n\r\n"
    app = ResponseReader(trusted_peer=False)
    app.expect(b"GET")
    assert summary(app.feed(data))[0].fields == [(b"x", b"y")]
    assert len(summary(reader().feed(data))[0].fields) == 3


def test_an_expectation_in_an_answer_is_a_field_like_others() -> None:
    assert (b"expect", b"tea") in head_of(b"HTTP/1.1 200 OK\r\nExpect: tea\r\nContent-Length: 0\r\n\r\n").fields


def test_a_trailer_cannot_say_what_only_a_proxy_may() -> None:
    with pytest.raises(ProtocolError):
        reader().feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTramo-Unprocessed: true\r\n\r\n")


def test_bytes_without_a_request() -> None:
    with pytest.raises(ProtocolError):
        ResponseReader().feed(OK)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 20 X\r\n\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        b"HTTP/1.1 abc X\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\x7fK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nXfoo\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 101 + b"\r\n",
    ],
)
@pytest.mark.parametrize("size", [1 << 20, 7])
def test_hostile_responses_are_refused(data: bytes, size: int) -> None:
    with pytest.raises(ProtocolError):
        feed(reader(), pieces(data, size))


@given(st.sampled_from([OK, CHUNKED, EARLY_HINTS + OK, UNTIL_CLOSE, SWITCHING + b"tunnel"]), st.data())
def test_however_a_response_is_cut_its_events_are_the_same(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    whole, cut = reader(), reader()
    expected = summary(whole.feed(stream))
    events: list[Event] = []
    left = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if events and isinstance(events[-1], ResponseHead) and events[-1].status == 101:
            left += stream[start:end]  # the connection's owner takes over behind a 101
        elif start < end:
            events += cut.feed(stream[start:end])
    assert summary(events) == expected
    assert cut.keep_alive == whole.keep_alive
    assert cut.leftover + left == whole.leftover


LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" + bytes(4 * PAST_PARSER_BYTES)


def test_large_pieces_of_a_body_are_not_copied() -> None:
    found = reader()
    found.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * PAST_PARSER_BYTES + 1))
    first, second = bytes(PAST_PARSER_BYTES), bytes(PAST_PARSER_BYTES)
    assert found.feed(first)[0] is first
    assert found.feed(second)[0] is second
    body, end = found.feed(b"x")
    assert body == b"x"
    assert isinstance(end, End)
    found.expect(b"GET")
    assert summary(found.feed(OK)) == summary(reader().feed(OK))


@given(st.sampled_from([b"", b"Connection: close\r\n"]), st.sampled_from([b"", b"x", OK]), st.data())
def test_however_a_large_body_is_cut_it_ends_where_it_ends(close: bytes, surplus: bytes, data: st.DataObject) -> None:
    first = LARGE % (4 * PAST_PARSER_BYTES, close)
    stream = first + surplus
    edge = st.integers(len(first) - 3, len(stream))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream)) | edge, max_size=6)) | {len(stream)})
    found = reader()
    events: list[Event] = []
    refused = False
    start = 0
    for end in cuts:
        try:
            events += found.feed(stream[start:end])
        except ProtocolError:
            assert start >= len(first), "only what is behind the response is refused"
            refused = True
            break
        start = end
    (answer,) = summary(events)
    assert answer.body == bytes(4 * PAST_PARSER_BYTES)
    assert (found.keep_alive and not refused) is not (bool(close) or bool(surplus))


@pytest.mark.parametrize("count", [1, PAST_PARSER_BYTES, 3 * PAST_PARSER_BYTES])
def test_a_large_body_that_is_cut_short_is_an_error(count: int) -> None:
    found = reader()
    found.feed((LARGE % (4 * PAST_PARSER_BYTES, b""))[: -4 * PAST_PARSER_BYTES])
    found.feed(bytes(count))
    with pytest.raises(ProtocolError):
        found.close()


@given(st.binary(max_size=200), st.sampled_from([b"GET", b"HEAD"]))
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data: bytes, method: bytes) -> None:
    found = reader(method)
    error = refusal(found, [data])
    assert error is None or error.reason
    if error is None:
        with suppress(ProtocolError):
            found.close()
