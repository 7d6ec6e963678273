"""Heads and chunks to bytes, and back through the readers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.fields import valid_authority
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.http1_responses import ResponseReader
from sidecar.core.http.http1_writer import (
    REASONS,
    encode_chunk,
    encode_last_chunk,
    encode_request_head,
    encode_response_head,
)
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead
from tests.support.wire.http1 import summary


def test_a_request_head() -> None:
    head = RequestHead(b"PUT", b"/a", b"orders:80", [(b"x-a", b"1")], 5, expect_continue=True)
    assert encode_request_head(head) == (
        b"PUT /a HTTP/1.1\r\nhost: orders:80\r\nx-a: 1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "length", "framing"),
    [
        (b"GET", 0, b""),
        (b"DELETE", 0, b""),
        (b"POST", 0, b"content-length: 0\r\n"),
        (b"PUT", 0, b"content-length: 0\r\n"),
        (b"PATCH", 0, b"content-length: 0\r\n"),
        (b"GET", 3, b"content-length: 3\r\n"),
        (b"POST", UNKNOWN_LENGTH, b"transfer-encoding: chunked\r\n"),
    ],
)
def test_framing_of_requests(method: bytes, length: int, framing: bytes) -> None:
    head = RequestHead(method, b"/", b"a", [], length)
    assert encode_request_head(head) == method + b" / HTTP/1.1\r\nhost: a\r\n" + framing + b"\r\n"


def test_an_upgrade() -> None:
    head = RequestHead(b"GET", b"/", b"a", [], 0, b"websocket")
    assert b"connection: upgrade\r\nupgrade: websocket\r\n" in encode_request_head(head)
    answer = encode_response_head(ResponseHead(101, [], 0, b"", b"websocket"), b"GET")
    assert answer == b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "length", "method", "framing"),
    [
        (200, 0, b"GET", b"content-length: 0\r\n"),
        (200, 5, b"GET", b"content-length: 5\r\n"),
        (200, UNKNOWN_LENGTH, b"GET", b"transfer-encoding: chunked\r\n"),
        (200, 0, b"HEAD", b""),
        (204, 0, b"GET", b""),
        (304, 0, b"GET", b""),
        (100, 0, b"POST", b""),
        (103, 0, b"GET", b""),
    ],
)
def test_framing_of_responses(status: int, length: int, method: bytes, framing: bytes) -> None:
    data = encode_response_head(ResponseHead(status, [], length, b"R"), method)
    assert data == b"HTTP/1.1 %d R\r\n" % status + framing + b"\r\n"


def test_close_is_said_with_final_answers_only() -> None:
    assert b"connection: close\r\n" in encode_response_head(ResponseHead(200, []), b"GET", close=True)
    assert b"connection" not in encode_response_head(ResponseHead(100, []), b"POST", close=True)


def test_reasons_are_filled_in() -> None:
    assert encode_response_head(ResponseHead(503, []), b"GET").startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert encode_response_head(ResponseHead(299, []), b"GET").startswith(b"HTTP/1.1 299 \r\n")
    assert all(reason.isascii() for reason in REASONS.values())


def test_chunks() -> None:
    assert encode_chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
    assert encode_last_chunk([]) == b"0\r\n\r\n"
    assert encode_last_chunk([(b"x-sum", b"7")]) == b"0\r\nx-sum: 7\r\n\r\n"


def test_authorities() -> None:
    assert valid_authority(b"orders:80")
    assert not valid_authority(b"orders:80/x")


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12).map(
    lambda name: b"x" + name.encode()
)
VALUE = st.binary(max_size=20).map(lambda value: bytes(byte for byte in value if 33 <= byte != 127))
FIELDS = st.lists(st.tuples(TOKEN, VALUE), max_size=8)
BODY = st.one_of(st.none(), st.lists(st.binary(min_size=1, max_size=50), max_size=4))


def _framed(pieces: list[bytes] | None, length: int, trailers: Fields) -> bytes:
    if pieces is None:
        return b""
    if length == UNKNOWN_LENGTH:
        return b"".join([*map(encode_chunk, pieces), encode_last_chunk(trailers)])
    return b"".join(pieces)


@given(st.sampled_from([b"GET", b"PUT", b"POST"]), FIELDS, BODY, st.booleans(), FIELDS)
def test_requests_survive_writing_and_reading(
    method: bytes, fields: Fields, pieces: list[bytes] | None, chunked: bool, trailers: Fields
) -> None:
    length = 0 if pieces is None else UNKNOWN_LENGTH if chunked else sum(map(len, pieces))
    head = RequestHead(method, b"/x", b"orders", fields, length)
    found = summary(RequestReader().feed(encode_request_head(head) + _framed(pieces, length, trailers)))
    assert len(found) == 1
    assert (found[0].first_line, found[0].fields, found[0].content_length) == (method + b" /x", fields, length)
    assert (found[0].body, found[0].ended) == (b"".join(pieces or []), True)
    assert found[0].trailers == (trailers if length == UNKNOWN_LENGTH else [])


@given(st.sampled_from([200, 404, 503]), FIELDS, BODY, st.booleans(), FIELDS)
def test_responses_survive_writing_and_reading(
    status: int, fields: Fields, pieces: list[bytes] | None, chunked: bool, trailers: Fields
) -> None:
    length = 0 if pieces is None else UNKNOWN_LENGTH if chunked else sum(map(len, pieces))
    reader = ResponseReader()
    reader.expect(b"GET")
    data = encode_response_head(ResponseHead(status, fields, length), b"GET") + _framed(pieces, length, trailers)
    found = summary(reader.feed(data))
    assert len(found) == 1
    assert (found[0].fields, found[0].content_length) == (fields, length)
    assert (found[0].body, found[0].ended) == (b"".join(pieces or []), True)
    assert reader.keep_alive
