"""A client's HTTP/2 connection: its streams, what ends them, and time."""

from __future__ import annotations

import pytest

from sidecar.core.direction import INBOUND, OUTBOUND
from sidecar.core.http.http2 import PREFACE
from sidecar.core.http.http2_events import CANCEL, NO_ERROR, GoAway, Reset
from sidecar.core.http.http2_frames import HEADS_AT_ONCE
from sidecar.core.http.http2_limits import MAX_CUT_STREAMS, MAX_CUT_STREAMS_OF_PEERS, MAX_OWN_STREAMS, STREAM_WINDOW
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead
from sidecar.core.routing.policy import Policy, Timeouts
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES
from sidecar.proxy.downstream.detect import DetectingConnection
from sidecar.proxy.downstream.http2 import MAX_READ_BYTES, NOTICE_SECONDS, WAITED_SECONDS
from sidecar.proxy.downstream.time_outs import BODY_IDLE_SECONDS, KEEP_ALIVE_SECONDS, LINGER_SECONDS
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.rig import Client, Http2Rig, Peer
from tests.support.wire import http2
from tests.support.wire.http2 import replaced, with_fields

GRPC: Fields = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
PATIENT = Policy(timeouts=Timeouts(request_seconds=0.0))


def connected(policy: Policy = PATIENT) -> tuple[Http2Rig, Client, Peer]:
    """A client and an endpoint with a connection each."""
    rig = Http2Rig(policy=policy)
    client = rig.client()
    client.ask()
    upstream = rig.upstream()
    answer(upstream)
    client.take()
    return rig, client, upstream


def answer(upstream: Peer, head: ResponseHead | None = None) -> list[int]:
    """Answer all requests that came; their streams."""
    streams = asked_of(upstream)
    for stream in streams:
        upstream.codec.send_response(stream, head or ResponseHead(200, []))
    return streams


def asked_of(upstream: Peer) -> list[int]:
    return [stream for stream, event in upstream.take() if isinstance(event, RequestHead)]


def goaways(client: Client) -> list[tuple[int, int]]:
    return [(event.last_stream, event.code) for _, event in client.take() if isinstance(event, GoAway)]


def raw(rig: Http2Rig) -> FakeTransport:
    """A connection whose client's frames the test makes itself."""
    transport = FakeTransport(rig.loop, DetectingConnection(rig.listener))
    transport.receive(PREFACE + http2.frame(http2.SETTINGS))
    return transport


# Detection.


@pytest.mark.parametrize("size", [1, 3, 23, 24, 25])
def test_the_preface_may_come_in_pieces(size: int) -> None:
    rig = Http2Rig()
    transport = FakeTransport(rig.loop, DetectingConnection(rig.listener))
    data = PREFACE + http2.frame(http2.SETTINGS) + http2.request()
    for start in range(0, len(data), size):
        transport.receive(data[start : start + size])
    assert rig.connects() == 1
    frames, _ = http2.parse(transport.take())
    assert frames[0].type == http2.SETTINGS


def test_a_request_with_the_preface_in_one_read() -> None:
    rig = Http2Rig()
    transport = FakeTransport(rig.loop, DetectingConnection(rig.listener))
    transport.receive(PREFACE + http2.frame(http2.SETTINGS) + http2.request())
    answer(rig.upstream())
    rig.run()
    frames, _ = http2.parse(transport.take())
    assert [frame.stream for frame in frames if frame.type == http2.HEADERS] == [1]


def test_a_preface_that_goes_wrong_is_http1() -> None:
    rig = Http2Rig()
    transport = FakeTransport(rig.loop, DetectingConnection(rig.listener))
    transport.receive(PREFACE[:20] + b"XX\r\n")
    assert transport.take().startswith(b"HTTP/1.1 ")


# Streams.


def test_requests_are_answered_in_the_order_in_which_answers_come() -> None:
    rig, client, upstream = connected()
    first, second = client.ask(target=b"/1"), client.ask(target=b"/2")
    one, two = asked_of(upstream)
    upstream.codec.send_response(two, ResponseHead(202, []))
    assert client.heard() == [(second, "response", 202, (), 0), (second, "end", ())]
    upstream.codec.send_response(one, ResponseHead(201, []))
    assert client.heard() == [(first, "response", 201, (), 0), (first, "end", ())]
    assert rig.settled()
    assert rig.server_meter.requests == 3


def test_grpc_requests_are_counted_by_themselves() -> None:
    rig, client, upstream = connected()
    client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    answer(upstream)
    rig.run()
    assert (rig.server_meter.requests, rig.server_meter.grpc_requests) == (2, 1)


def test_trailers_and_informational_answers_pass() -> None:
    rig, client, upstream = connected()
    asked = client.ask(b"POST", UNKNOWN_LENGTH)
    client.codec.send_end(asked, [(b"a", b"b")])
    events = upstream.take()
    stream = events[0][0]
    assert http2.told(events)[-1] == (stream, "end", ((b"a", b"b"),))
    upstream.codec.send_response(stream, ResponseHead(103, [(b"link", b"x")]))
    upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
    upstream.codec.send_end(stream, [(b"c", b"d")])
    assert client.heard() == [
        (asked, "response", 103, ((b"link", b"x"),), 0),
        (asked, "response", 200, (), UNKNOWN_LENGTH),
        (asked, "end", ((b"c", b"d"),)),
    ]
    assert rig.settled()


def test_a_client_that_cancels_cancels_at_the_endpoint() -> None:
    rig, client, upstream = connected()
    asked = client.ask(b"POST", UNKNOWN_LENGTH)
    (stream,) = asked_of(upstream)
    client.codec.reset(asked, CANCEL)
    assert upstream.heard() == [(stream, "reset", CANCEL, False)]
    assert rig.settled()


@pytest.mark.parametrize(
    "then",
    [
        http2.frame(http2.DATA, http2.END_STREAM, 1, b"1234"),
        http2.frame(http2.DATA, 0, 1, b"123456"),
        http2.request([(b"X", b"y")]),
        http2.request([(b"content-length", b"5")]),
    ],
    ids=["short", "long", "bad trailers", "framing in trailers"],
)
def test_a_request_that_breaks_off_is_cancelled_at_the_endpoint(then: bytes) -> None:
    rig, _, upstream = connected()
    transport = raw(rig)
    fields = http2.with_fields((b"content-length", b"5"), base=http2.POST)
    transport.receive(http2.request(fields, end=False))
    (stream,) = asked_of(upstream)
    transport.receive(then)
    assert (stream, "reset", CANCEL, False) in upstream.heard()
    assert rig.settled()
    assert not transport.is_closing()


def test_a_client_that_leaves_cancels_all_its_requests() -> None:
    rig, client, upstream = connected()
    for _ in range(20):
        client.ask(b"POST", UNKNOWN_LENGTH)
    streams = asked_of(upstream)
    client.transport.lose()
    assert upstream.heard() == [(stream, "reset", CANCEL, False) for stream in streams]
    assert rig.settled()


def test_a_request_taken_back_at_once_is_never_sent_on() -> None:
    rig, _, upstream = connected()
    transport = raw(rig)
    transport.receive(http2.request() + http2.frame(http2.RST_STREAM, 0, 1, http2.number(CANCEL)))
    assert upstream.heard() == []
    assert rig.settled()


@pytest.mark.parametrize("inbound", [False, True])
def test_rapid_reset_ends_the_connection_and_bounds_what_the_endpoint_sees(inbound: bool) -> None:
    rig, _, upstream = connected()
    rig.listener.direction = INBOUND if inbound else OUTBOUND
    transport = raw(rig)
    for stream in range(1, 4_000, 2):
        if transport.is_closing():
            break
        transport.receive(http2.request(stream=stream))
        rig.run()
        if not transport.is_closing():
            transport.receive(http2.frame(http2.RST_STREAM, 0, stream, http2.number(CANCEL)))
    assert transport.is_closing()
    rig.run()
    frames, _ = http2.parse(transport.take())
    assert frames[-1].code() == http2.ENHANCE_YOUR_CALM
    most = MAX_CUT_STREAMS_OF_PEERS if inbound else MAX_CUT_STREAMS
    assert len(asked_of(upstream)) <= most + 1
    assert rig.settled()


def test_calls_that_were_waited_for_and_given_up_end_no_connection() -> None:
    rig, client, upstream = connected()
    for _ in range(2 * MAX_CUT_STREAMS_OF_PEERS):
        stream = client.ask()
        rig.advance(2 * WAITED_SECONDS)
        client.codec.reset(stream, CANCEL)
        rig.run()
    asked_of(upstream)
    stream = client.ask()
    assert answer(upstream) != []
    assert [event.status for each, event in client.take() if each == stream and isinstance(event, ResponseHead)] == [
        200
    ]
    assert rig.settled()


def test_an_error_that_ends_the_connection_ends_its_requests() -> None:
    rig, client, upstream = connected()
    client.ask(b"POST", UNKNOWN_LENGTH)
    (stream,) = asked_of(upstream)
    client.transport.receive(b"\xff" * 100)
    rig.run()
    assert client.transport.lost
    assert upstream.heard() == [(stream, "reset", CANCEL, False)]
    assert rig.settled()


def test_an_answer_to_a_connection_that_has_just_broken_harms_nobody() -> None:
    rig, client, upstream = connected()
    client.ask()
    other = rig.client()
    asked = other.ask()
    streams = asked_of(upstream)
    client.transport.receive(b"\xff" * 100, settle=False)
    for stream in streams:
        upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
        upstream.codec.send_data(stream, b"late")
        upstream.codec.send_end(stream, [(b"a", b"b")])
    upstream.transport.receive(upstream.codec.output(), settle=False)
    assert other.heard()[-1] == (asked, "end", ((b"a", b"b"),))
    assert client.transport.lost
    assert rig.settled()


def test_an_upload_after_the_answer_is_refused_without_error() -> None:
    rig, client, upstream = connected()
    asked = client.ask(b"POST", UNKNOWN_LENGTH)
    answer(upstream, ResponseHead(413, []))
    assert client.heard()[-1] == (asked, "reset", NO_ERROR, False)
    assert not client.transport.is_closing()
    assert rig.settled()


def test_an_answer_to_all_but_the_end_of_the_stream_resets_nothing() -> None:
    rig, client, upstream = connected()
    asked = client.ask(b"POST", 5)
    client.codec.send_data(asked, b"hello")
    answer(upstream, ResponseHead(200, []))
    assert client.heard()[-1] == (asked, "end", ())
    client.codec.send_end(asked, [])
    assert client.heard() == []
    assert not client.transport.is_closing()
    assert rig.settled()


def test_bodies_of_requests_answered_early_do_not_use_up_the_window() -> None:
    rig, client, upstream = connected()
    for _ in range(200):
        asked = client.ask(b"POST", UNKNOWN_LENGTH)
        client.codec.send_data(asked, bytes(STREAM_WINDOW))
        answer(upstream, ResponseHead(413, []))
        assert (asked, "end", ()) in client.heard()
        assert client.codec.queued(asked) == 0
    assert rig.settled()


# The proxy's own answers.


def test_no_endpoint_for_grpc() -> None:
    rig = Http2Rig(endpoints=0)
    client = rig.client()
    asked = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    (head, end, reset) = client.heard()
    assert isinstance(head, tuple)
    fields = dict(head[3])
    assert head[:3] == (asked, "response", 200)
    assert fields[b"grpc-status"] == b"14"
    assert fields[b"tramo-response-flags"] == b"UH"
    assert fields[b"tramo-unprocessed"] == b"true"
    assert end == (asked, "end", ())
    assert reset == (asked, "reset", NO_ERROR, False)


def test_no_endpoint_for_others() -> None:
    rig = Http2Rig(endpoints=0)
    client = rig.client()
    client.ask()
    head, body, end = client.heard()
    assert isinstance(head, tuple)
    assert isinstance(body, tuple)
    assert (head[2], head[4]) == (503, len(body[2]))
    assert end == (1, "end", ())
    client.ask(b"HEAD")
    (head, end) = client.heard()
    assert isinstance(head, tuple)
    assert head[2] == 503


@pytest.mark.parametrize(("fields", "code"), [(GRPC, b"4"), ([], b"")], ids=["grpc", "http"])
def test_the_request_timeout(fields: Fields, code: bytes) -> None:
    rig, client, upstream = connected(Policy())
    asked = client.ask(b"POST", UNKNOWN_LENGTH, fields)
    client.codec.send_end(asked, [])
    (stream,) = asked_of(upstream)
    rig.advance(16)
    head = next(event for _, event in client.take() if isinstance(event, ResponseHead))
    assert head.status == (200 if code else 504)
    assert (head.get(b"grpc-status") or b"") == code
    assert upstream.heard() == [(stream, "reset", CANCEL, False)]
    assert rig.settled()


def test_a_call_whose_client_still_sends_is_under_the_idle_timeout() -> None:
    rig, client, upstream = connected(Policy())
    asked = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    (stream,) = asked_of(upstream)
    rig.advance(200)
    client.codec.send_data(asked, b"the first message")
    assert upstream.heard() == [(stream, "data", b"the first message")]
    rig.advance(200)
    assert client.heard() == []
    rig.advance(150)
    head = next(event for _, event in client.take() if isinstance(event, ResponseHead))
    assert head.get(b"grpc-status") == b"4"
    assert rig.settled()


def test_a_call_whose_endpoint_does_not_read_is_under_the_idle_time_out() -> None:
    rig, client, upstream = connected(Policy())
    asked = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    client.codec.send_data(asked, bytes(1_000_000))
    asked_of(upstream)
    rig.advance(299)
    assert client.heard() == []
    rig.advance(2)
    head = next(event for _, event in client.take() if isinstance(event, ResponseHead))
    assert head.get(b"grpc-status") == b"4"
    assert rig.settled()


@pytest.mark.parametrize(
    ("timeout", "seconds", "expected"),
    [(b"500m", 0.4, 0), (b"500m", 0.6, 1), (b"30S", 20.0, 0), (b"nonsense", 16.0, 1)],
)
def test_the_callers_own_deadline(timeout: bytes, seconds: float, expected: int) -> None:
    rig, client, upstream = connected(Policy())
    asked = client.ask(b"POST", UNKNOWN_LENGTH, [*GRPC, (b"grpc-timeout", timeout)])
    if timeout == b"nonsense":
        client.codec.send_end(asked, [])
    asked_of(upstream)
    rig.advance(seconds)
    heads = [event for _, event in client.take() if isinstance(event, ResponseHead)]
    assert [head.get(b"grpc-status") for head in heads] == [b"4"] * expected


# Time.


def test_a_body_that_does_not_come_is_answered() -> None:
    rig, client, upstream = connected()
    asked = client.ask(b"POST", UNKNOWN_LENGTH)
    asked_of(upstream)
    rig.advance(BODY_IDLE_SECONDS - 1)
    client.codec.send_data(asked, b"something")
    rig.run()
    rig.advance(BODY_IDLE_SECONDS - 1)
    assert client.heard() == []
    rig.advance(BODY_IDLE_SECONDS + 2)
    head = next(event for _, event in client.take() if isinstance(event, ResponseHead))
    assert head.status == 408
    assert any(isinstance(event, Reset) for _, event in upstream.take())
    assert rig.settled()
    assert not client.transport.is_closing()


@pytest.mark.parametrize("fields", [GRPC, []], ids=["grpc", "being answered"])
def test_streams_may_be_silent(fields: Fields) -> None:
    rig, client, upstream = connected()
    client.ask(b"POST", UNKNOWN_LENGTH, fields)
    if not fields:
        answer(upstream, ResponseHead(200, [], UNKNOWN_LENGTH))
    rig.run()
    rig.advance(5 * BODY_IDLE_SECONDS)
    assert not any(isinstance(event, Reset) for _, event in client.take())
    assert rig.runtime.work == 1


def test_an_idle_connection_is_closed() -> None:
    rig, client, _ = connected()
    rig.advance(KEEP_ALIVE_SECONDS - 1)
    assert not client.transport.is_closing()
    rig.advance(2)
    assert client.transport.lost
    assert goaways(client) == [(1, NO_ERROR)]
    assert not rig.runtime.clients.connections


def test_a_connection_with_a_stream_is_not_idle() -> None:
    rig, client, upstream = connected()
    client.ask()
    asked_of(upstream)
    rig.advance(KEEP_ALIVE_SECONDS + 10)
    assert not client.transport.is_closing()


def test_a_client_that_never_takes_its_answers_is_closed_as_idle() -> None:
    rig, _, upstream = connected()
    transport = FakeTransport(rig.loop, DetectingConnection(rig.listener))
    transport.receive(PREFACE + http2.frame(http2.SETTINGS, 0, 0, http2.setting(4, 0)) + http2.request())
    (stream,) = asked_of(upstream)
    upstream.codec.send_response(stream, ResponseHead(200, [], 5))
    upstream.codec.send_data(stream, b"hello")
    upstream.codec.send_end(stream, [])
    assert rig.settled()
    rig.advance(KEEP_ALIVE_SECONDS + 1)
    assert transport.lost


def test_a_client_that_does_not_take_the_last_words_is_cut() -> None:
    rig, client, _ = connected()
    client.transport.blocked = True
    client.transport.receive(b"\xff" * 100)
    rig.loop.run()
    assert client.transport.is_closing()
    assert not client.transport.lost
    rig.advance(LINGER_SECONDS + 0.1)
    assert client.transport.lost


def test_a_client_that_does_not_read_cannot_make_the_proxy_hold_much() -> None:
    rig, client, upstream = connected()
    client.transport.blocked = True
    asked = [client.ask() for _ in range(MAX_OWN_STREAMS)]
    streams = asked_of(upstream)
    assert len(streams) == len(asked)
    for stream in streams:
        upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
        upstream.codec.send_data(stream, bytes(1_000_000))
    rig.run()
    held = len(streams) * 1_000_000 - sum(upstream.codec.queued(stream) for stream in streams)
    assert held <= len(streams) * 2 * STREAM_WINDOW + 4 * HIGH_WATER_BYTES
    assert len(client.transport.waiting) <= 2 * HIGH_WATER_BYTES
    client.transport.lose()
    assert rig.settled()


def test_pings_of_a_client_that_does_not_read_end_the_connection() -> None:
    _, client, _ = connected()
    client.transport.blocked = True
    ping = http2.frame(http2.PING, 0, 0, b"12345678")
    for _ in range(40):
        if not client.transport.is_closing():
            client.transport.receive(ping * 1_000)
    assert client.transport.is_closing()
    assert len(client.transport.waiting) < 10 * HIGH_WATER_BYTES


# Drain.


def test_a_drain_is_said_twice_and_what_comes_between_is_served() -> None:
    rig, client, upstream = connected()
    first = client.ask(b"POST")
    rig.runtime.draining = True
    rig.runtime.clients.drain()
    assert goaways(client) == [(2**31 - 1, NO_ERROR)]
    late = http2.request(http2.POST, 5)
    client.transport.receive(late)  # it was on its way
    rig.advance(NOTICE_SECONDS + 0.1)
    assert goaways(client) == [(5, NO_ERROR)]
    assert not client.transport.is_closing()
    assert len(answer(upstream)) == 2
    heard = client.heard()
    assert (first, "response", 200, (), 0) in heard
    assert client.transport.lost
    assert rig.settled()


def test_an_idle_connection_is_drained_and_closed() -> None:
    rig, client, _ = connected()
    rig.runtime.clients.drain()
    rig.run()
    assert not client.transport.is_closing()
    rig.advance(NOTICE_SECONDS + 0.1)
    assert client.transport.lost


def test_a_connection_made_during_a_drain_hears_of_it_with_its_first_request() -> None:
    rig, _, upstream = connected()
    rig.runtime.draining = True
    client = rig.client()
    client.ask()
    answer(upstream)
    heard = client.heard()
    assert (0, "goaway", 2**31 - 1, NO_ERROR) in heard
    assert (1, "response", 200, (), 0) in heard
    rig.advance(NOTICE_SECONDS + 0.1)
    assert client.transport.lost


def test_a_stream_that_outlasts_the_drain_is_not_cut_by_the_goaway() -> None:
    rig, client, upstream = connected()
    asked = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    (stream,) = asked_of(upstream)
    rig.runtime.clients.drain()
    rig.advance(NOTICE_SECONDS + 5)
    client.codec.send_data(asked, b"still here")
    assert upstream.heard() == [(stream, "data", b"still here")]
    upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
    upstream.codec.send_end(stream, [(b"grpc-status", b"0")])
    assert client.heard()[-2][:2] == (asked, "end")  # type: ignore[index]
    assert client.transport.lost


# What the codec refuses is logged and counted as what the proxy refuses.


REFUSED = {
    "431": (with_fields(*[(b"a%d" % n, b"b") for n in range(101)]), 1),
    "414": (replaced(b":path", b"/" + b"a" * 16_000 + b"b" * 1_000), 1),
    "417": (with_fields((b"expect", b"200-maybe")), 1),
    "malformed, seen by libnghttp2": (with_fields((b"A", b"b")), 0),
    "malformed, seen by us": (with_fields((b"host", b"other")), 0),
}


@pytest.mark.parametrize(("fields", "answers"), REFUSED.values(), ids=REFUSED)
def test_what_the_codec_refuses_is_counted(fields: http2.Headers, answers: int) -> None:
    rig = Http2Rig()
    client = raw(rig)
    block = http2.plain_block(fields)
    client.receive(http2.frame(http2.HEADERS, http2.END_STREAM, 1, block[:16_000]), settle=False)
    client.receive(http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1, block[16_000:]))
    assert rig.client_meter.flags == {"DPE": 1}
    assert rig.server_meter.requests == answers
    assert not client.is_closing()


def test_a_connection_that_is_ended_for_abuse_is_counted_once() -> None:
    rig = Http2Rig()
    client = raw(rig)
    while not client.is_closing():
        client.receive(http2.frame(http2.WINDOW_UPDATE, 0, 0, http2.number(1)) * 5_000)
    rig.loop.advance(LINGER_SECONDS + 1)
    assert rig.client_meter.flags == {"DPE": 1}


def test_a_client_that_goes_away_by_itself_is_not_counted() -> None:
    rig = Http2Rig()
    client = raw(rig)
    client.receive(http2.frame(http2.GOAWAY, 0, 0, http2.number(0) * 2))
    rig.loop.advance(KEEP_ALIVE_SECONDS + LINGER_SECONDS + 1)
    assert rig.client_meter.flags == {}


def test_a_busy_client_is_read_in_turn_with_others() -> None:
    rig = Http2Rig()
    client = raw(rig)
    client.receive(http2.frame(0x77, 0, 0, bytes(16_000)) * (MAX_READ_BYTES // 16_000 + 1), settle=False)
    assert not client.is_reading()
    rig.loop.run()
    assert client.is_reading()
    client.receive(http2.request())
    assert rig.connects() == 1


def test_many_heads_of_one_read_are_read_in_turn_with_others() -> None:
    rig = Http2Rig()
    client = raw(rig)
    heads = 2 * HEADS_AT_ONCE + 2
    client.receive(b"".join(http2.request(stream=2 * number + 1) for number in range(heads)), settle=False)
    assert not client.is_reading()
    assert rig.client_meter.requests == HEADS_AT_ONCE
    rig.loop.run()
    assert client.is_reading()
    assert rig.client_meter.requests == heads


def test_heads_that_wait_for_their_turn_are_dropped_with_their_connection() -> None:
    rig = Http2Rig()
    client = raw(rig)
    client.receive(b"".join(http2.request(stream=2 * number + 1) for number in range(2 * HEADS_AT_ONCE)), settle=False)
    client.abort()
    rig.loop.run()
    assert rig.cluster.active_requests == 0


def test_a_busy_client_that_is_cut_meanwhile_harms_nobody() -> None:
    rig = Http2Rig()
    client = raw(rig)
    client.receive(http2.frame(http2.PING, 0, 0, b"12345678") * 50_000, settle=False)
    rig.loop.run()
    rig.loop.advance(LINGER_SECONDS + 1)
    assert client.lost
