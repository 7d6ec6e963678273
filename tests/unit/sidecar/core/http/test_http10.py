"""Requests of HTTP/1.0, where they are let in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ProtocolError
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.messages import RequestHead
from tests.support.wire.http1 import feed, refusal, request, summary

HOST = b"orders"
GET = b"GET /a HTTP/1.0"
POST = b"POST /a HTTP/1.0"


def reader() -> RequestReader:
    return RequestReader(http_10_host=HOST)


def head(*fields: bytes, line: bytes = GET) -> RequestHead:
    found = reader().feed(request(*fields, line=line))[0]
    assert isinstance(found, RequestHead)
    return found


def refused(*fields: bytes, line: bytes = GET) -> int | None:
    error = refusal(reader(), [request(*fields, line=line)])
    return error.status if error is not None else None


def test_it_is_refused_by_default() -> None:
    error = refusal(RequestReader(), [request(b"Host: a", line=GET)])
    assert isinstance(error, ProtocolError)
    assert error.status == 426


def test_a_request_without_host_is_for_the_service() -> None:
    assert (head().authority, head().is_http_10) == (HOST, True)
    assert head(b"Host: a.test:80").authority == b"a.test:80"
    assert head(line=b"GET http://b.test/a HTTP/1.0").authority == b"b.test"
    assert not head(b"Host: a", line=b"GET /a HTTP/1.1").is_http_10


def test_every_request_is_the_last_of_its_connection() -> None:
    found = reader()
    messages = summary(found.feed(request(b"Connection: keep-alive", line=GET) * 3))
    assert [message.first_line for message in messages] == [b"GET /a"]
    assert not found.keep_alive
    assert found.feed(b"anything") == []


def test_what_came_with_http_11_is_ignored() -> None:
    found = head(b"Expect: 100-continue", b"TE: trailers", b"Connection: TE", b"Content-Length: 2", line=POST)
    assert (found.expect_continue, found.content_length, found.get(b"te")) == (False, 2, None)
    found = head(b"Host: a", b"Connection: Upgrade", b"Upgrade: websocket")
    assert found.upgrade == b""


@pytest.mark.parametrize(
    ("fields", "line", "status"),
    [
        ((b"Transfer-Encoding: chunked",), POST, 400),
        ((b"Transfer-Encoding: chunked", b"Content-Length: 3"), POST, 400),
        ((b"Transfer-Encoding: gzip",), POST, 501),
        ((b"Host: a", b"Host: b"), GET, 400),
        ((b"Host: a b",), GET, 400),
        ((b"Content-Length: 1", b"Content-Length: 2"), POST, 400),
        ((), b"CONNECT a:80 HTTP/1.0", 405),
        ((), b"GET  /a HTTP/1.0", 400),
        ((), b"GET a HTTP/1.0", 400),
        ((), b"GET /a HTTP/0.9", 505),
        ((), b"GET /a HTTP/2.0", 505),
        ((), b"GET /a HTTP/1.1", 400),
    ],
)
def test_the_rest_is_as_strict_as_ever(fields: tuple[bytes, ...], line: bytes, status: int) -> None:
    assert refused(*fields, line=line) == status


def test_an_upgrade_with_a_body_is_an_ordinary_request() -> None:
    message = request(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 2", line=POST) + b"hi"
    (found,) = summary(reader().feed(message))
    assert (found.body, found.ended, found.upgrade) == (b"hi", True, b"")


@given(st.lists(st.integers(0, 120), max_size=8))
def test_however_it_is_split(cuts: list[int]) -> None:
    message = request(b"X: y", b"Content-Length: 5", line=POST) + b"hello" + b"behind"
    bounds = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    parts = [message[start:end] for start, end in pairwise(bounds)]
    (found,) = summary(feed(reader(), parts))
    assert (found.first_line, found.body, found.ended) == (b"POST /a", b"hello", True)
