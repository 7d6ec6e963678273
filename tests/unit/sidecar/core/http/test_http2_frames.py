"""The frames that the codec looks at itself: found wherever reads are cut, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.http.http2 import PREFACE, Http2Codec
from sidecar.core.http.http2_events import Reset
from sidecar.core.http.http2_frames import MAX_UNENDED, PREFACE_BYTES, FrameScanner, Mark, Offence, Piece, Update
from sidecar.core.http.messages import ResponseHead
from tests.support.wire import http2
from tests.support.wire.http2 import CANCEL, POST, frame, number, request

END = frame(http2.DATA, http2.END_STREAM, 1, b"end")
RESET = frame(http2.RST_STREAM, 0, 1, number(CANCEL))
OPEN = request(POST, 1, end=False)


def scanned(*reads: bytes, is_client: bool = True) -> list[str | bytes]:
    """What is marked in these reads of a peer; data as it is put together, and where its stream ends."""
    scanner = FrameScanner(is_client)
    found: list[str | bytes] = []
    for read in (PREFACE, *reads) if is_client else reads:
        data = scanner.join(read)
        for mark in scanner.scan(data):
            found += shown(mark, data)
            if isinstance(mark, Offence):
                return found
    return found


def shown(mark: Mark, data: bytes) -> list[str | bytes]:
    """A mark to compare; the pieces of one frame become single bytes, so that it is the same however it was cut."""
    if isinstance(mark, Offence):
        return [f"{mark.fault.name} {mark.stream}"]
    if isinstance(mark, Update):
        return [f"window {mark.stream} {mark.increment}"]
    assert isinstance(mark, Piece)
    whole: list[str | bytes] = [f"data {mark.stream}"] if mark.is_first else []
    whole += [data[at : at + 1] for at in range(mark.begin, mark.end)]
    return [*whole, f"end {mark.stream}"] if mark.ends_stream else whole


def offences(*reads: bytes) -> list[str | bytes]:
    """What is wrong in these reads of a client."""
    return [found for found in scanned(*reads) if isinstance(found, str) and found[0].isupper()]


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
    "a reserved bit": (request() + frame(http2.DATA, 0, 1 | 1 << 31, b"x"), "ENDED 1"),
}


@pytest.mark.parametrize(("data", "found"), BAD.values(), ids=BAD)
def test_something_is_wrong_with(data: bytes, found: str) -> None:
    assert offences(data) == [found]


MARKED = {
    "data": (frame(http2.DATA, 0, 1, b"ab"), ["data 1", b"a", b"b"]),
    "data that ends its stream": (END, ["data 1", b"e", b"n", b"d", "end 1"]),
    "an end without data": (frame(http2.DATA, http2.END_STREAM, 1), ["data 1", "end 1"]),
    "data without anything": (frame(http2.DATA, 0, 1), ["data 1"]),
    "padded data": (frame(http2.DATA, http2.PADDED, 1, b"\x02ab\x00\x00"), ["data 1", b"a", b"b"]),
    "nothing but padding": (frame(http2.DATA, http2.PADDED | http2.END_STREAM, 1, b"\x01\x00"), ["data 1", "end 1"]),
    "a window": (frame(http2.WINDOW_UPDATE, 0, 1, number(7)), ["window 1 7"]),
    "the connection's window": (frame(http2.WINDOW_UPDATE, 0, 0, number(2**31 - 1)), [f"window 0 {2**31 - 1}"]),
}
LEFT = {
    "data of no stream": frame(http2.DATA, 0, 0, b"x"),
    "more padding than there is": frame(http2.DATA, http2.PADDED, 1, b"\x02ab"[:2]),
    "padding of nothing": frame(http2.DATA, http2.PADDED, 1),
    "a frame that is too large": frame(http2.DATA, 0, 1, bytes(16_385)),
    "a window opened by nothing": frame(http2.WINDOW_UPDATE, 0, 1, number(0)),
    "a window of another size": frame(http2.WINDOW_UPDATE, 0, 1, bytes(5)),
    "data in a field block": frame(http2.HEADERS, 0, 1) + frame(http2.DATA, 0, 1, b"x"),
    "other frames": frame(http2.PING, 0, 0, bytes(8)) + frame(http2.SETTINGS) + frame(http2.GOAWAY, 0, 0, bytes(8)),
}


@pytest.mark.parametrize(("data", "found"), MARKED.values(), ids=MARKED)
def test_marked_is(data: bytes, found: list[str | bytes]) -> None:
    assert scanned(OPEN + data) == found
    assert scanned(data, is_client=False) == found


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_left_to_libnghttp2_is(data: bytes) -> None:
    assert scanned(OPEN + data) == []
    assert scanned(data, is_client=False) == []


def test_a_server_is_not_judged() -> None:
    assert scanned(request() + END + END, is_client=False) == 2 * ["data 1", b"e", b"n", b"d", "end 1"]


PARTS = [data for data, _ in BAD.values()] + [data for data, _ in MARKED.values()] + list(GOOD.values())


@given(st.lists(st.sampled_from(PARTS), max_size=6), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_any_split_finds_the_same(parts: list[bytes], is_client: bool, draw: st.DataObject) -> None:
    data = b"".join(parts)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    reads = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = scanned(data, is_client=is_client)
    assert scanned(*reads, is_client=is_client) == whole
    assert scanned(*(data[n : n + 1] for n in range(len(data))), is_client=is_client) == whole


@given(st.lists(st.sampled_from(PARTS + list(LEFT.values())), max_size=6), st.data())
@settings(max_examples=40, deadline=None)
def test_every_byte_is_scanned_once(parts: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(parts)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    scanner = FrameScanner(is_client=False)
    seen = b""
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        read = scanner.join(data[start:end])
        scanner.scan(read)
        seen += read[: scanner.scanned]
    assert data.startswith(seen)
    assert len(data) - len(seen) < 16_384 + 9


def test_streams_that_nobody_ends_are_judged_no_more_when_there_are_too_many() -> None:
    scanner = FrameScanner()
    scanner.scan(PREFACE)
    assert isinstance(scanner.scan(request() + END)[-1], Offence)
    last = 2 * MAX_UNENDED + 3
    for stream in range(3, last + 2, 2):
        scanner.scan(request(POST, stream, end=False))
    assert not isinstance(scanner.scan(END)[-1], Offence)
    assert isinstance(scanner.scan(request(stream=last + 2) + frame(http2.DATA, 0, last + 2, b"x"))[-1], Offence)


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
