"""One request on its way: attempts, verdicts, time, and nothing left behind."""

from __future__ import annotations

import errno
import socket

import pytest

from sidecar.core.routing.endpoint import EJECTED
from sidecar.core.routing.policy import LOCAL_APP, LoadBalancing, OutlierDetection, Policy, Retries, Timeouts
from sidecar.core.routing.retry import MAX_KEPT_BODY_BYTES
from sidecar.proxy.base.sockets import ONE_SEGMENT_BYTES
from sidecar.proxy.upstream.http1 import Http1UpstreamConnection
from sidecar.proxy.upstream.http1_pool import Http1Pool
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.rig import ANSWER, Http1Rig
from tests.support.wire.http1 import request

IN_TURN = Policy(load_balancing=LoadBalancing("round_robin"))
GET = request(b"Host: orders")
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


def post(length: int, method: bytes = b"POST") -> bytes:
    return request(b"Host: orders", b"Content-Length: %d" % length, line=method + b" / HTTP/1.1")


def two(policy: Policy = IN_TURN) -> tuple[Http1Rig, FakeTransport, FakeTransport, FakeTransport]:
    """Two endpoints with a warm connection each: the first attempt goes to the first of those returned."""
    rig = Http1Rig(2, policy)
    second, first = rig.upstream(0), rig.upstream(1)
    return rig, rig.client(), first, second


def status(client: FakeTransport) -> bytes:
    return client.take()[9:12]


# Retries.


def test_a_failed_answer_is_replaced_by_that_of_another_endpoint() -> None:
    rig, client, first, second = two()
    client.receive(GET)
    assert first.take().startswith(b"GET /")
    first.receive(BUSY)
    assert second.take().startswith(b"GET /")
    assert client.take() == b""
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()
    assert not first.is_closing(), "its answer came whole: the connection is as good as before"
    assert rig.client_meter.retries == 1
    assert [endpoint.failures for endpoint in rig.cluster.endpoints] == [0, 1]


def test_the_rest_of_a_failed_answer_goes_nowhere() -> None:
    rig, client, first, second = two()
    client.receive(GET)
    first.receive(BUSY[:-2])
    second.receive(ANSWER)
    assert status(client) == b"200"
    rig.loop.run()
    assert first.lost, "half an answer may not meet the next request"
    assert rig.settled()


def test_the_last_failure_is_passed_on() -> None:
    rig, client, first, second = two()
    client.receive(GET)
    first.receive(BUSY)
    second.receive(BUSY)
    first.receive(BUSY) if first.take() else second.receive(BUSY)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"tramo-response-flags: URX\r\n" in answer
    assert rig.client_meter.flags == {"URX": 1}
    assert rig.settled()
    assert rig.client_meter.retries == 2


def test_a_body_is_sent_again_whole() -> None:
    rig, client, first, second = two()
    client.receive(post(10, b"PUT") + b"hello")
    assert first.take().endswith(b"\r\n\r\nhello")
    first.receive(BUSY)
    assert second.take().endswith(b"\r\n\r\nhello")
    client.receive(b"world")
    assert second.take() == b"world"
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()


def test_trailers_are_sent_again() -> None:
    rig, client, first, second = two()
    client.receive(
        request(b"Host: a", b"Transfer-Encoding: chunked", line=b"PUT / HTTP/1.1") + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    sent = first.take()
    assert sent.endswith(b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")
    first.receive(BUSY)
    assert second.take() == sent
    second.receive(ANSWER)
    assert rig.settled()


def test_a_body_that_is_too_long_is_not_kept() -> None:
    rig, client, first, _ = two()
    client.receive(post(MAX_KEPT_BODY_BYTES + 1, b"PUT"))
    client.receive(b"a" * (MAX_KEPT_BODY_BYTES + 1))
    first.receive(BUSY)
    assert status(client) == b"503"
    assert rig.settled()


def test_the_longest_body_that_is_kept() -> None:
    rig, client, first, second = two()
    client.receive(post(MAX_KEPT_BODY_BYTES, b"PUT"))
    client.receive(b"a" * MAX_KEPT_BODY_BYTES)
    first.receive(BUSY)
    assert second.take().count(b"a" * 1024) == 64
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()


def test_an_answer_that_says_unprocessed_is_retried_for_every_method() -> None:
    rig, client, first, second = two()
    client.receive(post(2) + b"hi")
    first.receive(BUSY.replace(b"\r\n\r\n", b"\r\nTramo-Unprocessed: true\r\n\r\n"))
    assert second.take().endswith(b"hi")
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_reset_before_an_answer(method: bytes) -> None:
    rig, client, first, second = two()
    client.receive(post(0, method))
    first.break_off()
    if method == b"GET":
        second.receive(ANSWER)
        assert status(client) == b"200"
    else:
        assert second.take() == b""
        assert status(client) == b"502"
    assert rig.settled()


def test_a_reset_within_the_head_is_not_retried() -> None:
    rig, client, first, _ = two()
    client.receive(GET)
    first.receive(b"HTTP/1.1 200 O")
    first.break_off()
    assert status(client) == b"502"
    assert rig.settled()


def test_a_reset_within_the_body_cuts_the_client() -> None:
    rig, client, first, _ = two()
    client.receive(GET)
    first.receive(ANSWER[:-1])
    client.take()
    first.break_off()
    rig.loop.run()
    assert client.lost
    assert client.take() == b""
    assert rig.settled()


def test_a_connection_that_died_idle_is_not_held_against_the_endpoint() -> None:
    rig, client, first, second = two()
    client.receive(GET)
    first.receive(ANSWER)
    client.receive(GET)
    second.receive(ANSWER)
    client.take()
    client.receive(GET)
    first.lose(None)
    assert all(endpoint.failures == 0 for endpoint in rig.cluster.endpoints)


@pytest.mark.parametrize("kind", ["503", "reset"])
def test_the_policy_says_what_is_retried(kind: str) -> None:
    policy = Policy(load_balancing=LoadBalancing("round_robin"), retries=Retries(on=("connect_failure",)))
    rig, client, first, second = two(policy)
    client.receive(GET)
    if kind == "503":
        first.receive(BUSY)
    else:
        first.break_off()
    assert second.take() == b""
    assert status(client) == (b"503" if kind == "503" else b"502")
    assert rig.settled()


def test_the_app_of_this_task_is_asked_once() -> None:
    rig = Http1Rig(1, LOCAL_APP)
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.take()
    upstream.receive(BUSY.replace(b"\r\n\r\n", b"\r\nTramo-Unprocessed: true\r\n\r\n"))
    assert upstream.take() == b""
    assert status(client) == b"503"
    assert rig.settled()


# Verdicts.


@pytest.mark.parametrize(("code", "failures"), [(200, 0), (404, 0), (429, 0), (500, 1), (503, 1)])
def test_what_speaks_against_an_endpoint(code: int, failures: int) -> None:
    rig = Http1Rig(1, Policy(retries=Retries(count=0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code)
    assert rig.cluster.endpoints[0].failures == failures
    assert rig.client_meter.latency.count == 1
    assert rig.settled()


def test_a_client_that_leaves_says_nothing_about_the_endpoint() -> None:
    rig = Http1Rig(2, Policy(outlier_detection=OutlierDetection(consecutive_failures=1)))
    upstream, client = rig.upstream(), rig.client()
    rig.cluster.endpoints.pop()
    client.receive(GET)
    client.lose(ConnectionResetError())
    rig.loop.run()
    assert upstream.lost
    assert rig.cluster.endpoints[0].failures == 0
    assert rig.cluster.endpoints[0].health != EJECTED
    assert rig.settled()


def test_a_client_that_leaves_while_waiting_for_a_connection() -> None:
    rig = Http1Rig()
    client = rig.client()
    client.receive(GET)
    assert rig.cluster.pending_requests == 1
    client.lose(None)
    assert rig.settled()
    late = rig.upstream()
    assert late.take() == b""
    assert not late.is_closing(), "it is kept for the next one"


# Time.


def test_the_request_time_out_answers_and_frees() -> None:
    rig = Http1Rig(1, Policy(timeouts=Timeouts(request_seconds=2.0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    rig.loop.advance(1.9)
    assert client.take() == b""
    rig.loop.advance(0.2)
    assert status(client) == b"504"
    assert upstream.lost
    assert rig.client_meter.timeouts == 1
    assert rig.settled()


def test_the_request_time_out_covers_waiting_for_a_connection_and_all_attempts() -> None:
    rig = Http1Rig(1, Policy(timeouts=Timeouts(request_seconds=2.0)))
    client = rig.client()
    client.receive(GET)
    rig.loop.advance(2.1)
    assert status(client) == b"504"
    assert rig.settled()
    rig, client, first, _ = two(
        Policy(load_balancing=LoadBalancing("round_robin"), timeouts=Timeouts(request_seconds=2.0))
    )
    client.receive(GET)
    rig.loop.advance(1.5)
    first.receive(BUSY)
    rig.loop.advance(0.6)
    assert status(client) == b"504"
    assert rig.settled()


def test_the_request_time_out_runs_from_the_end_of_the_request() -> None:
    rig = Http1Rig(policy=Policy(timeouts=Timeouts(request_seconds=5.0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Host: orders", b"Content-Length: 4", line=b"POST / HTTP/1.1"))
    for piece in (b"a", b"b", b"c", b"d"):
        rig.loop.advance(4.0)
        assert client.take() == b"", "an upload takes as long as its client needs"
        client.receive(piece)
    rig.loop.advance(4.9)
    assert client.take() == b""
    rig.loop.advance(0.2)
    assert client.take().startswith(b"HTTP/1.1 504")
    assert upstream.lost
    assert rig.settled()


def test_an_upload_that_an_endpoint_does_not_take_ends_by_the_idle_time_out() -> None:
    rig = Http1Rig(policy=Policy(timeouts=Timeouts(request_seconds=5.0, idle_seconds=60.0)))
    upstream, client = rig.upstream(), rig.client()
    upstream.blocked = True
    client.receive(request(b"Host: orders", b"Content-Length: 1000000", line=b"POST / HTTP/1.1") + bytes(200_000))
    rig.loop.advance(59.0)
    assert client.take() == b""
    rig.loop.advance(2.0)
    assert client.take().startswith(b"HTTP/1.1 504")
    assert rig.settled()


def test_an_answer_under_way_is_cut_at_its_time() -> None:
    rig = Http1Rig(1, Policy(timeouts=Timeouts(request_seconds=2.0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(ANSWER[:-1])
    client.take()
    rig.loop.advance(2.1)
    assert client.take() == b""
    assert client.lost
    assert rig.settled()


@pytest.mark.parametrize("content_type", [b"text/event-stream", b"text/event-stream; charset=utf-8"])
def test_a_stream_lives_while_something_moves(content_type: bytes) -> None:
    rig = Http1Rig(1, Policy(timeouts=Timeouts(request_seconds=2.0, idle_seconds=5.0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        rig.loop.advance(4.0)
        upstream.receive(b"1\r\nx\r\n")
    assert not client.is_closing()
    rig.loop.advance(5.2)
    assert client.lost
    assert rig.settled()


def test_a_stream_goes_on_when_a_new_policy_has_no_idle_time_out() -> None:
    rig = Http1Rig(1, Policy(timeouts=Timeouts(request_seconds=2.0, idle_seconds=5.0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    rig.cluster.policy = Policy(timeouts=Timeouts(request_seconds=2.0, idle_seconds=0.0))
    rig.loop.advance(60.0)
    assert not client.is_closing()
    upstream.receive(b"0\r\n\r\n")
    assert client.take().endswith(b"0\r\n\r\n")
    assert rig.settled()


def test_a_time_out_of_both_at_once_is_answered_once() -> None:
    """The client's body and the request are due in the same tick."""
    rig = Http1Rig(1, Policy(timeouts=Timeouts(request_seconds=30.0)))
    rig.upstream()
    client = rig.client()
    client.receive(post(10) + b"h")
    rig.loop.advance(31.0)
    assert client.take().count(b"HTTP/1.1 ") <= 1
    assert rig.server_meter.requests <= 1
    assert rig.settled()
    rig.loop.advance(31.0)
    assert client.eof_written
    assert client.take() == b""


def test_no_time_out_where_the_policy_has_none() -> None:
    rig = Http1Rig(1, Policy(timeouts=Timeouts(request_seconds=0.0)))
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    rig.loop.advance(3600.0)
    upstream.receive(ANSWER)
    assert status(client) == b"200"


# Connections of the pool.


def test_a_connection_that_is_closing_is_not_used() -> None:
    rig = Http1Rig()
    closing, client = rig.upstream(), rig.client()
    fresh = rig.upstream()
    rig.destination.pool(rig.cluster.endpoints[0])
    fresh.receive_eof()
    client.receive(GET)
    assert closing.take().startswith(b"GET")
    closing.receive(ANSWER)
    assert status(client) == b"200"


@pytest.mark.parametrize("how", ["eof", "bytes"])
def test_not_even_before_the_loop_says_so(how: str) -> None:
    """Between an end and `connection_lost` other sockets of the same turn are read."""
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    if how == "eof":
        upstream.receive_eof(settle=False)
    else:
        upstream.receive(b"nobody asked", settle=False)
    client.receive(GET)
    assert upstream.take() == b""
    assert rig.cluster.pending_requests == 1
    second = rig.upstream()
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()


def test_what_comes_before_the_request_has_left_is_not_its_answer() -> None:
    """A second answer right behind the first: the next request is on the connection already, but not on the wire."""
    rig = Http1Rig()
    upstream, one, other = rig.upstream(), rig.client(), rig.client()
    one.receive(GET)
    upstream.receive(ANSWER, settle=False)
    other.receive(post(2) + b"hi", settle=False)
    upstream.receive(ANSWER.replace(b"ok", b"no"), settle=False)
    rig.loop.run()
    assert upstream.lost
    assert one.take().endswith(b"ok")
    assert other.take() == b""
    second = rig.upstream()
    assert second.take().endswith(b"hi"), "it was never sent, so even a POST goes elsewhere"
    second.receive(ANSWER)
    assert other.take().endswith(b"ok")
    assert rig.settled()


def test_a_connection_rests_until_its_end_would_have_been_read() -> None:
    """An app closes behind its answer, while another client's POST waits: it was never sent, so it goes elsewhere."""
    rig = Http1Rig()
    upstream, one, other = rig.upstream(), rig.client(), rig.client()
    one.receive(GET)
    upstream.receive(ANSWER, settle=False)
    other.receive(post(2) + b"hi", settle=False)
    rig.loop.turn()
    upstream.take()
    upstream.receive_eof(settle=False)
    rig.loop.run()
    assert upstream.lost
    assert upstream.take() == b""
    second = rig.upstream()
    assert second.take().endswith(b"hi")
    second.receive(ANSWER)
    assert other.take().endswith(b"ok")
    assert rig.cluster.endpoints[0].failures == 0
    assert rig.settled()


def test_a_request_that_waits_for_a_connection_gets_the_next_one_that_has_rested() -> None:
    rig = Http1Rig()
    upstream, one, other = rig.upstream(), rig.client(), rig.client()
    one.receive(GET)
    other.receive(GET)
    upstream.take()
    upstream.receive(ANSWER, settle=False)
    rig.loop.turn()
    assert upstream.take() == b"", "its end may be there to be read"
    rig.loop.run()
    assert upstream.take().startswith(b"GET")
    upstream.receive(ANSWER)
    assert (status(one), status(other)) == (b"200", b"200")
    assert rig.settled()


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_connection_that_ends_before_the_request_has_left_has_not_carried_it(how: str) -> None:
    """The endpoint closes an idle connection in the very turn in which it is taken: even a POST goes elsewhere."""
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(post(2) + b"hi", settle=False)
    if how == "end":
        upstream.receive_eof(settle=False)
    else:
        upstream.lose(ConnectionResetError())
    rig.loop.run()
    assert upstream.take() == b""
    second = rig.upstream()
    assert second.take().endswith(b"hi")
    second.receive(ANSWER)
    assert client.take().endswith(b"ok")
    assert rig.cluster.endpoints[0].failures == 0
    assert rig.settled()


@pytest.mark.parametrize(
    ("error", "size", "status_code"),
    [(errno.EPIPE, 2, b"200"), (0, 2, b"502"), (errno.EPIPE, ONE_SEGMENT_BYTES, b"502")],
    ids=["closed before", "read and closed", "in more than one segment"],
)
def test_a_post_is_sent_again_when_the_kernel_says_that_the_endpoint_had_closed(
    error: int, size: int, status_code: bytes
) -> None:
    rig, client, first, second = two()
    client.receive(post(size) + bytes(size))
    assert first.take().endswith(bytes(size))
    first.socket.error = error
    first.receive_eof()
    if second.take():
        second.receive(ANSWER)
    assert status(client) == status_code
    assert rig.settled()


@pytest.mark.parametrize(
    ("to_app", "ended", "status_code"),
    [(True, True, b"200"), (True, False, b"502"), (False, True, b"502")],
    ids=["ended", "listens on", "not this task's app"],
)
def test_a_post_that_an_app_left_unread_as_it_ended_is_sent_again(
    to_app: bool, ended: bool, status_code: bytes
) -> None:
    rig, client, first, second = two()
    endpoint = rig.cluster.endpoints[1]
    rig.destination.pool(endpoint).to_app = to_app
    with socket.create_server(("127.0.0.1", 0)) as app:
        endpoint.address, endpoint.port = app.getsockname()
        if ended:
            app.close()
        client.receive(post(2) + b"hi")
        assert first.take().endswith(b"hi")
        first.break_off()
    if second.take():
        second.receive(ANSWER)
    assert status(client) == status_code
    assert rig.settled()


def test_a_post_that_was_sent_in_pieces_is_not_sent_again() -> None:
    """Its head may have been read before the endpoint closed."""
    rig, client, first, second = two()
    client.receive(post(2) + b"h")
    client.receive(b"i")
    first.socket.error = errno.EPIPE
    first.receive_eof()
    assert second.take() == b""
    assert status(client) == b"502"
    assert rig.settled()


def test_an_answer_that_breaks_off_is_not_taken_for_none() -> None:
    rig, client, first, second = two()
    client.receive(post(0))
    first.receive(b"HTTP/1.1 200")
    first.socket.error = errno.EPIPE
    first.receive_eof()
    assert second.take() == b""
    assert status(client) == b"502"
    assert rig.settled()


def test_idle_connections_are_closed_in_time() -> None:
    rig = Http1Rig()
    upstream = rig.upstream()
    rig.loop.advance(29.0)
    assert not upstream.is_closing()
    rig.loop.advance(2.0)
    assert upstream.lost
    assert rig.cluster.connections == 0


def test_connections_are_kept_only_where_both_sides_keep_them() -> None:
    for answer, kept in (
        (ANSWER, True),
        (ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), False),
        (ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (ANSWER + b"surplus", False),
    ):
        rig = Http1Rig()
        upstream, client = rig.upstream(), rig.client()
        client.receive(GET)
        upstream.receive(answer)
        assert status(client) == b"200"
        assert upstream.lost != kept
        assert rig.settled()


def test_an_endpoint_that_leaves_keeps_no_connection() -> None:
    rig = Http1Rig()
    busy, idle, client = rig.upstream(), rig.upstream(), rig.client()
    client.receive(GET)
    used, unused = (idle, busy) if idle.take() else (busy, idle)
    rig.destination.close()
    rig.loop.run()
    assert unused.lost
    assert not used.is_closing()
    used.receive(ANSWER)
    assert status(client) == b"200"
    assert used.lost
    assert rig.settled()


def test_informational_answers_pass() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert client.take() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    upstream.receive(ANSWER)
    assert status(client) == b"200"


# Probes.


def test_one_request_at_most_finds_out_that_an_endpoint_is_still_bad() -> None:
    policy = Policy(outlier_detection=OutlierDetection(consecutive_failures=1, base_ejection_seconds=5.0))
    rig = Http1Rig(2, policy)
    bad, good = rig.upstream(0), rig.upstream(1)
    rig.cluster.fail(rig.cluster.endpoints[0], rig.loop.now)
    rig.loop.advance(5.0)
    clients = [rig.client() for _ in range(4)]
    for client in clients:
        client.receive(GET)
    assert bad.take().count(b"GET /") == 1
    assert good.take().count(b"GET /") == 1
    assert rig.cluster.pending_requests == 2, "all others go to the good one"
    bad.receive(BUSY)
    assert rig.cluster.pending_requests == 3, "and so does the probe, now that it has failed"
    endpoint = rig.cluster.endpoints[0]
    assert (endpoint.health, endpoint.ejected_until) == (EJECTED, rig.loop.now + 10.0)
    for upstream in (good, good, rig.upstream(1), rig.upstream(1)):
        upstream.receive(ANSWER)
    assert [client.take()[9:12] for client in clients] == [b"200"] * 4
    assert rig.settled()


# Per-try time-out.

PER_TRY = Policy(
    load_balancing=LoadBalancing("round_robin"), timeouts=Timeouts(request_seconds=10.0, per_try_seconds=1.0)
)


def flags(answer: bytes) -> bytes:
    return answer.partition(b"tramo-response-flags: ")[2].partition(b"\r\n")[0]


def test_an_attempt_that_takes_too_long_is_followed_by_another() -> None:
    rig, client, first, second = two(PER_TRY)
    client.receive(GET)
    rig.loop.advance(0.9)
    assert second.take() == b""
    rig.loop.advance(0.2)
    assert first.lost, "nobody waits for its answer"
    assert second.take().startswith(b"GET /")
    rig.loop.advance(0.9)
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert [endpoint.failures for endpoint in rig.cluster.endpoints] == [0, 1]
    assert rig.client_meter.timeouts == 0, "the request was answered"
    assert rig.settled()


def test_the_last_attempt_that_takes_too_long_is_answered_504() -> None:
    policy = Policy(PER_TRY.load_balancing, Retries(count=1), PER_TRY.timeouts)
    rig, client, _, _ = two(policy)
    client.receive(GET)
    rig.loop.advance(2.2)
    answer = client.take()
    assert (answer[9:12], flags(answer)) == (b"504", b"UT,URX")
    assert rig.client_meter.flags == {"URX": 1, "UT": 1}
    assert (rig.client_meter.timeouts, rig.client_meter.retries) == (1, 1)
    assert rig.settled()


def test_what_may_have_been_processed_is_not_sent_again_for_its_time() -> None:
    rig, client, first, second = two(PER_TRY)
    client.receive(post(2) + b"hi")
    rig.loop.advance(1.1)
    assert first.lost
    assert second.take() == b""
    assert status(client) == b"504"
    assert rig.settled()


def test_an_attempt_that_waits_for_a_connection_is_moved_whatever_the_method() -> None:
    rig = Http1Rig(2, PER_TRY)
    client, second = rig.client(), rig.upstream(0)
    client.receive(post(2) + b"hi")
    assert rig.cluster.pending_requests == 1
    rig.loop.advance(1.1)
    assert second.take().endswith(b"hi")
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()


def test_a_client_that_is_slow_with_its_body_costs_no_attempt() -> None:
    rig, client, first, second = two(PER_TRY)
    client.receive(post(2, b"PUT") + b"h")
    rig.loop.advance(5.0)
    client.receive(b"i")
    first.receive(ANSWER)
    assert status(client) == b"200"
    assert second.take() == b""
    assert rig.settled()


def test_an_answer_that_has_begun_may_take_longer() -> None:
    rig, client, first, _ = two(PER_TRY)
    client.receive(GET)
    rig.loop.advance(0.9)
    first.receive(ANSWER[:-1])
    rig.loop.advance(5.0)
    first.receive(ANSWER[-1:])
    assert status(client) == b"200"
    assert rig.settled()


@pytest.mark.parametrize("request_seconds", [1.0, 1.5])
def test_the_request_time_out_ends_all_attempts(request_seconds: float) -> None:
    """Due in the same tick or in the middle of a later attempt: one answer, and no attempt without time for it."""
    policy = Policy(PER_TRY.load_balancing, timeouts=Timeouts(request_seconds=request_seconds, per_try_seconds=1.0))
    rig, client, _, _ = two(policy)
    client.receive(GET)
    rig.loop.advance(1.6)
    assert client.take().count(b"HTTP/1.1 504") == 1
    assert rig.client_meter.retries == (0 if request_seconds == 1.0 else 1)
    assert rig.client_meter.timeouts == 1
    assert rig.settled()


# What of the body comes when.


def test_a_retry_does_not_take_the_next_endpoint_for_full() -> None:
    """Its client is slow, and the time-out of the attempt is for the endpoint."""
    policy = Policy(PER_TRY.load_balancing, timeouts=Timeouts(request_seconds=20.0, per_try_seconds=1.0))
    rig, client, first, second = two(policy)
    first.blocked = True
    client.receive(post(70_000, b"PUT") + b"a" * 60_000)
    client.receive(b"a" * 5_400)
    assert not client.is_reading(), "the endpoint does not take it"
    rig.loop.advance(1.1)
    assert first.lost
    assert client.is_reading()
    assert second.take().count(b"a" * 100) == 654
    rig.loop.advance(5.0)
    client.receive(b"a" * 4_600)
    second.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()


def test_an_endpoint_that_is_full_with_what_was_kept_stops_the_client() -> None:
    rig = Http1Rig(1)
    client = rig.client()
    client.receive(post(200_000, b"PUT") + b"a" * 60_000)
    client.receive(b"a" * 60_000)
    assert not client.is_reading(), "there is no connection yet"
    pool = rig.destination.pool(rig.cluster.endpoints[0])
    assert isinstance(pool, Http1Pool)
    connection = Http1UpstreamConnection(pool)
    rig.cluster.connections += 1
    upstream = FakeTransport(rig.loop, connection)
    upstream.blocked = True
    pool.release(connection)
    rig.loop.run()
    assert not client.is_reading(), "and now it waits in the endpoint's buffer"
    upstream.unblock()
    assert client.is_reading()
    client.receive(b"a" * 80_000)
    upstream.receive(ANSWER)
    assert status(client) == b"200"
    assert rig.settled()
