"""Bodies past libnghttp2: what is sent within the peer's windows, and what the peer may send within ours."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.http.http2_bodies import INITIAL_WINDOW, Bodies, Body, Sending, Way
from sidecar.core.http.http2_frames import MAX_FRAME_BYTES
from sidecar.core.http.http2_limits import CONNECTION_WINDOW, MAX_OUTPUT_BYTES, MAX_WINDOW, STREAM_WINDOW
from tests.support.wire import http2
from tests.support.wire.http2 import Frame, number

MIB = 1 << 20


def written(bodies: Bodies, room: int = MAX_OUTPUT_BYTES) -> list[Frame]:
    """The frames that are written now."""
    out: list[bytes] = []
    bodies.write(out, room)
    found, rest = http2.parse(b"".join(out))
    assert rest == b""
    return found


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    """Streams and lengths of DATA frames."""
    return [(each.stream, len(each.payload)) for each in frames]


def two() -> tuple[Bodies, Body, Body]:
    """Two streams that may be written."""
    bodies = Bodies()
    return bodies, bodies.open(1, is_begun=True), bodies.open(3, is_begun=True)


# Out.


def test_streams_take_turns_in_frames_that_every_peer_takes() -> None:
    bodies, first, second = two()
    bodies.send(first, bytes(20_000))
    bodies.send(second, bytes(20_000))
    assert sizes(written(bodies)) == [
        (1, MAX_FRAME_BYTES),
        (3, MAX_FRAME_BYTES),
        (1, 20_000 - MAX_FRAME_BYTES),
        (3, 3_616),
    ]


def test_pieces_become_one_frame_and_one_piece_becomes_several() -> None:
    bodies, first, _ = two()
    parts = [bytes((n,)) * size for n, size in enumerate((3, 40_000, 1, 1))]
    for part in parts:
        bodies.send(first, part)
    frames = written(bodies)
    assert [size for _, size in sizes(frames)] == [MAX_FRAME_BYTES, MAX_FRAME_BYTES, 40_005 - 2 * MAX_FRAME_BYTES]
    assert b"".join(each.payload for each in frames) == b"".join(parts)


def test_a_shut_window_stops_its_stream_and_no_other() -> None:
    bodies, first, second = two()
    bodies.resize(10)
    bodies.send(first, bytes(25))
    bodies.send(second, bytes(10))
    assert sizes(written(bodies)) == [(1, 10), (3, 10)]
    assert written(bodies) == []
    assert bodies.widen_stream(first, 7)
    assert sizes(written(bodies)) == [(1, 7)]
    assert first.queued == 8


def test_a_window_can_be_less_than_nothing() -> None:
    bodies, first, _ = two()
    bodies.send(first, bytes(100))
    written(bodies)
    bodies.resize(0)
    bodies.send(first, b"x")
    assert bodies.widen_stream(first, 100)
    assert written(bodies) == []
    assert bodies.widen_stream(first, 1)
    assert sizes(written(bodies)) == [(1, 1)]


def test_the_connections_window_is_shared() -> None:
    bodies, first, second = two()
    bodies.resize(MAX_WINDOW)
    bodies.send(first, bytes(INITIAL_WINDOW - 5))
    bodies.send(second, bytes(10))
    assert sum(size for _, size in sizes(written(bodies, MIB))) == INITIAL_WINDOW
    assert first.queued + second.queued == 5
    assert bodies.widen(5)
    assert sum(size for _, size in sizes(written(bodies))) == 5


def test_an_end_waits_for_what_precedes_it_and_for_no_window() -> None:
    bodies, first, second = two()
    bodies.resize(0)
    bodies.send(first, b"x")
    bodies.end(first, [])
    bodies.end(second, [])
    written(bodies)
    assert bodies.ending == [second]
    bodies.widen_stream(first, 1)
    written(bodies)
    assert bodies.ending == [second, first]


def test_an_end_waits_for_no_window_of_the_connection() -> None:
    bodies, first, second = two()
    bodies.resize(MAX_WINDOW)
    bodies.send(first, bytes(2 * INITIAL_WINDOW))
    written(bodies, MIB)
    bodies.end(second, [])
    written(bodies)
    assert bodies.ending == [second]


def test_nothing_is_written_before_its_head() -> None:
    bodies = Bodies()
    first, second = bodies.open(1, is_begun=False), bodies.open(3, is_begun=True)
    bodies.send(first, b"x")
    bodies.end(first, [])
    bodies.send(second, b"y")
    assert sizes(written(bodies)) == [(3, 1)]
    assert bodies.ending == []
    first.is_begun = True
    assert sizes(written(bodies)) == [(1, 1)]
    assert bodies.ending == [first]


def test_what_is_over_sends_nothing() -> None:
    bodies, first, _ = two()
    bodies.send(first, b"x")
    bodies.close(1)
    bodies.send(first, b"y")
    bodies.end(first, [])
    assert written(bodies) == []
    assert (len(bodies), bodies.ending, bodies.wants_write()) == (1, [], False)


@pytest.mark.parametrize("increment", [MAX_WINDOW - INITIAL_WINDOW, MAX_WINDOW - INITIAL_WINDOW + 1])
def test_windows_have_a_largest_size(increment: int) -> None:
    bodies, first, _ = two()
    fits = increment + INITIAL_WINDOW <= MAX_WINDOW
    assert bodies.widen(increment) is fits
    assert bodies.widen_stream(first, increment) is fits
    assert bodies.resize(INITIAL_WINDOW + 1) is False


ACTIONS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from((1, 3, 5)), st.integers(0, 40_000)),
    st.tuples(st.just("widen"), st.sampled_from((0, 1, 3, 5)), st.integers(1, 70_000)),
    st.tuples(st.just("resize"), st.just(0), st.integers(0, 100_000)),
    st.tuples(st.just("end"), st.sampled_from((1, 3, 5)), st.just(0)),
    st.tuples(st.just("close"), st.sampled_from((3,)), st.just(0)),
    st.tuples(st.just("write"), st.just(0), st.integers(1, MAX_OUTPUT_BYTES)),
)


@given(st.lists(ACTIONS, max_size=20))
@settings(max_examples=40, deadline=None)
def test_windows_are_kept_and_all_arrives_in_order_once_they_are_open(actions: list[tuple[str, int, int]]) -> None:
    bodies = Bodies()
    streams = {stream: bodies.open(stream, is_begun=True) for stream in (1, 3, 5)}
    windows = dict.fromkeys((0, 1, 3, 5), INITIAL_WINDOW)
    initial = INITIAL_WINDOW
    sent = dict.fromkeys(streams, b"")
    arrived = dict.fromkeys(streams, b"")
    count = 0

    def arrive(room: int) -> None:
        for each in written(bodies, room):
            arrived[each.stream] += each.payload
            for key in (0, each.stream):
                windows[key] -= len(each.payload)
                assert windows[key] >= 0

    for what, stream, value in actions:
        if what == "send":
            count += 1
            data = bytes((count,)) * value
            if streams[stream].sending is Sending.OPEN:
                sent[stream] += data
            bodies.send(streams[stream], data)
        elif what == "widen":
            windows[stream] += value
            assert bodies.widen_stream(streams[stream], value) if stream else bodies.widen(value)
        elif what == "resize":
            for key in streams:
                windows[key] += value - initial
            initial = value
            assert bodies.resize(value)
        elif what == "end":
            bodies.end(streams[stream], [])
        elif what == "close":
            bodies.close(stream)
        else:
            arrive(value)
    for key in (0, 1, 3, 5):
        windows[key] += 10 * MIB
    bodies.widen(10 * MIB)
    for body in streams.values():
        bodies.widen_stream(body, 10 * MIB)
    arrive(10 * MIB)
    for stream, body in streams.items():
        if not body.is_over:
            assert arrived[stream] == sent[stream]
            assert (body in bodies.ending) == (body.sending is Sending.ENDED)
        assert sent[stream].startswith(arrived[stream])


def test_a_short_body_that_is_whole_is_lent() -> None:
    bodies, first, second = two()
    bodies.send(first, b"a")
    bodies.send(first, b"b")
    assert bodies.lend(first, INITIAL_WINDOW) == b"ab"
    assert bodies.lend(second, INITIAL_WINDOW) == b""
    assert (bodies.lent, first.window, written(bodies), bodies.ending) == (2, INITIAL_WINDOW - 2, [], [])
    assert bodies.ended() == [1, 3]


def test_what_is_lent_is_paid_as_far_as_it_was_sent() -> None:
    bodies, first, second = two()
    bodies.send(first, bytes(MAX_FRAME_BYTES))
    bodies.lend(first, INITIAL_WINDOW)
    bodies.repay(MAX_FRAME_BYTES - 1, 0)
    bodies.resize(MAX_WINDOW)
    bodies.send(second, bytes(2 * INITIAL_WINDOW))
    assert sum(size for _, size in sizes(written(bodies, MIB))) == INITIAL_WINDOW - MAX_FRAME_BYTES + 1


def refused(initial: int = INITIAL_WINDOW, count: int = 1, room: int = INITIAL_WINDOW, before: int = 0) -> bool:
    """Whether a body of so many bytes is not lent; other bodies took some of the connection's window before."""
    bodies, first, second = two()
    bodies.send(second, bytes(before))
    written(bodies, MIB)
    bodies.resize(initial)
    bodies.send(first, bytes(count))
    return bodies.lend(first, room) is None


def test_nothing_is_lent_that_is_long_or_does_not_fit_into_a_window() -> None:
    assert refused(count=MAX_FRAME_BYTES + 1)
    assert refused(initial=99, count=100)
    assert refused(room=99, count=100)
    assert refused(before=INITIAL_WINDOW - 99, count=100)
    assert not refused(initial=100, count=100, room=100, before=INITIAL_WINDOW - 100)


def test_nothing_is_lent_of_what_was_begun() -> None:
    bodies, first, _ = two()
    bodies.send(first, b"x")
    written(bodies)
    bodies.send(first, b"x")
    assert bodies.lend(first, INITIAL_WINDOW) is None


# In.


def taking() -> tuple[Bodies, Body]:
    """A stream on which data comes."""
    bodies = Bodies()
    body = bodies.open(1, is_begun=True)
    body.way = Way.OURS
    return bodies, body


def test_a_stream_window_is_opened_again_at_half() -> None:
    bodies, body = taking()
    assert bodies.take(body, STREAM_WINDOW)
    assert bodies.acknowledge(1, STREAM_WINDOW // 2)
    assert written(bodies) == []
    assert bodies.acknowledge(1, 1)
    assert [(each.stream, each.payload) for each in written(bodies)] == [(1, number(STREAM_WINDOW // 2 + 1))]


def test_more_than_a_streams_window_is_found() -> None:
    bodies, body = taking()
    assert bodies.take(body, STREAM_WINDOW)
    assert not bodies.take(body, 1)


def test_the_connections_window_is_opened_again_at_a_quarter_and_a_stream_that_ended_is_not() -> None:
    bodies, body = taking()
    body.way = Way.LIBRARY
    for _ in range(CONNECTION_WINDOW // STREAM_WINDOW):
        bodies.take(body, STREAM_WINDOW)
        bodies.acknowledge(1, STREAM_WINDOW)
    updates = [(each.stream, int.from_bytes(each.payload, "big")) for each in written(bodies)]
    assert updates == [(0, CONNECTION_WINDOW // 4)] * 4


def test_a_body_that_is_over_is_remembered_until_it_is_acknowledged() -> None:
    bodies, body = taking()
    bodies.take(body, 10)
    bodies.close(1)
    assert bodies.acknowledge(1, 10)
    assert len(bodies) == 0
    assert not bodies.acknowledge(1, 10)
    assert bodies.outstanding() == 10  # the peer has not been told of it, but will be


def test_what_comes_of_a_body_that_is_over_is_given_back_at_once() -> None:
    bodies, body = taking()
    bodies.take(body, 1)
    bodies.close(1)
    for _ in range(CONNECTION_WINDOW // STREAM_WINDOW):
        assert bodies.take(body, STREAM_WINDOW)
    assert len(written(bodies)) == 4
