"""Where requests begin on a connection: right behind the one before, or behind one empty line, in any split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ProtocolError
from sidecar.core.http.http1_requests import RequestReader
from tests.support.wire.http1 import feed, pieces, refusal, summary

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTH = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\nGET /  HTTP/1.1\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nG  /\n\r\n0\r\nA: b\r\n\r\n"
UPGRADE = b"GET /d HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
REQUESTS = (GET, LENGTH, CHUNKED, UPGRADE)
DOUBLE = b"GET  /z HTTP/1.1\r\nHost: a\r\n\r\n"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(REQUESTS)), min_size=1, max_size=5), st.data())
def test_good_requests_are_read_in_any_split(requests: list[tuple[bool, bytes]], data: st.DataObject) -> None:
    stream = b"".join((b"\r\n" if empty else b"") + request for empty, request in requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = summary(feed(RequestReader(), parts))
    assert [one.first_line[-1:] for one in found] == [request.split(b" ")[1][-1:] for _, request in requests]
    assert all(one.ended for one in found)


@pytest.mark.parametrize("size", [1 << 20, 40, 7, 1])
@pytest.mark.parametrize(
    "first", [GET, LENGTH, UPGRADE, b"\r\n" + GET + LENGTH], ids=["get", "length", "upgrade", "two"]
)
@pytest.mark.parametrize(
    "bad",
    [DOUBLE, b"GET /z  HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n" + GET, b"\n" + GET, b"\r" + GET, b"\r\n\n" + GET],
    ids=["before the target", "before the version", "empty lines", "LF", "CR", "CR LF LF"],
)
def test_bad_ones_are_refused_behind_good_ones(first: bytes, bad: bytes, size: int) -> None:
    assert refusal(RequestReader(), pieces(first + bad, size)) is not None


@pytest.mark.parametrize("size", [1 << 20, 1])
def test_behind_a_chunked_body_blanks_are_counted_too(size: int) -> None:
    assert refusal(RequestReader(), pieces(CHUNKED + DOUBLE, size)) is not None
    assert refusal(RequestReader(), [CHUNKED, DOUBLE]) is not None


def test_empty_lines_alone_are_refused_at_once() -> None:
    reader = RequestReader()
    assert reader.feed(GET + b"\r\n") != []
    with pytest.raises(ProtocolError, match="empty line"):
        reader.feed(b"\r\n")


def test_a_declined_websocket_begins_anew() -> None:
    reader = RequestReader()
    reader.feed(b"GET /w HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + GET)
    (found,) = summary(reader.stay())
    assert found.first_line == b"GET /a"
    assert refusal(reader, [DOUBLE]) is not None


def test_a_long_line_in_small_reads_is_kept_whole() -> None:
    line = b"GET /" + b"x" * 16_000 + b" HTTP/1.1\r\n"
    fields = b"Host: a\r\nA: " + b"y" * 40_000 + b"\r\n\r\n"
    found = summary(feed(RequestReader(), pieces(line + fields + GET, 1_000)))
    assert [len(one.first_line) for one in found] == [16_005, 6]
    assert refusal(RequestReader(), pieces(line.replace(b" H", b"  H") + fields, 1_000)) is not None
