"""HTTP/2 by generated input: how bytes are cut into reads changes nothing, and no bytes break the codec."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.http.http2 import PREFACE, Http2Codec
from sidecar.core.http.http2_events import GoAway
from sidecar.core.http.messages import UNKNOWN_LENGTH, RequestHead, ResponseHead
from tests.support.wire import http2
from tests.support.wire.http2 import GET, POST, Headers, frame, number, request, told, with_fields

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=10).map(str.encode)
VALUES = st.binary(max_size=20).filter(lambda value: not set(value) & {0, 10, 13} and value == value.strip(b" \t"))
FIELDS = st.lists(st.tuples(TOKENS.map(lambda name: b"x-" + name), VALUES), max_size=4)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a client may send: requests, bodies, trailers, cancellations, and frames between them, some of them bad."""
    found = b""
    for stream in range(1, 2 * draw(st.integers(1, 4)), 2):
        fields: Headers = with_fields(*draw(FIELDS), base=draw(st.sampled_from((GET, POST))))
        if draw(st.booleans()):
            found += request(fields, stream)
            continue
        found += request(fields, stream, end=False)
        for body in draw(st.lists(st.binary(max_size=50), max_size=3)):
            found += frame(http2.DATA, 0, stream, body)
        ends = {
            "data": frame(http2.DATA, http2.END_STREAM, stream, b"end"),
            "trailers": request(draw(FIELDS) or [(b"x-t", b"1")], stream),
            "reset": frame(http2.RST_STREAM, 0, stream, number(draw(st.integers(0, 13)))),
            "bad trailers": request([(b"X", b"1")], stream),
            "nothing": b"",
        }
        found += ends[draw(st.sampled_from(sorted(ends)))]
        found += draw(st.sampled_from((b"", frame(http2.PING, 0, 0, b"12345678"), frame(0x99, 1, 0, b"?"))))
    return found


def events_of(parts: list[bytes]) -> tuple[list[object], bool]:
    """All that a server's codec tells of these reads, with output taken after each."""
    codec = http2.server_codec()
    found = []
    for part in parts:
        found += codec.feed(part)
        codec.output()
    return told(sorted(found + codec.deferred_events(), key=lambda event: event[0])), codec.closed


def never_begun(events: list[object]) -> list[object]:
    """Without requests that were taken back: how much of them is told depends on the reads."""
    gone = {event[0] for event in events if isinstance(event, tuple) and event[1] == "reset"}
    return [event for event in events if isinstance(event, tuple) and event[0] not in gone]


@given(streams(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_split_tells_the_same(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    parts = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole, closed = events_of([data])
    split, split_closed = events_of(parts)
    assert never_begun(whole) == never_begun(split)
    assert closed == split_closed


@given(streams())
@settings(max_examples=40, deadline=None)
def test_byte_by_byte_tells_the_same(data: bytes) -> None:
    whole, _ = events_of([data])
    single, _ = events_of([data[index : index + 1] for index in range(len(data))])
    assert never_begun(whole) == never_begun(single)


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from((0, 1, 2, 3, 5, 2**31 - 1, 2**31, 2**32 - 1)),
    st.binary(max_size=40)
    | st.sampled_from((http2.plain_block(GET), http2.plain_block(POST), number(0), number(2**31 - 1), bytes(8))),
)


def drive(codec: Http2Codec, parts: list[bytes]) -> None:
    """Feed and do with each event what the proxy could: nothing may raise, and a closed codec stays closed."""
    for part in parts:
        was_closed = codec.closed
        for stream, event in codec.feed(part):
            if isinstance(event, RequestHead):
                codec.send_response(stream, ResponseHead(200, [(b"a", b"b")], UNKNOWN_LENGTH))
                codec.send_data(stream, b"hello")
            elif isinstance(event, bytes):
                codec.acknowledge(stream, len(event))
            elif isinstance(event, ResponseHead):
                codec.send_data(stream, b"more")
            elif isinstance(event, GoAway):
                continue
            else:
                codec.send_end(stream, [])
                codec.reset(stream, 8)
            codec.queued(stream)
        codec.takes_requests()
        codec.output()
        codec.deferred_events()
        assert codec.closed or not was_closed


@given(st.lists(FRAMES | st.binary(max_size=30), max_size=12))
@settings(max_examples=400, deadline=None)
def test_no_bytes_break_a_server(parts: list[bytes]) -> None:
    drive(http2.server_codec(), parts)


@given(st.lists(FRAMES | st.binary(max_size=30), max_size=12))
@settings(max_examples=400, deadline=None)
def test_no_bytes_break_a_client(parts: list[bytes]) -> None:
    codec = http2.client_codec()
    codec.send_request(RequestHead(b"GET", b"/", b"svc", []))
    codec.send_request(RequestHead(b"POST", b"/", b"svc", [], UNKNOWN_LENGTH))
    codec.output()
    drive(codec, parts)


@given(st.binary(max_size=100))
@settings(max_examples=200, deadline=None)
def test_no_bytes_in_place_of_the_preface_break_a_server(data: bytes) -> None:
    drive(Http2Codec(is_server=True), [data, b"more"])


@given(st.binary(max_size=200), st.integers(0, 24))
@settings(max_examples=200, deadline=None)
def test_no_header_block_breaks_a_server(block: bytes, kept: int) -> None:
    drive(http2.server_codec(), [frame(http2.HEADERS, 5, 1, http2.plain_block(GET)[:kept] + block)])


@given(st.integers(0, len(PREFACE)), st.binary(max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_preface_that_goes_wrong(good: int, rest: bytes) -> None:
    codec = Http2Codec(is_server=True)
    drive(codec, [PREFACE[:good], rest, b"x" * 30])
