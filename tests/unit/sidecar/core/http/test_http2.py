"""Two HTTP/2 codecs in conversation: what one is told to send, the other tells."""

from __future__ import annotations

import pytest

from sidecar.core.errors import ProtocolError
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.http2_events import CANCEL, NO_ERROR, GoAway, Reset
from sidecar.core.http.http2_limits import MAX_OWN_STREAMS, STREAM_WINDOW
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead
from tests.support.wire import http2
from tests.support.wire.http2 import Link, told


def head(method: bytes = b"GET", length: int = 0, fields: Fields | None = None, expects: bool = False) -> RequestHead:
    return RequestHead(method, b"/a?b", b"svc:80", fields or [], length, b"", expects)


def asked(link: Link, method: bytes = b"GET", length: int = 0) -> int:
    """A request that has arrived; its stream."""
    stream = link.client.send_request(head(method, length))
    link.take_server()
    return stream


def test_a_request_without_a_body_is_one_frame() -> None:
    link = Link()
    link.client.send_request(head(fields=[(b"x", b"y")]))
    (frame,) = http2.parse(link.client.output())[0]
    assert frame.type == http2.HEADERS
    assert frame.ends_stream()


def test_a_request_without_a_body() -> None:
    link = Link()
    link.client.send_request(head(fields=[(b"x", b"y"), (b"x", b"z")]))
    assert told(link.take_server()) == [
        (1, "request", b"GET", b"/a?b", b"svc:80", ((b"x", b"y"), (b"x", b"z")), 0, False, False),
        (1, "end", ()),
    ]


def test_a_request_with_a_length() -> None:
    link = Link()
    link.client.send_request(head(b"POST", 3, expects=True))
    link.client.send_data(1, b"abc")
    link.client.send_end(1, [])
    assert told(link.take_server()) == [
        (1, "request", b"POST", b"/a?b", b"svc:80", (), 3, False, True),
        (1, "data", b"abc"),
        (1, "end", ()),
    ]


def test_a_request_of_unknown_length_with_trailers() -> None:
    link = Link()
    link.client.send_request(head(b"POST", UNKNOWN_LENGTH))
    link.client.send_data(1, b"abc")
    link.client.send_data(1, b"def")
    link.client.send_end(1, [(b"sum", b"1")])
    assert told(link.take_server()) == [
        (1, "request", b"POST", b"/a?b", b"svc:80", (), UNKNOWN_LENGTH, False, False),
        (1, "data", b"abcdef"),
        (1, "end", ((b"sum", b"1"),)),
    ]


def test_trailers_without_a_body() -> None:
    link = Link()
    stream = asked(link, b"POST", UNKNOWN_LENGTH)
    link.client.send_end(stream, [(b"sum", b"0")])
    assert told(link.take_server()) == [(stream, "end", ((b"sum", b"0"),))]


@pytest.mark.parametrize("length", [0, 5, UNKNOWN_LENGTH])
def test_an_announced_length_is_never_taken_for_what_follows(length: int) -> None:
    link = Link()
    link.client.send_request(head(b"POST", length))
    events = told(link.take_server())
    assert ((1, "end", ()) in events) == (length == 0)


def test_a_content_length_of_zero_with_an_open_end_may_still_have_trailers() -> None:
    codec = http2.server_codec()
    fields = http2.with_fields((b"content-length", b"0"), base=http2.POST)
    (event,) = told(codec.feed(http2.request(fields, end=False)))
    assert event == (1, "request", b"POST", b"/", b"svc", (), UNKNOWN_LENGTH, False, False)


def test_a_content_length_of_zero_with_a_closed_end_is_no_body() -> None:
    codec = http2.server_codec()
    events = told(codec.feed(http2.request(http2.with_fields((b"content-length", b"0"), base=http2.POST))))
    assert events == [(1, "request", b"POST", b"/", b"svc", (), 0, False, False), (1, "end", ())]


def test_a_response_with_a_length_and_one_without() -> None:
    link = Link()
    first, second = asked(link), asked(link)
    link.server.send_response(first, ResponseHead(200, [(b"x", b"y")], 2))
    link.server.send_data(first, b"ok")
    link.server.send_end(first, [])
    link.server.send_response(second, ResponseHead(404, [], UNKNOWN_LENGTH))
    link.server.send_data(second, b"no")
    link.server.send_end(second, [(b"t", b"u")])
    assert told(sorted(link.take_client(), key=lambda event: event[0])) == [
        (first, "response", 200, ((b"x", b"y"),), 2),
        (first, "data", b"ok"),
        (first, "end", ()),
        (second, "response", 404, (), UNKNOWN_LENGTH),
        (second, "data", b"no"),
        (second, "end", ((b"t", b"u"),)),
    ]


def test_a_response_whose_head_ends_it() -> None:
    link = Link()
    stream = asked(link)
    fields = [(b"grpc-status", b"14")]
    link.server.send_response(stream, ResponseHead(200, fields, 0))
    assert told(link.take_client()) == [
        (stream, "response", 200, ((b"grpc-status", b"14"),), 0),
        (stream, "end", ()),
    ]


def test_informational_responses_come_before_the_final_one() -> None:
    link = Link()
    stream = asked(link)
    link.server.send_response(stream, ResponseHead(100, []))
    link.server.send_response(stream, ResponseHead(103, [(b"link", b"</a>")]))
    link.server.send_response(stream, ResponseHead(204, []))
    assert told(link.take_client()) == [
        (stream, "response", 100, (), 0),
        (stream, "response", 103, ((b"link", b"</a>"),), 0),
        (stream, "response", 204, (), 0),
        (stream, "end", ()),
    ]


def test_an_answer_to_head_tells_a_length_and_has_no_body() -> None:
    codec = http2.client_codec()
    codec.send_request(head(b"HEAD"))
    codec.output()
    block = http2.plain_block([(b":status", b"200"), (b"content-length", b"1234")])
    events = codec.feed(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, block))
    assert told(events) == [(1, "response", 200, ((b"content-length", b"1234"),), 0), (1, "end", ())]


def test_an_empty_answer_that_says_so_does_not_say_it_twice() -> None:
    codec = http2.client_codec()
    codec.send_request(head())
    codec.output()
    block = http2.plain_block([(b":status", b"200"), (b"content-length", b"0")])
    events = codec.feed(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, block))
    assert told(events) == [(1, "response", 200, (), 0), (1, "end", ())]


def test_cookies_are_joined() -> None:
    link = Link()
    link.client.send_request(head(fields=[(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"")]))
    request = link.take_server()[0][1]
    assert isinstance(request, RequestHead)
    assert request.fields == [(b"x", b"y"), (b"cookie", b"a=1; b=2")]


def test_fields_of_one_hop_go_no_further() -> None:
    link = Link()
    fields = [(b"proxy-authorization", b"Basic x"), (b"te", b"trailers"), (b"x", b"y")]
    link.client.send_request(head(fields=fields))
    request = link.take_server()[0][1]
    assert isinstance(request, RequestHead)
    assert request.fields == [(b"te", b"trailers"), (b"x", b"y")]


def test_a_host_in_place_of_the_authority() -> None:
    codec = http2.server_codec()
    fields = http2.with_fields((b"host", b"svc"), base=http2.replaced(b":authority", None))
    request = codec.feed(http2.request(fields))[0][1]
    assert isinstance(request, RequestHead)
    assert request.authority == b"svc"
    assert request.get(b"host") is None


@pytest.mark.parametrize(
    ("content_type", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;a=b", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/json", False),
    ],
)
def test_which_requests_are_grpc(content_type: bytes, is_grpc: bool) -> None:
    link = Link()
    link.client.send_request(head(b"POST", UNKNOWN_LENGTH, [(b"content-type", content_type)]))
    request = link.take_server()[0][1]
    assert isinstance(request, RequestHead)
    assert request.is_grpc is is_grpc


# Windows.


def test_a_sender_stops_at_the_window_and_goes_on_when_bytes_are_acknowledged() -> None:
    link = Link()
    stream = asked(link, b"POST", UNKNOWN_LENGTH)
    link.client.send_data(stream, bytes(STREAM_WINDOW + 1000))
    link.client.send_end(stream, [])
    body = b"".join(event for _, event in link.take_server() if isinstance(event, bytes))
    assert len(body) == STREAM_WINDOW
    assert link.client.queued(stream) == 1000
    assert link.take_server() == []
    link.server.acknowledge(stream, STREAM_WINDOW)
    assert told(link.take_server()) == [(stream, "data", bytes(1000)), (stream, "end", ())]
    assert link.client.queued(stream) == 0


def test_a_stream_that_nobody_reads_never_stops_another() -> None:
    link = Link()
    streams = [asked(link) for _ in range(MAX_OWN_STREAMS)]
    for stream in streams:
        link.server.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
        link.server.send_data(stream, bytes(STREAM_WINDOW))
    received = dict.fromkeys(streams, 0)
    for stream, event in link.take_client():
        if isinstance(event, bytes):
            received[stream] += len(event)
    assert set(received.values()) == {STREAM_WINDOW}


def test_bytes_of_streams_that_are_gone_do_not_use_up_the_connection() -> None:
    link = Link()
    for _ in range(300):
        stream = asked(link, b"POST", UNKNOWN_LENGTH)
        link.client.send_data(stream, bytes(40_000))
        link.server.reset(stream, CANCEL)
        reset = link.server.output()
        assert link.server.feed(link.client.output()) == []  # the body crosses the reset
        link.client.feed(reset)
        link.run()
    stream = asked(link, b"POST", UNKNOWN_LENGTH)
    link.client.send_data(stream, b"still here")
    assert told(link.take_server())[-1] == (stream, "data", b"still here")


@pytest.mark.parametrize("when", ["before", "after"])
def test_bytes_of_a_stream_that_was_reset_can_be_acknowledged(when: str) -> None:
    link = Link()
    for _ in range(400):  # more than the connection's window in all
        stream = asked(link, b"POST", UNKNOWN_LENGTH)
        link.client.send_data(stream, bytes(50_000))
        count = sum(len(event) for _, event in link.take_server() if isinstance(event, bytes))
        assert count == 50_000, "the connection's window has leaked"
        if when == "before":
            link.server.acknowledge(stream, count)
            link.server.reset(stream, CANCEL)
        else:
            link.server.reset(stream, CANCEL)
            link.run()
            link.server.acknowledge(stream, count)
        link.run()


# Ends.


def test_a_client_cancels() -> None:
    link = Link()
    stream = asked(link, b"POST", UNKNOWN_LENGTH)
    link.client.reset(stream, CANCEL)
    assert told(link.take_server()) == [(stream, "reset", CANCEL, False)]
    link.server.send_response(stream, ResponseHead(200, [], 5))
    link.server.send_data(stream, b"12345")
    link.server.send_end(stream, [])
    assert link.take_client() == []
    assert not link.server.closed


def test_a_server_refuses() -> None:
    link = Link()
    stream = asked(link)
    link.server.reset(stream, http2.REFUSED_STREAM)
    assert told(link.take_client()) == [(stream, "reset", http2.REFUSED_STREAM, False)]
    link.client.send_data(stream, b"x")
    link.client.send_end(stream, [(b"a", b"b")])
    link.client.reset(stream, CANCEL)
    assert link.take_server() == []


def test_a_request_taken_back_in_the_same_read_never_begins() -> None:
    codec = http2.server_codec()
    cancel = http2.frame(http2.RST_STREAM, 0, 1, http2.number(CANCEL))
    events = codec.feed(http2.request(http2.POST, end=False) + cancel + http2.request(stream=3))
    assert [stream for stream, _ in events] == [3, 3]


def test_what_a_request_taken_back_brought_is_given_back_to_the_window() -> None:
    codec = http2.server_codec()
    cancel = http2.number(CANCEL)
    body = bytes(16_000)
    for stream in range(1, 1401, 2):  # more than the window in all; whole requests between keep the peace
        parts = [
            http2.request(http2.POST, 2 * stream - 1, end=False),
            http2.frame(http2.DATA, 0, 2 * stream - 1, body),
            http2.frame(http2.RST_STREAM, 0, 2 * stream - 1, cancel),
            http2.request(stream=2 * stream + 1),
        ]
        events = codec.feed(b"".join(parts))
        assert len(events) == 2
        codec.send_response(2 * stream + 1, ResponseHead(200, []))
        codec.output()
        assert not codec.closed


def test_an_answer_before_the_request_is_whole_is_followed_by_a_reset_without_error() -> None:
    link = Link()
    stream = asked(link, b"POST", UNKNOWN_LENGTH)
    link.server.send_response(stream, ResponseHead(413, [], 4))
    link.server.send_data(stream, b"much")
    link.server.send_end(stream, [])
    link.server.end_early(stream)
    assert told(link.take_client()) == [
        (stream, "response", 413, (), 4),
        (stream, "data", b"much"),
        (stream, "end", ()),
        (stream, "reset", NO_ERROR, False),
    ]


def test_that_reset_waits_for_the_end_of_the_answer() -> None:
    link = Link()
    stream = asked(link, b"POST", UNKNOWN_LENGTH)
    link.server.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
    link.server.send_data(stream, bytes(STREAM_WINDOW + 1))
    link.server.send_end(stream, [(b"t", b"u")])
    link.server.end_early(stream)
    assert all(not isinstance(event, Reset) for _, event in link.take_client())
    link.client.acknowledge(stream, STREAM_WINDOW)
    assert told(link.take_client()) == [
        (stream, "data", b"\0"),
        (stream, "end", ((b"t", b"u"),)),
        (stream, "reset", NO_ERROR, False),
    ]


def test_no_reset_follows_when_the_request_became_whole_meanwhile() -> None:
    link = Link()
    stream = asked(link, b"POST", UNKNOWN_LENGTH)
    link.server.send_response(stream, ResponseHead(200, [], 0))
    link.server.end_early(stream)
    link.client.send_end(stream, [])
    link.at_server += link.server.feed(link.client.output())
    assert told(link.take_client()) == [(stream, "response", 200, (), 0), (stream, "end", ())]
    assert not link.server.closed


# The end of a connection.


def test_goaway_says_what_was_not_taken() -> None:
    link = Link()
    first = asked(link)
    link.server.go_away(NO_ERROR)
    second = link.client.send_request(head())
    heard = link.take_client()
    assert [event.last_stream for _, event in heard if isinstance(event, GoAway)] == [first]
    assert told(heard)[1:] == [(second, "reset", http2.REFUSED_STREAM, False)]
    assert not link.client.takes_requests()
    with pytest.raises(ProtocolError, match="takes no request"):
        link.client.send_request(head())


def test_a_drain_is_told_twice_and_what_comes_between_is_served() -> None:
    link = Link()
    first = asked(link)
    link.server.shutdown_notice()
    second = link.client.send_request(head())  # sent before the notice arrived
    link.run()
    assert told(link.take_client()) == [(0, "goaway", 2**31 - 1, NO_ERROR)]
    assert not link.client.takes_requests()
    link.server.go_away(NO_ERROR)
    assert told(link.take_client()) == [(0, "goaway", second, NO_ERROR)]
    for stream in (first, second):
        assert not link.server.closed
        assert not link.client.closed
        link.server.send_response(stream, ResponseHead(200, [], 0))
        link.run()
    assert link.server.closed
    assert link.client.closed
    assert [event for _, event in link.take_client() if isinstance(event, Reset)] == []


def test_a_connection_without_streams_is_over_with_its_goaway() -> None:
    link = Link()
    link.server.go_away(NO_ERROR)
    link.run()
    assert link.server.closed
    assert link.client.closed


def test_a_client_that_goes_away_still_gets_its_answers() -> None:
    link = Link()
    stream = asked(link)
    link.client.go_away(NO_ERROR)
    link.run()
    link.server.send_response(stream, ResponseHead(200, [], 0))
    assert told(link.take_client())[-1] == (stream, "end", ())
    assert (link.server.closed, link.client.closed) == (True, True)


def test_nothing_breaks_on_a_closed_connection() -> None:
    for codec in (http2.client_codec(), http2.server_codec()):
        codec.feed(b"\xff" * 64)
        for _ in range(2):
            codec.send_response(1, ResponseHead(200, []))
            codec.send_data(1, b"x")
            codec.send_end(1, [])
            codec.send_end(1, [(b"a", b"b")])
            codec.reset(1, CANCEL)
            codec.end_early(1)
            codec.go_away(NO_ERROR)
            codec.go_away(http2.ENHANCE_YOUR_CALM)
            assert codec.feed(b"more") == []
            assert codec.queued(1) == 0
            assert codec.max_streams() >= 1
            assert not codec.takes_requests()
            with pytest.raises(ProtocolError):
                codec.send_request(head())
            codec.output()
            assert codec.closed
            assert codec.broken
            codec.acknowledge(1, 10)
    codec.shutdown_notice()


# Settings.


def test_one_request_may_be_sent_before_the_settings_have_come() -> None:
    codec = Http2Codec(is_server=False)
    assert (codec.settled, codec.max_streams()) == (False, 1)
    codec.feed(http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, 7)))
    assert (codec.settled, codec.max_streams()) == (True, 7)
    codec.feed(http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, 9)))
    assert codec.max_streams() == 9


@pytest.mark.parametrize(("allowed", "used"), [(0, 0), (1, 1), (100, 100), (1_000_000, MAX_OWN_STREAMS)])
def test_more_streams_than_can_be_kept_are_not_used(allowed: int, used: int) -> None:
    assert http2.client_codec(http2.setting(3, allowed)).max_streams() == used


def test_settings_that_do_not_come_are_assumed() -> None:
    codec = Http2Codec(is_server=False)
    codec.assume_settings()
    assert (codec.settled, codec.max_streams()) == (True, MAX_OWN_STREAMS)
    codec.feed(http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, 7)))
    codec.assume_settings()
    assert codec.max_streams() == 7


def test_an_answer_can_follow_its_goaway_in_one_read() -> None:
    codec = http2.client_codec()
    codec.send_request(head())
    codec.output()
    answer = http2.frame(http2.HEADERS, 5, 1, http2.plain_block([(b":status", b"200")]))
    goaway = http2.frame(http2.GOAWAY, 0, 0, http2.number(1) + http2.number(0))
    assert told(codec.feed(goaway + answer)) == [
        (0, "goaway", 1, NO_ERROR),
        (1, "response", 200, (), 0),
        (1, "end", ()),
    ]
    assert codec.closed
    assert not codec.broken
