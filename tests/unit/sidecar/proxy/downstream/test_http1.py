"""A client's connection: order, ends, refusals, flow and time."""

from __future__ import annotations

import pytest

from sidecar.core.routing.policy import CircuitBreaker, Http, Policy, Retries
from sidecar.proxy.base.runtime import LONG_READ_BYTES, TURN_BYTES
from sidecar.proxy.downstream.http1 import MAX_LINGER_BYTES
from sidecar.proxy.downstream.time_outs import (
    BODY_IDLE_SECONDS,
    CLOSING_SECONDS,
    HEAD_SECONDS,
    KEEP_ALIVE_SECONDS,
    LINGER_SECONDS,
)
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.rig import ANSWER, Http1Rig
from tests.support.wire.http1 import request

GET = request(b"Host: orders", line=b"GET /1 HTTP/1.1")
SECOND = request(b"Host: orders", line=b"GET /2 HTTP/1.1")
LAST = request(b"Host: orders", b"Connection: close", line=b"GET /3 HTTP/1.1")
POST = request(b"Host: orders", b"Content-Length: 10", line=b"POST /p HTTP/1.1")
CLOSED_BREAKER = Policy(circuit_breaker=CircuitBreaker(max_requests=0))


def answers(data: bytes) -> int:
    return data.count(b"HTTP/1.1 ")


def test_a_request_and_its_answer() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    sent = upstream.take()
    assert sent.startswith(b"GET /1 HTTP/1.1\r\nhost: orders\r\n")
    assert sent.endswith(b"\r\n\r\n")
    upstream.receive(ANSWER)
    assert client.take() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    assert rig.settled()
    assert not client.is_closing()
    assert rig.server_meter.requests == 1


def test_pipelined_requests_are_answered_in_order() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET + SECOND + GET)
    assert not client.is_reading(), "what waits is enough"
    for path in (b"/1", b"/2", b"/1"):
        assert upstream.take().startswith(b"GET " + path)
        upstream.receive(ANSWER)
        assert answers(client.take()) == 1
    assert client.is_reading()
    assert rig.settled()


def test_only_the_last_of_pipelined_requests_closes() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET + LAST)
    upstream.receive(ANSWER)
    assert b"connection: close" not in client.take()
    upstream.receive(ANSWER)
    assert b"connection: close" in client.take()
    assert client.is_closing()
    assert rig.settled()


def test_a_client_that_has_said_all_gets_all_its_answers() -> None:
    rig = Http1Rig()
    rig.listener.half_close = True  # as on the outbound side
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    client.receive(SECOND)
    upstream.receive(ANSWER)
    client.receive_eof()
    upstream.receive(ANSWER)
    assert answers(client.take()) == 2
    assert client.is_closing()
    assert rig.settled()


def test_a_sidecar_that_ends_its_side_waits_for_no_answer() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    client.receive_eof()
    assert upstream.lost, "the app need not go on"
    assert client.lost
    assert rig.settled()


def test_an_answer_is_not_lost_to_an_end_in_the_same_turn() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(ANSWER, settle=False)
    client.receive_eof()
    assert answers(client.take()) == 1
    assert client.lost
    refused = Http1Rig(policy=CLOSED_BREAKER).client()
    refused.receive(GET, settle=False)
    refused.receive_eof()
    assert answers(refused.take()) == 1


def test_a_request_cut_short_is_not_answered() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(POST + b"half")
    client.receive_eof()
    rig.loop.run()
    assert client.lost
    assert upstream.lost, "the endpoint must not take half a request for a whole one"
    assert rig.settled()


def test_a_pipelined_request_cut_short_is_not_begun() -> None:
    rig = Http1Rig()
    rig.listener.half_close = True  # as on the outbound side
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    client.receive(POST[:-4])
    client.receive_eof()
    upstream.take()
    upstream.receive(ANSWER)
    assert upstream.take() == b""
    assert answers(client.take()) == 1
    assert client.is_closing()
    assert rig.settled()


def test_an_idle_client_that_ends_is_closed() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.receive_eof()
    rig.loop.run()
    assert client.lost
    assert rig.server_meter.active_connections == 0


def test_an_answer_of_the_proxy_closes_when_asked_to() -> None:
    rig = Http1Rig(policy=CLOSED_BREAKER)
    client = rig.client()
    client.receive(LAST)
    assert b"connection: close" in client.take()
    assert client.is_closing()
    assert rig.settled()


def test_an_answer_of_the_proxy_keeps_the_connection() -> None:
    rig = Http1Rig(policy=CLOSED_BREAKER)
    client = rig.client()
    client.receive(GET + SECOND)
    assert answers(client.take()) == 2
    assert not client.is_closing()


def test_draining_closes_with_the_next_answer() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    rig.runtime.draining = True
    upstream.receive(ANSWER)
    assert b"connection: close" in client.take()
    assert client.is_closing()


# Answers before the request is whole.


def test_an_early_answer_keeps_the_connection_once_the_body_is_read() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(POST + b"half")
    upstream.receive(ANSWER)
    assert answers(client.take()) == 1
    rig.loop.run()
    assert upstream.lost, "the endpoint still waits for a body that nobody sends"
    rig.upstream()
    client.receive(b"second" + GET)
    assert not client.is_closing()


def test_an_early_last_answer_ends_the_connection_with_the_body() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(POST + b"half")
    rig.runtime.draining = True
    upstream.receive(ANSWER)
    assert b"connection: close" in client.take()
    rig.upstream()
    client.receive(b"second" + GET)
    assert client.is_closing()
    assert client.take() == b"", "after `Connection: close` no request is answered"
    assert rig.settled()


def test_an_early_answer_is_the_only_one() -> None:
    chunked = request(b"Host: orders", b"Transfer-Encoding: chunked", line=b"PUT /c HTTP/1.1")
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(chunked + b"5\r\nhello\r\n")
    upstream.receive(ANSWER)
    client.receive(b"not a chunk")
    assert answers(client.take()) == 1
    assert closes_with(client)
    assert rig.settled()


def test_an_early_answer_is_the_only_one_when_the_body_never_comes() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(POST + b"half")
    upstream.receive(ANSWER)
    client.take()
    rig.loop.advance(BODY_IDLE_SECONDS + 1)
    assert client.take() == b""
    assert closes_with(client)


def test_a_body_that_nobody_wants_is_bounded() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Host: a", b"Content-Length: 9999999", line=b"POST / HTTP/1.1"))
    upstream.receive(ANSWER)
    for _ in range(20):
        client.receive(b"a" * 65_536)
    assert client.eof_written


# Clients that break the protocol.


def closes_with(client: FakeTransport) -> bool:
    """Whether a client that was told all closes the connection by ending its side."""
    assert client.eof_written
    assert not client.is_closing()
    client.receive_eof()
    return client.lost


def test_a_refused_client_that_goes_on_sending_can_read_why() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.receive(b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 400 ")
    for _ in range(100):
        client.receive(b"a" * 65_536)
    assert client.take() == b""
    assert closes_with(client)


def test_what_a_refused_client_may_send_is_bounded() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.receive(b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(MAX_LINGER_BYTES // 65_536):
        client.receive(b"a" * 65_536)
    assert not client.is_closing()
    client.receive(b"a")
    assert client.lost


def test_how_long_a_refused_client_may_stay_is_bounded() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.receive(b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(5):
        assert not client.is_closing()
        client.receive(b"a")
        rig.loop.advance(LINGER_SECONDS / 5 + 0.1)
    assert client.lost


def test_a_client_that_does_not_take_its_last_answer_is_cut() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.blocked = True
    client.receive(request(b"Host: a", b"Connection: close", line=b"GET / HTTP/1.1"))
    upstream.receive(ANSWER)
    assert client.is_closing()
    rig.loop.advance(CLOSING_SECONDS - 1)
    before = client.lost
    rig.loop.advance(2)
    assert (before, client.lost) == (False, True)
    assert rig.settled()


def test_a_refused_client_that_does_not_read_is_cut() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.blocked = True
    client.receive(b"GET / HTTP/1.1\r\n\r\n")
    rig.loop.advance(CLOSING_SECONDS - 1)
    before = client.lost
    rig.loop.advance(2)
    assert (before, client.lost) == (False, True)


def test_nonsense_in_a_body_is_answered() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Host: a", b"Transfer-Encoding: chunked", line=b"PUT / HTTP/1.1") + b"5\r\nhello\r\n")
    client.receive(b"nonsense")
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert closes_with(client)
    assert upstream.lost, "the endpoint must not take half a request for a whole one"
    assert rig.server_meter.flags == {}
    assert rig.client_meter.flags == {"DPE": 1}
    assert rig.settled()


def test_nonsense_in_a_body_cuts_an_answer_that_has_begun() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Host: a", b"Transfer-Encoding: chunked", line=b"PUT / HTTP/1.1") + b"5\r\nhello\r\n")
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    client.receive(b"nonsense")
    assert client.lost
    assert b"400" not in client.take()
    assert rig.settled()


def test_a_malformed_request_is_answered_and_the_connection_closed() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.receive(b"GET / HTTP/1.1\r\n\r\n")
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"tramo-response-flags: DPE" in answer
    assert closes_with(client)
    assert rig.settled()


def test_a_malformed_request_behind_head_is_answered_with_a_body() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Host: a", line=b"HEAD / HTTP/1.1"))
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    client.take()
    client.receive(b"nonsense\r\n\r\n")
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head


def test_nonsense_during_an_answer_cuts_the_connection() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    client.receive(b"nonsense\r\n\r\n")
    rig.loop.run()
    assert client.lost
    assert client.take() == b""
    assert upstream.lost
    assert rig.settled()


# Flow.


def test_a_client_that_does_not_read_stops_the_endpoint() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.blocked = True
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"a" * 100_000)
    assert not upstream.is_reading()
    client.unblock()
    assert upstream.is_reading()
    upstream.receive(b"a" * 100_000)
    assert rig.settled()


def test_an_endpoint_that_sends_on_in_a_turn_that_brought_much_is_read_on_in_the_next() -> None:
    """Else libuv reads it on as long as the client's kernel takes the bytes, and all others wait."""
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    much = b"a" * LONG_READ_BYTES
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (5 * len(much)) + much, settle=False)
    assert upstream.is_reading(), "the turn has brought little"
    rig.runtime.read_much(TURN_BYTES)  # others have brought it
    upstream.receive(much, settle=False)
    assert not upstream.is_reading()
    rig.loop.turn()
    rig.runtime.read_much(TURN_BYTES)
    upstream.receive(much[1:], settle=False)
    assert upstream.is_reading(), "a short read is no sign of more"
    client.blocked = True
    upstream.receive(much + b"a", settle=False)
    rig.loop.turn()
    assert not upstream.is_reading(), "the client has to catch up"
    client.unblock()
    rig.runtime.read_much(TURN_BYTES)
    upstream.receive(much, settle=False)
    assert upstream.is_reading(), "its answer is over: the next request begins"
    assert rig.settled()


def test_a_connection_that_was_paused_for_one_client_serves_the_next() -> None:
    rig = Http1Rig()
    upstream, slow, fast = rig.upstream(), rig.client(), rig.client()
    slow.blocked = True
    slow.receive(GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000)
    fast.receive(SECOND)
    upstream.receive(ANSWER)
    assert answers(fast.take()) == 1


def test_answers_to_pipelined_requests_wait_for_a_client_that_does_not_read() -> None:
    """Else pipelined requests would fill the memory with answers that nobody takes."""
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.blocked = True
    client.receive(GET + SECOND + GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000)
    assert not upstream.is_reading()
    client.unblock()
    assert upstream.is_reading()


def test_so_does_the_answer_to_one_that_has_no_connection_yet() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.blocked = True
    client.receive(GET + SECOND)
    upstream.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000)
    second = rig.upstream()
    assert not second.is_reading()
    client.unblock()
    assert second.is_reading()


def test_an_endpoint_that_does_not_read_stops_the_client() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    upstream.blocked = True
    client.receive(request(b"Host: a", b"Content-Length: 200000", line=b"POST / HTTP/1.1"))
    client.receive(b"a" * 100_000)
    assert not client.is_reading()
    upstream.unblock()
    assert client.is_reading()


# Time.


def test_a_slow_head_is_cut() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.receive(GET[:-2])
    for _ in range(int(HEAD_SECONDS) - 1):
        rig.loop.advance(1.0)
        client.receive(b"X")
    assert not client.is_closing()
    rig.loop.advance(1.5)
    assert client.take().startswith(b"HTTP/1.1 408 ")
    assert closes_with(client)


def test_a_slow_head_behind_a_request_is_cut() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET + SECOND[:10])
    upstream.receive(ANSWER)
    client.take()
    rig.loop.advance(HEAD_SECONDS + 1)
    assert client.take().startswith(b"HTTP/1.1 408 ")


def test_a_slow_head_does_not_cut_the_answer_before_it() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET + SECOND[:10])
    rig.loop.advance(HEAD_SECONDS + 1)
    assert not client.is_closing()
    upstream.receive(ANSWER)
    client.take()
    rig.loop.advance(HEAD_SECONDS + 1)
    assert client.take().startswith(b"HTTP/1.1 408 ")


def test_a_slow_body_is_cut() -> None:
    policy = Policy()
    rig = Http1Rig(policy=Policy(timeouts=type(policy.timeouts)(request_seconds=0.0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(POST + b"h")
    rig.loop.advance(BODY_IDLE_SECONDS - 1)
    client.receive(b"a")
    rig.loop.advance(BODY_IDLE_SECONDS - 1)
    assert not client.is_closing()
    rig.loop.advance(2)
    assert client.take().startswith(b"HTTP/1.1 408 ")
    assert closes_with(client)
    assert upstream.is_closing()
    assert rig.settled()


def test_an_idle_connection_is_closed() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    rig.loop.advance(KEEP_ALIVE_SECONDS - 1)
    client.receive(GET)
    upstream_now = rig.upstream() if upstream.lost else upstream
    upstream_now.receive(ANSWER)
    client.take()
    rig.loop.advance(KEEP_ALIVE_SECONDS - 1)
    assert not client.is_closing()
    rig.loop.advance(2)
    assert client.lost
    assert client.take() == b""


# Leaving HTTP.

WEBSOCKET = request(b"Host: orders", b"Connection: Upgrade", b"Upgrade: websocket", line=b"GET /ws HTTP/1.1")
SWITCHING = request(b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 101 Switching Protocols")


def test_a_tunnel_carries_bytes_both_ways() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET)
    assert b"upgrade: websocket" in upstream.take()
    upstream.receive(SWITCHING + b"hello")
    assert client.take().endswith(b"\r\n\r\nhello")
    client.receive(b"\x00GET")
    assert upstream.take() == b"\x00GET"
    upstream.receive(b"\xff")
    assert client.take() == b"\xff"
    assert rig.runtime.work == 1


def test_what_a_client_sends_before_the_switch_is_not_lost() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET + b"early ")
    client.receive(b"bird")
    assert upstream.take().endswith(b"\r\n\r\n")
    upstream.receive(SWITCHING)
    assert upstream.take() == b"early bird"


def test_a_client_that_sends_too_much_before_the_switch_waits() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET + b"a" * 70_000)
    assert not client.is_reading()
    upstream.take()
    upstream.receive(SWITCHING)
    assert client.is_reading()
    assert upstream.take() == b"a" * 70_000


def test_a_tunnel_ends_half_by_half() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET)
    upstream.receive(SWITCHING)
    client.receive_eof()
    assert upstream.eof_written
    assert not upstream.is_closing()
    upstream.receive(b"the rest")
    assert client.take().endswith(b"the rest")
    upstream.receive_eof()
    rig.loop.run()
    assert client.lost
    assert upstream.lost
    assert rig.settled()
    assert rig.cluster.connections == 0


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_broken_tunnel_is_closed_on_both_sides(who: str) -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET)
    upstream.receive(SWITCHING)
    (client if who == "client" else upstream).lose(ConnectionResetError())
    rig.loop.run()
    assert client.lost
    assert upstream.lost
    assert rig.settled()


def test_a_tunnel_stops_reading_where_nobody_takes() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET)
    upstream.receive(SWITCHING)
    client.blocked = upstream.blocked = True
    upstream.receive(b"a" * 70_000)
    assert not upstream.is_reading()
    client.receive(b"a" * 70_000)
    assert not client.is_reading()
    client.unblock()
    upstream.unblock()
    assert upstream.is_reading()
    assert client.is_reading()


def test_an_endpoint_may_decline_a_websocket() -> None:
    """What the client sent behind its request is the next request, in its order."""
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET + SECOND[:10])
    upstream.receive(ANSWER)
    client.receive(SECOND[10:])
    rig.loop.run()
    assert upstream.take().count(b"GET /2 ") == 1
    upstream.receive(ANSWER)
    assert answers(client.take()) == 2
    assert rig.settled()


def test_a_declined_websocket_with_nonsense_behind_it() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(WEBSOCKET + b"\x81\x05hello")
    upstream.receive(ANSWER)
    rig.loop.run()
    data = client.take()
    assert answers(data) == 2
    assert b"HTTP/1.1 400 " in data
    assert closes_with(client)


def test_an_offer_of_http2_is_not_passed_on() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    fields = (b"Host: a", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: A")
    client.receive(request(*fields, b"Content-Length: 2", line=b"POST /1 HTTP/1.1") + b"hi" + SECOND)
    sent = upstream.take()
    assert sent.startswith(b"POST /1 HTTP/1.1\r\nhost: a\r\n")
    assert sent.endswith(b"content-length: 2\r\n\r\nhi")
    assert b"upgrade" not in sent
    assert b"http2-settings" not in sent
    upstream.receive(ANSWER)
    assert upstream.take().startswith(b"GET /2 ")


def test_a_switch_that_nobody_asked_for_is_refused() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(SWITCHING + b"tunnel")
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert rig.settled()
    assert upstream.lost


# HTTP/1.0.

OPEN_ENDED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
OLD = Policy(http=Http(accept_http_10=True))


def old(policy: Policy = OLD, *fields: bytes) -> tuple[Http1Rig, FakeTransport, FakeTransport]:
    rig = Http1Rig(1, policy)
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(*fields, line=b"GET /a HTTP/1.0"))
    return rig, client, upstream


def test_http_10_is_answered_426() -> None:
    rig, client, upstream = old(Policy())
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"connection: close" in answer
    assert upstream.take() == b""
    assert rig.settled()


def test_http_10_is_served_where_the_policy_says_so() -> None:
    rig, client, upstream = old()
    sent = upstream.take()
    assert sent.startswith(b"GET /a HTTP/1.1\r\nhost: orders\r\n"), "its service's name stands for the Host it lacks"
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    answer = client.take()
    assert b"\r\ncontent-length: 2\r\n" in answer
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"ok")
    rig.loop.run()
    assert client.lost
    assert not upstream.is_closing(), "the service's connection is as good as before"
    assert rig.settled()


def test_an_open_ended_answer_ends_with_the_connection() -> None:
    rig, client, upstream = old(OLD, b"Host: a.test")
    assert b"\r\nhost: a.test\r\n" in upstream.take()
    upstream.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OPEN_ENDED)
    upstream.receive(b"5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n")
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert body == b"helloworld"
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert b"103" not in head
    assert client.lost
    assert rig.settled()


def test_what_a_client_sends_behind_http_10_is_not_read() -> None:
    rig = Http1Rig(1, OLD)
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Connection: keep-alive", line=b"GET /a HTTP/1.0") * 2)
    assert upstream.take().count(b"GET /a") == 1
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.take().count(b"HTTP/1.1 200") == 1
    assert client.lost
    assert rig.settled()


def test_http_10_behind_http_11_on_one_connection() -> None:
    rig = Http1Rig(1, OLD)
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Host: a") + request(line=b"GET /a HTTP/1.0"))
    upstream.receive(OPEN_ENDED + b"0\r\n\r\n")
    assert b"transfer-encoding: chunked" in client.take(), "the first is HTTP/1.1"
    upstream.receive(OPEN_ENDED + b"0\r\n\r\n")
    assert client.take().endswith(b"\r\n\r\nhello")
    assert client.lost
    assert rig.settled()


def test_what_the_proxy_says_itself_http_10_understands() -> None:
    rig, client, upstream = old(Policy(http=OLD.http, retries=Retries(count=0)))
    upstream.break_off()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"content-length: " in answer
    assert rig.settled()
