"""Bodies on open streams, at the codec: what goes past libnghttp2, what is left to it, and the order of both."""

from __future__ import annotations

import pytest

from sidecar.core.http.http2 import PREFACE, Http2Codec
from sidecar.core.http.http2_bodies import INITIAL_WINDOW
from sidecar.core.http.http2_events import FLOW_CONTROL_ERROR, Reset
from sidecar.core.http.http2_frames import MAX_FRAME_BYTES
from sidecar.core.http.http2_limits import CONNECTION_WINDOW, MAX_WINDOW, STREAM_WINDOW
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead
from tests.support.wire import http2
from tests.support.wire.http2 import GET, POST, Link, frame, number, request, setting, told, with_fields


def streaming() -> tuple[Link, int]:
    """A call that is open both ways."""
    link = Link()
    stream = link.client.send_request(RequestHead(b"POST", b"/", b"svc", [], UNKNOWN_LENGTH))
    link.take_server()
    link.server.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
    link.take_client()
    return link, stream


def test_messages_go_both_ways_on_an_open_call() -> None:
    link, stream = streaming()
    for n in range(5):
        link.client.send_data(stream, b"%d" % n)
        assert told(link.take_server()) == [(stream, "data", b"%d" % n)]
        link.server.send_data(stream, b"%d" % -n)
        assert told(link.take_client()) == [(stream, "data", b"%d" % -n)]
    link.client.send_end(stream, [])
    assert told(link.take_server()) == [(stream, "end", ())]
    link.server.send_data(stream, b"last")
    link.server.send_end(stream, [(b"grpc-status", b"0")])
    assert told(link.take_client()) == [(stream, "data", b"last"), (stream, "end", ((b"grpc-status", b"0"),))]


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_frame_of_a_body_can_be_cut_anywhere(cut: int) -> None:
    codec = http2.server_codec()
    codec.feed(request(POST, end=False))
    data = frame(http2.DATA, http2.END_STREAM, 1, b"abc")
    events = codec.feed(data[:cut]) + codec.feed(data[cut:])
    assert told(events) == [(1, "data", b"abc"), (1, "end", ())]


def test_padding_is_taken_off_and_given_back() -> None:
    codec = http2.server_codec()
    codec.feed(request(POST, end=False))
    codec.output()
    padded = frame(http2.DATA, http2.PADDED, 1, b"\xff" + b"x" + bytes(255))
    for _ in range(STREAM_WINDOW // 256):
        assert codec.feed(padded) == [(1, b"x")]
        codec.acknowledge(1, 1)
    assert {each.stream for each in http2.sent(codec) if each.type == http2.WINDOW_UPDATE} == {1}


def test_data_of_a_length_that_was_not_announced_is_still_found() -> None:
    codec = http2.server_codec()
    codec.feed(request(with_fields((b"content-length", b"0"), base=POST), end=False))
    events = codec.feed(frame(http2.DATA, http2.END_STREAM, 1, b"x"))
    assert not any(isinstance(event, bytes) for _, event in events)
    assert [each.type for each in http2.sent(codec)] == [http2.RST_STREAM]


def test_a_request_and_its_body_in_one_read_are_told_in_order() -> None:
    codec = http2.server_codec()
    read = b"".join(
        request(POST, stream, end=False) + frame(http2.DATA, http2.END_STREAM, stream, b"%d" % stream)
        for stream in (1, 3, 5)
    )
    events = codec.feed(read)
    for stream in (1, 3, 5):
        assert [type(event) for at, event in events if at == stream] == [RequestHead, bytes, End]


def test_data_behind_an_answers_end_is_refused() -> None:
    link, stream = streaming()
    link.server.send_end(stream, [(b"x", b"y")])
    answer = link.server.output()
    events = link.client.feed(answer + frame(http2.DATA, 0, stream, b"late"))
    assert not any(isinstance(event, bytes) for _, event in events)


def test_a_short_answer_is_one_frame_with_its_end() -> None:
    link, stream = streaming()
    link.server.send_data(stream, b"x")
    link.server.send_end(stream, [])
    (only,) = http2.sent(link.server)
    assert (only.type, only.payload, only.ends_stream()) == (http2.DATA, b"x", True)


@pytest.mark.parametrize("cut", range(1, 70))
def test_an_answer_with_trailers_can_be_cut_anywhere(cut: int) -> None:
    link = Link()
    stream = link.client.send_request(RequestHead(b"POST", b"/", b"svc", [], UNKNOWN_LENGTH))
    link.take_server()
    link.server.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
    link.server.send_data(stream, b"abc")
    link.server.send_end(stream, [(b"grpc-status", b"0")])
    answer = link.server.output()
    head, *rest = told(link.client.feed(answer[:cut]) + link.client.feed(answer[cut:]))
    assert isinstance(head, tuple)
    assert head[:3] == (stream, "response", 200)
    assert rest == [(stream, "data", b"abc"), (stream, "end", ((b"grpc-status", b"0"),))]


@pytest.mark.parametrize("trailers", [[], [(b"grpc-status", b"0")]])
@pytest.mark.parametrize("size", [0, 1, 10_000, MAX_FRAME_BYTES, MAX_FRAME_BYTES + 1, 40_000])
def test_any_number_of_answers_fits_into_the_windows_that_the_client_opens(size: int, trailers: Fields) -> None:
    link = Link()
    body = bytes(size)
    for _ in range(1 + 300_000 // (size + 1_000)):
        streams = [link.client.send_request(RequestHead(b"GET", b"/", b"svc", [])) for _ in range(3)]
        link.take_server()
        for stream in streams:
            length = UNKNOWN_LENGTH if trailers or not size else size
            link.server.send_response(stream, ResponseHead(200, [], length))
            link.server.send_data(stream, body)
            link.server.send_end(stream, trailers)
        came = dict.fromkeys(streams, b"")
        ends = 0
        while ends < len(streams):
            events = link.take_client()
            assert events
            for stream, event in events:
                if isinstance(event, bytes):
                    came[stream] += event
                    link.client.acknowledge(stream, len(event))
                ends += isinstance(event, End)
        assert set(came.values()) == {body}


def test_what_was_left_to_libnghttp2_goes_out_though_the_windows_are_shut_meanwhile() -> None:
    link, stream = streaming()
    link.server.send_data(stream, b"fits")
    link.server.send_end(stream, [])
    link.server.feed(frame(http2.SETTINGS, 0, 0, setting(4, 0)))
    assert [each.payload for each in http2.sent(link.server) if each.type == http2.DATA] == [b"fits"]


def test_a_short_request_goes_out_once_a_window_that_shrank_is_opened() -> None:
    codec = http2.client_codec()
    stream = codec.send_request(RequestHead(b"POST", b"/", b"svc", [], 10))
    codec.send_data(stream, bytes(10))
    codec.send_end(stream, [])
    codec.feed(frame(http2.SETTINGS, 0, 0, setting(4, 5)))
    codec.output()
    codec.feed(frame(http2.WINDOW_UPDATE, 0, stream, number(5)))
    assert [(len(each.payload), each.ends_stream()) for each in http2.sent(codec)] == [(5, True)]
    large = codec.send_request(RequestHead(b"POST", b"/", b"svc", [], UNKNOWN_LENGTH))
    codec.feed(frame(http2.WINDOW_UPDATE, 0, large, number(MAX_WINDOW - 5)))
    codec.send_data(large, bytes(2 * INITIAL_WINDOW))
    frames = http2.sent(codec) + http2.sent(codec)
    assert sum(len(each.payload) for each in frames if each.type == http2.DATA) == INITIAL_WINDOW - 10


def test_an_end_goes_out_though_the_peers_windows_are_shut() -> None:
    link, stream = streaming()
    link.server.feed(frame(http2.SETTINGS, 0, 0, setting(4, 0)))
    link.server.send_data(stream, b"waits")
    link.server.send_end(stream, [(b"grpc-status", b"0")])
    assert [each.type for each in http2.sent(link.server)] == [http2.SETTINGS]
    link.server.feed(frame(http2.WINDOW_UPDATE, 0, stream, number(5)))
    assert [each.type for each in http2.sent(link.server)] == [http2.DATA, http2.HEADERS]


def test_a_body_waits_for_its_head_where_the_peer_allows_fewer_streams() -> None:
    codec = http2.client_codec()
    codec.feed(frame(http2.SETTINGS, 0, 0, setting(3, 1)))
    streams = [codec.send_request(RequestHead(b"POST", b"/", b"svc", [], UNKNOWN_LENGTH)) for _ in range(2)]
    for stream in streams:
        codec.send_data(stream, b"x")
    assert {each.stream for each in http2.sent(codec) if each.stream} == {streams[0]}
    codec.reset(streams[0], http2.CANCEL)
    after = [(each.type, each.stream) for each in http2.sent(codec)]
    after += [(each.type, each.stream) for each in http2.sent(codec)]
    assert after == [(http2.RST_STREAM, 1), (http2.HEADERS, 3), (http2.DATA, 3)]


def test_a_window_before_the_settings_breaks_the_connection() -> None:
    codec = Http2Codec(is_server=False)
    codec.feed(frame(http2.WINDOW_UPDATE, 0, 0, number(1)))
    frames, _ = http2.parse(codec.output()[len(PREFACE) :])
    assert [each.code() for each in frames if each.type == http2.GOAWAY] == [http2.PROTOCOL_ERROR]


def test_settings_that_open_a_window_too_far_break_the_connection() -> None:
    codec = http2.server_codec()
    codec.feed(request(POST, end=False) + frame(http2.WINDOW_UPDATE, 0, 1, number(MAX_WINDOW - INITIAL_WINDOW)))
    codec.feed(frame(http2.SETTINGS, 0, 0, setting(4, INITIAL_WINDOW + 1)))
    assert [each.code() for each in http2.sent(codec) if each.type == http2.GOAWAY] == [FLOW_CONTROL_ERROR]


def test_more_than_the_connections_window_breaks_the_connection() -> None:
    codec = http2.server_codec()
    streams = range(1, 2 * CONNECTION_WINDOW // STREAM_WINDOW + 4, 2)
    for stream in streams:
        codec.feed(request(POST, stream, end=False))
        for _ in range(3):
            codec.feed(frame(http2.DATA, 0, stream, bytes(16_384)))
        codec.feed(frame(http2.DATA, 0, stream, bytes(STREAM_WINDOW - 3 * 16_384)))
    assert [each.code() for each in http2.sent(codec) if each.type == http2.GOAWAY] == [FLOW_CONTROL_ERROR]


def test_a_reset_drops_what_waits_and_later_data_is_passed_over() -> None:
    link, stream = streaming()
    link.server.send_data(stream, bytes(STREAM_WINDOW + 1))
    link.server.reset(stream, http2.CANCEL)
    assert link.server.queued(stream) == 0
    link.client.send_data(stream, b"late")
    assert link.server.feed(link.client.output()) == []
    assert [type(event) for _, event in link.take_client()] == [Reset]


def test_an_answer_to_head_has_no_body_whatever_comes() -> None:
    codec = http2.client_codec()
    stream = codec.send_request(RequestHead(b"HEAD", b"/", b"svc", []))
    codec.output()
    codec.feed(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.plain_block([(b":status", b"200")])))
    events = codec.feed(frame(http2.DATA, 0, stream, b"x"))
    assert not any(isinstance(event, bytes) for _, event in events)


def test_a_get_may_have_a_body_too() -> None:
    codec = http2.server_codec()
    events = codec.feed(request(GET, end=False) + frame(http2.DATA, http2.END_STREAM, 1, b"x"))
    assert told(events)[1:] == [(1, "data", b"x"), (1, "end", ())]
