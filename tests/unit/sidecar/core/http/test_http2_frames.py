"""Frames of a client that libnghttp2 passes over: found wherever reads are cut, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.http.http2 import PREFACE, Http2Codec
from sidecar.core.http.http2_events import Reset
from sidecar.core.http.http2_frames import LARGE_INCREMENT, MAX_OFFENCES, MAX_UNENDED, PREFACE_BYTES, FrameScanner
from sidecar.core.http.messages import ResponseHead
from tests.support.wire import http2
from tests.support.wire.http2 import CANCEL, POST, frame, number, request

END = frame(http2.DATA, http2.END_STREAM, 1, b"end")
RESET = frame(http2.RST_STREAM, 0, 1, number(CANCEL))
OPEN = request(POST, 1, end=False)


def offences(*reads: bytes) -> list[str]:
    """What is found in these reads of a client."""
    scanner = FrameScanner()
    found = scanner.scan(PREFACE)
    for read in reads:
        found += scanner.scan(read)
    return [f"{offence.fault.name} {offence.stream}" for offence in found]


def test_the_preface_is_passed() -> None:
    assert len(PREFACE) == PREFACE_BYTES


GOOD = {
    "trailers": OPEN + frame(http2.DATA, 0, 1, b"x") + request([(b"x", b"y")], 1),
    "a reset of what is ended": request() + RESET + RESET,
    "a window of what is ended": request() + frame(http2.WINDOW_UPDATE, 0, 1, number(1)),
    "any window of the connection": frame(http2.WINDOW_UPDATE, 0, 0, number(2**31 - 1)),
    "priority of what is ended": request() + frame(http2.PRIORITY, 0, 1, number(3) + b"x"),
    "priority too short to read": frame(http2.PRIORITY, 0, 0, b"") + frame(http2.PING, 0, 0, bytes(8)),
    "frames on no stream": frame(http2.DATA, 0, 0, b"x") + request(stream=0),
    "data before a head": frame(http2.DATA, 0, 1, b"x"),
    "identifiers that are skipped": request(stream=1) + request(stream=9) + request(stream=2**31 - 1),
    "a continuation": frame(http2.HEADERS, http2.END_STREAM, 1) + frame(http2.CONTINUATION, http2.END_HEADERS, 1),
    "data in a field block, which libnghttp2 refuses": frame(http2.HEADERS, http2.END_STREAM, 1) + END,
    "flags of other frames": OPEN + frame(http2.PING, http2.ACK, 1, bytes(8)) + frame(http2.DATA, 0, 1, b"x"),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_nothing_is_wrong_with(data: bytes) -> None:
    assert offences(data) == []


BAD = {
    "data behind the end": (OPEN + END + END, "ENDED 1"),
    "data behind a head that ends": (request() + END, "ENDED 1"),
    "data behind trailers": (OPEN + request([(b"x", b"y")], 1) + END, "ENDED 1"),
    "data behind a reset": (OPEN + RESET + END, "ENDED 1"),
    "a head behind the end": (request() + request(), "ENDED 1"),
    "a head on a stream that was skipped": (request(stream=5) + request(stream=3), "SKIPPED 3"),
    "data on a stream that was skipped": (request(stream=5) + END, "ENDED 1"),
    "priority of no stream": (frame(http2.PRIORITY, 0, 0, number(1) + b"x"), "PRIORITY 0"),
    "a stream that depends on itself": (frame(http2.PRIORITY, 0, 7, number(7 | 1 << 31) + b"x"), "PRIORITY 7"),
    "a large increment": (OPEN + frame(http2.WINDOW_UPDATE, 0, 1, number(LARGE_INCREMENT)), "INCREMENT 1"),
    "a reserved bit": (request() + frame(http2.DATA, 0, 1 | 1 << 31, b"x"), "ENDED 1"),
}


@pytest.mark.parametrize(("data", "found"), BAD.values(), ids=BAD)
def test_something_is_wrong_with(data: bytes, found: str) -> None:
    assert offences(data) == [found]


@given(st.lists(st.sampled_from([data for data, _ in BAD.values()] + list(GOOD.values())), max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_any_split_finds_the_same(parts: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(parts)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    reads = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert offences(*reads) == offences(data) == offences(*(data[n : n + 1] for n in range(len(data))))


@pytest.mark.parametrize("cut", range(14))
def test_what_comes_before_an_offence_does_not_complete_its_frame(cut: int) -> None:
    scanner = FrameScanner()
    update = frame(http2.WINDOW_UPDATE, 0, 1, number(2**31 - 1))
    first = PREFACE + OPEN + update[:cut]
    found = scanner.scan(first) + scanner.scan(update[cut:])
    assert [offence.at for offence in found] == [len(PREFACE + OPEN) + 12 if cut == 13 else 12 - cut]


def test_offences_of_one_read_are_bounded() -> None:
    scanner = FrameScanner()
    assert len(scanner.scan(PREFACE + request() + END * 1_000)) == MAX_OFFENCES


def test_streams_that_nobody_ends_are_judged_no_more_when_there_are_too_many() -> None:
    scanner = FrameScanner()
    scanner.scan(PREFACE)
    assert scanner.scan(request() + END) != []
    last = 2 * MAX_UNENDED + 3
    for stream in range(3, last + 2, 2):
        scanner.scan(request(POST, stream, end=False))
    assert scanner.scan(END) == []
    assert scanner.scan(request(stream=last + 2) + frame(http2.DATA, 0, last + 2, b"x")) != []


# The codec's answers.


def errors(codec: Http2Codec) -> list[tuple[int, int, int]]:
    """Type, stream and code of the errors it sends."""
    wanted = (http2.RST_STREAM, http2.GOAWAY)
    return [(found.type, found.stream, found.code()) for found in http2.sent(codec) if found.type in wanted]


def answered(data: bytes) -> Http2Codec:
    """A server's codec that has read this and answered the first stream."""
    codec = http2.server_codec()
    codec.feed(data)
    codec.send_response(1, ResponseHead(200, []))
    codec.output()
    return codec


def test_data_on_a_stream_that_is_over_ends_the_connection_and_says_why() -> None:
    codec = answered(request())
    assert codec.feed(END) == []
    assert errors(codec) == [(http2.GOAWAY, 0, http2.STREAM_CLOSED)]
    assert codec.closed
    assert codec.take_complaint() == "frames of a stream that its client had ended"


def test_what_came_before_is_still_told() -> None:
    codec = answered(request())
    events = codec.feed(request(stream=3) + request(stream=1) + request(stream=5))
    assert {stream for stream, _ in events} == {3}


def test_late_frames_of_a_stream_that_we_reset_are_passed_over() -> None:
    codec = answered(OPEN)
    codec.reset(1, CANCEL)
    codec.output()
    assert codec.feed(frame(http2.DATA, 0, 1, b"late") + request([(b"x", b"y")], 1)) == []
    assert errors(codec) == []
    assert not codec.closed


@pytest.mark.parametrize("cut", [0, 5, 9, 12])
def test_a_window_that_would_be_too_large_costs_only_its_stream(cut: int) -> None:
    codec = answered(request(stream=1) + request(stream=3))
    update = frame(http2.WINDOW_UPDATE, 0, 3, number(2**31 - 1))
    events = codec.feed(update[:cut]) + codec.feed(update[cut:])
    assert [(stream, type(event)) for stream, event in events] == [(3, Reset)]
    assert errors(codec) == [(http2.RST_STREAM, 3, http2.FLOW_CONTROL_ERROR)]
    assert len(codec.feed(request(stream=5))) == 2


def test_a_window_as_large_as_it_may_be_is_taken() -> None:
    codec = http2.server_codec()
    codec.feed(OPEN + frame(http2.WINDOW_UPDATE, 0, 1, number(2**31 - 1 - 65_535)))
    assert errors(codec) == []
    assert not codec.closed
