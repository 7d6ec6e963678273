"""Clients that ask for work and want no answer: the connection ends with ENHANCE_YOUR_CALM, or the work is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecar.core.http.fields import MAX_CRUMBS
from sidecar.core.http.http2 import PREFACE, Http2Codec
from sidecar.core.http.http2_events import CANCEL, Refused, Reset
from sidecar.core.http.http2_frames import HEADS_AT_ONCE
from sidecar.core.http.http2_limits import (
    MAX_CUT_STREAMS,
    MAX_LARGE_HEADS,
    MAX_NOISE,
    MAX_SMALL_HEAD_BYTES,
    MAX_STREAMS,
    OVERSIZE_WEIGHT,
    STREAM_WINDOW,
)
from sidecar.core.http.messages import UNKNOWN_LENGTH, RequestHead, ResponseHead
from tests.support.wire import http2
from tests.support.wire.http2 import POST, frame, number, request, setting, with_fields

CANCELLED = number(CANCEL)


def reads_until_closed(codec: Http2Codec, reads: Iterator[bytes], most: int, answer: bool = True) -> int:
    """Feed reads, with output taken after each, until the codec closes; how many it took. It must say why."""
    for count in range(1, most + 1):
        for stream, event in codec.feed(next(reads)):
            if isinstance(event, RequestHead) and answer:
                codec.send_response(stream, ResponseHead(200, []))
        frames = http2.sent(codec)
        if codec.closed:
            assert [f.code() for f in frames if f.type == http2.GOAWAY] == [http2.ENHANCE_YOUR_CALM]
            return count
    raise AssertionError(f"still open after {most} reads")


def repeat(data: bytes) -> Iterator[bytes]:
    while True:
        yield data


def per_stream(*parts: bytes) -> Iterator[bytes]:
    """The frames of one request after the other; `parts` are those of stream 1."""
    for stream in range(1, 2**31, 2):
        yield b"".join(part[:5] + number(stream) + part[9:] for part in parts)


def test_rapid_reset_in_reads_of_its_own() -> None:
    def reads() -> Iterator[bytes]:
        for stream in range(1, 2**31, 2):
            yield request(stream=stream)
            yield frame(http2.RST_STREAM, 0, stream, CANCELLED)

    codec = http2.server_codec()
    source = reads()
    for count in range(10_000):
        for _, event in codec.feed(next(source)):
            if isinstance(event, Reset):
                codec.count_cut()  # as the proxy does for a request that is not answered yet
        frames = http2.sent(codec)
        if codec.closed:
            assert frames[-1].code() == http2.ENHANCE_YOUR_CALM
            assert count <= 2 * (MAX_CUT_STREAMS + 1)
            return
    raise AssertionError("still open")


def test_rapid_reset_in_one_read() -> None:
    codec = http2.server_codec()
    cancel = frame(http2.RST_STREAM, 0, 1, CANCELLED)
    source = per_stream(request(), cancel)
    assert http2.read_all(codec, b"".join(next(source) for _ in range(5_000))) == []
    assert http2.sent(codec)[-1].code() == http2.ENHANCE_YOUR_CALM
    assert codec.closed


def test_heads_beyond_what_one_turn_reads_wait_for_the_next() -> None:
    codec = http2.server_codec()
    streams = range(1, 4 * HEADS_AT_ONCE, 2)
    last, cut = request(POST, streams[-1] + 2), 5
    reads = [b"".join(request(POST, stream) for stream in streams) + last[:cut], b"", last[cut:], b""]
    found = []
    for data in reads:
        found.append([stream for stream, event in codec.feed(data) if isinstance(event, RequestHead)])
    assert found == [list(streams[:HEADS_AT_ONCE]), list(streams[HEADS_AT_ONCE:]), [streams[-1] + 2], []]


def test_often_cancelled_calls_among_others_live_on() -> None:
    codec = http2.server_codec()
    for stream in range(1, 20_001, 2):
        events = codec.feed(request(stream=stream))
        assert len(events) == 2
        if stream % 16 == 1:
            for _, event in codec.feed(frame(http2.RST_STREAM, 0, stream, CANCELLED)):
                assert isinstance(event, Reset)
                codec.count_cut()
        else:
            codec.send_response(stream, ResponseHead(200, []))
        codec.output()
    assert not codec.closed


PROVOKED = {
    "a malformed head that libnghttp2 sees": (request(with_fields((b"A", b"b"))),),
    "a malformed head that we see": (request(with_fields((b"host", b"other"))),),
    "a head that is too large": (request(with_fields(*[(b"a", b"b")] * 101)),),
    "a body longer than its length": (
        request(with_fields((b"content-length", b"1"), base=POST), end=False),
        frame(http2.DATA, 0, 1, b"abc"),
    ),
    "a window of more than 2^31": (request(POST, end=False), frame(http2.WINDOW_UPDATE, 0, 1, number(2**31 - 1))),
    "trailers that are not the end": (request(POST, end=False), request([(b"a", b"b")], end=False)),
    "trailers that change the framing": (request(POST, end=False), request([(b"content-length", b"1")])),
}


@pytest.mark.parametrize("parts", PROVOKED.values(), ids=PROVOKED)
def test_made_you_reset(parts: tuple[bytes, ...]) -> None:
    codec = http2.server_codec()
    assert reads_until_closed(codec, per_stream(*parts), 1_000, answer=False) <= MAX_CUT_STREAMS + 1


BEYOND = 2 * MAX_STREAMS + 1
OPEN = [request(POST, stream, end=False) for stream in range(1, 2 * MAX_STREAMS, 2)]


def test_more_streams_than_allowed_are_refused_until_the_client_knows() -> None:
    codec = Http2Codec(is_server=True)
    codec.feed(PREFACE + frame(http2.SETTINGS))
    codec.output()
    assert len(http2.read_all(codec, b"".join(OPEN) + request(POST, BEYOND, end=False))) == MAX_STREAMS
    (reset,) = http2.sent(codec)
    assert (reset.type, reset.stream, reset.code()) == (http2.RST_STREAM, BEYOND, http2.REFUSED_STREAM)
    source = (request(POST, stream, end=False) for stream in range(1003, 2**31, 2))
    reads_until_closed(codec, source, 20_000, answer=False)  # libnghttp2's score falls as time goes on


def test_more_streams_than_allowed_by_a_client_that_knows_better() -> None:
    codec = http2.server_codec()
    assert len(http2.read_all(codec, b"".join(OPEN) + request(POST, BEYOND, end=False))) == MAX_STREAMS
    (goaway,) = http2.sent(codec)
    assert (goaway.type, goaway.code()) == (http2.GOAWAY, http2.PROTOCOL_ERROR)


def test_beyond_the_first_hundred_streams_heads_are_small() -> None:
    codec = http2.server_codec()
    large = with_fields((b"a", b"b" * MAX_SMALL_HEAD_BYTES))
    streams = list(range(1, 2 * MAX_LARGE_HEADS, 2))
    heads = b"".join(request(large, stream, end=False) for stream in streams)
    assert len(http2.read_all(codec, heads)) == MAX_LARGE_HEADS
    beyond = 2 * MAX_LARGE_HEADS + 1
    ((_, refused),) = codec.feed(request(large, beyond, end=False))
    assert isinstance(refused, Refused)
    (reset,) = http2.sent(codec)
    assert (reset.type, reset.stream, reset.code()) == (http2.RST_STREAM, beyond, http2.REFUSED_STREAM)
    ((_, small),) = codec.feed(request(POST, beyond + 2, end=False))
    assert isinstance(small, RequestHead)
    codec.feed(frame(http2.RST_STREAM, 0, 1, CANCELLED) + frame(http2.RST_STREAM, 0, 3, CANCELLED))
    ((_, taken),) = codec.feed(request(large, beyond + 4, end=False))
    assert isinstance(taken, RequestHead), "a stream that is closed makes room"


FLOODS = {
    "PING": frame(http2.PING, 0, 0, b"12345678"),
    "PING acknowledgements": frame(http2.PING, http2.ACK, 0, b"12345678"),
    "SETTINGS": frame(http2.SETTINGS, 0, 0, setting(4, 65_535)),
    "empty SETTINGS": frame(http2.SETTINGS),
    "WINDOW_UPDATE": frame(http2.WINDOW_UPDATE, 0, 0, number(1)),
    "PRIORITY": frame(http2.PRIORITY, 0, 1, number(0) + b"\x01"),
    "unknown frames": frame(0x77, 0, 0, b""),
    "unknown frames of a stream": frame(0x77, 0, 1, b"abc"),
    "RST_STREAM again and again": frame(http2.RST_STREAM, 0, 1, CANCELLED),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_floods_end(flood: bytes) -> None:
    codec = http2.server_codec()
    codec.feed(request(POST, end=False))
    size = max(1, 65_536 // len(flood))
    reads = 0
    while not codec.closed:
        codec.feed(flood * size)
        frames = http2.sent(codec)
        reads += 1
        assert reads * size < 3 * MAX_NOISE + size
    assert frames[-1].type == http2.GOAWAY
    assert frames[-1].code() in (http2.ENHANCE_YOUR_CALM, http2.INTERNAL_ERROR)


@pytest.mark.parametrize("name", ["PING", "PING acknowledgements", "SETTINGS", "WINDOW_UPDATE", "unknown frames"])
def test_floods_by_a_server_end_too(name: str) -> None:
    codec = http2.client_codec()
    codec.send_request(RequestHead(b"GET", b"/", b"svc", []))
    codec.output()
    size = max(1, 65_536 // len(FLOODS[name]))
    fed = 0
    while not codec.closed:
        codec.feed(FLOODS[name] * size)
        codec.output()
        fed += size
        assert fed < 3 * MAX_NOISE + size


@pytest.mark.parametrize("name", ["PING", "SETTINGS", "empty SETTINGS"])
def test_floods_by_a_client_that_does_not_read_end_sooner(name: str) -> None:
    codec = http2.server_codec()
    fed = 0
    while not codec.closed:  # no output is taken
        codec.feed(FLOODS[name] * 100)
        fed += 100
        assert fed <= 1_100
    assert http2.sent(codec)[-1].code() == http2.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("padding", [b"", b"\x05\0\0\0\0\0"], ids=["empty", "padding only"])
def test_empty_data_ends(padding: bytes) -> None:
    codec = http2.server_codec()
    codec.feed(request(POST, end=False))
    empty = frame(http2.DATA, http2.PADDED if padding else 0, 1, padding)
    reads = 0
    while not codec.closed:
        assert codec.feed(empty * 1_000) == []
        codec.output()
        reads += 1
        assert reads <= 20


@pytest.mark.parametrize("interval", [1, 3])
def test_frames_between_requests_are_no_flood(interval: int) -> None:
    codec = http2.server_codec()
    for stream in range(1, 30_001, 2):
        data = frame(http2.PING, 0, 0, b"12345678") * interval + frame(http2.WINDOW_UPDATE, 0, 0, number(1))
        codec.feed(data + request(stream=stream))
        codec.send_response(stream, ResponseHead(200, []))
        codec.output()
    assert not codec.closed


def test_too_many_settings_in_one_frame() -> None:
    codec = http2.server_codec()
    codec.feed(frame(http2.SETTINGS, 0, 0, setting(9, 1) * 33))
    assert http2.sent(codec)[-1].code() == http2.ENHANCE_YOUR_CALM


def test_a_bomb_of_references_to_one_large_field() -> None:
    codec = http2.server_codec()
    first = http2.plain_block(POST) + b"\x40" + http2.text(b"a") + http2.text(b"b" * 4_000)
    codec.feed(frame(http2.HEADERS, http2.END_HEADERS, 1, first))
    bomb = http2.plain_block(POST) + b"\xbe" * 16_000
    assert codec.feed(frame(http2.HEADERS, http2.END_HEADERS, 3, bomb)) == []
    assert http2.sent(codec)[-1].code() == http2.ENHANCE_YOUR_CALM
    assert codec.closed


def test_thousands_of_cookie_crumbs_are_refused() -> None:
    codec = http2.server_codec()
    block = http2.plain_block(POST) + b"\x40\x06cookie\x03a=b" + b"\xbe" * 3_000
    assert codec.feed(frame(http2.HEADERS, 5, 1, block)) == []


def test_hundreds_of_cookie_crumbs_weigh_as_a_head_that_is_too_large() -> None:
    codec = http2.server_codec()

    def crumbs(count: int) -> bytes:
        return frame(http2.HEADERS, 5, 1, http2.plain_block(POST) + b"\x40\x06cookie\x03a=b" + b"\xbe" * (count - 1))

    ((_, head),) = [each for each in codec.feed(crumbs(MAX_CRUMBS)) if isinstance(each[1], RequestHead)]
    assert isinstance(head, RequestHead)
    assert head.get(b"cookie") == b"; ".join([b"a=b"] * MAX_CRUMBS)
    source = per_stream(crumbs(MAX_CRUMBS + 1))
    next(source)
    assert reads_until_closed(codec, source, 1_000) <= MAX_CUT_STREAMS // OVERSIZE_WEIGHT + 1


def test_heads_that_are_too_large_weigh_more() -> None:
    codec = http2.server_codec()
    large = request(with_fields(*[(b"a", b"b")] * 101))
    assert reads_until_closed(codec, per_stream(large), 1_000) <= MAX_CUT_STREAMS // OVERSIZE_WEIGHT + 1


def test_a_window_of_zero_keeps_what_waits_in_sight() -> None:
    codec = http2.server_codec(setting(4, 0))
    for stream in range(1, 2 * MAX_STREAMS, 2):
        codec.feed(request(stream=stream))
        codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
        codec.send_data(stream, bytes(1_000))
    output = codec.output()
    assert len(output) < 100 * MAX_STREAMS
    assert {codec.queued(stream) for stream in range(1, 2 * MAX_STREAMS, 2)} == {1_000}


def test_a_client_cannot_send_more_than_its_window() -> None:
    codec = http2.server_codec()
    codec.feed(request(POST, end=False))
    events = [event for _ in range(5) for _, event in codec.feed(frame(http2.DATA, 0, 1, bytes(16_384)))]
    assert sum(len(event) for event in events if isinstance(event, bytes)) <= STREAM_WINDOW
    assert isinstance(events[-1], Reset)
    assert any(f.code() == http2.FLOW_CONTROL_ERROR for f in http2.sent(codec))


def test_answers_that_cross_a_cancellation_are_daily_life() -> None:
    codec = http2.client_codec()
    answer = http2.plain_block([(b":status", b"200")])
    for _ in range(3_000):
        stream = codec.send_request(RequestHead(b"GET", b"/", b"svc", []))
        codec.output()
        codec.reset(stream, CANCEL)
        codec.output()
        assert codec.feed(frame(http2.HEADERS, 5, stream, answer)) == []
    codec.output()
    assert not codec.closed
