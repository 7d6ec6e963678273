"""What an attempt says about its endpoint, by what a caller feels of it."""

from __future__ import annotations

import pytest

from sidecar.core.http.http2_events import CANCEL, INTERNAL_ERROR, REFUSED_STREAM
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead
from sidecar.core.routing.endpoint import EJECTED, HEALTHY, PROBING
from sidecar.core.routing.policy import LoadBalancing, OutlierDetection, Policy, Timeouts
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.http2_rig import Client, Http2Bench, Peer
from tests.support.proxy.rig import ANSWER, Bench
from tests.support.wire.http1 import request

GET = request(b"Host: orders")
GRPC: Fields = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
IN_TURN = LoadBalancing("round_robin")
ONE_STRIKE = OutlierDetection(consecutive_failures=1, base_ejection_seconds=5.0)


def two(policy: Policy) -> tuple[Bench, FakeTransport, FakeTransport, FakeTransport]:
    """Two endpoints with a warm connection each: the first attempt goes to the first of those returned."""
    bench = Bench(2, policy)
    second, first = bench.upstream(0), bench.upstream(1)
    return bench, bench.client(), first, second


def over_http2(policy: Policy, endpoints: int = 2) -> tuple[Http2Bench, Client, list[Peer]]:
    bench = Http2Bench(endpoints, policy)
    return bench, bench.client(), [bench.upstream(number) for number in range(endpoints)]


def asked(bench: Http2Bench, upstreams: list[Peer]) -> tuple[int, int, RequestHead]:
    """The endpoint that was asked, the stream, and the head."""
    for number, upstream in enumerate(upstreams):
        for stream, event in upstream.take():
            if isinstance(event, RequestHead):
                return number, stream, event
    raise AssertionError("no endpoint was asked")


def test_a_break_in_the_middle_of_an_answer_is_a_failure() -> None:
    bench, client, first, _ = two(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.receive(GET)
    first.receive(ANSWER[:-1])
    assert bench.cluster.endpoints[1].health_name() == "healthy"
    first.break_off()
    assert bench.cluster.endpoints[1].health == EJECTED
    assert bench.settled()


def test_the_break_of_an_event_stream_is_none() -> None:
    bench, client, first, _ = two(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.receive(GET)
    first.receive(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    first.break_off()
    assert bench.cluster.endpoints[1].failures == 0
    assert bench.settled()


def test_a_long_answer_that_is_cut_at_its_time_is_none() -> None:
    bench, client, first, _ = two(Policy(IN_TURN, timeouts=Timeouts(request_seconds=2.0)))
    client.receive(GET)
    first.receive(ANSWER[:-1])
    bench.loop.advance(2.2)
    assert bench.cluster.endpoints[1].failures == 0
    assert bench.settled()


def test_a_refused_stream_is_a_failure_of_its_endpoint_and_of_nobody_else() -> None:
    bench, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.ask(b"POST")
    number, stream, _ = asked(bench, upstreams)
    upstreams[number].codec.reset(stream, REFUSED_STREAM)
    bench.run()
    assert bench.cluster.endpoints[number].health == EJECTED
    other, stream, _ = asked(bench, upstreams)
    assert other != number
    upstreams[other].codec.send_response(stream, ResponseHead(204, []))
    bench.run()
    assert bench.settled()


def test_one_of_three_may_refuse_all_it_gets_without_a_lost_request() -> None:
    never = OutlierDetection(consecutive_failures=0)
    bench, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=never), endpoints=3)
    for _ in range(150):
        client.ask(b"POST")
        number, stream, _ = asked(bench, upstreams)
        while number == 0:
            upstreams[0].codec.reset(stream, REFUSED_STREAM)
            bench.run()
            number, stream, _ = asked(bench, upstreams)
        upstreams[number].codec.send_response(stream, ResponseHead(204, []))
        bench.run()
    statuses = [event.status for _, event in client.take() if isinstance(event, ResponseHead)]
    assert statuses == [204] * 150
    assert bench.client_meter.retry_budget_exhausted == 0
    assert bench.settled()


def test_a_call_that_has_little_time_says_nothing_about_its_endpoint() -> None:
    bench, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.ask(b"POST", fields=[*GRPC, (b"grpc-timeout", b"200m")])
    number, _, _ = asked(bench, upstreams)
    bench.advance(0.5)
    assert bench.cluster.endpoints[number].failures == 0
    assert bench.cluster.endpoints[number].doubt > 0.0, "but no merit either"
    assert bench.settled()


def test_an_endpoint_that_is_silent_to_a_patient_call_has_failed() -> None:
    bench, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.ask(b"POST", fields=[*GRPC, (b"grpc-timeout", b"3S")])
    number, _, _ = asked(bench, upstreams)
    bench.advance(3.2)
    assert bench.cluster.endpoints[number].health == EJECTED
    assert bench.settled()


def test_a_probe_that_is_a_stream_ends_with_its_head() -> None:
    bench, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    endpoint = bench.cluster.endpoints[0]
    bench.cluster.fail(endpoint, bench.runtime.now())
    bench.advance(5.1)
    watch = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    number, stream, _ = asked(bench, upstreams)
    assert (number, endpoint.health) == (0, PROBING)
    upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0]], UNKNOWN_LENGTH))
    bench.run()
    assert endpoint.health == HEALTHY
    upstreams[0].codec.reset(stream, INTERNAL_ERROR)
    bench.run()
    assert watch


@pytest.mark.parametrize(
    ("code", "statuses_class"),
    [(b"0", 2), (b"1", 4), (b"2", 5), (b"4", 5), (b"5", 4), (b"12", 5), (b"14", 5), (b"junk", 5), (b"", 5)],
)
@pytest.mark.parametrize("in_head", [False, True])
def test_a_grpc_call_counts_by_its_grpc_status(code: bytes, statuses_class: int, in_head: bool) -> None:
    bench, client, upstreams = over_http2(Policy(), endpoints=1)
    client.ask(b"POST", fields=GRPC)
    _, stream, _ = asked(bench, upstreams)
    status: Fields = [(b"grpc-status", code)] if code else []
    if in_head and code:
        upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0], *status]))
    else:
        upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0]], UNKNOWN_LENGTH))
        bench.run()
        assert sum(bench.client_meter.statuses) == 0, "the head says nothing yet"
        upstreams[0].codec.send_end(stream, status)
    bench.run()
    assert bench.client_meter.statuses[statuses_class] == sum(bench.client_meter.statuses) == 1
    assert bench.client_meter.latency.count == 1
    assert bench.settled()


@pytest.mark.parametrize(("who", "statuses_class"), [("client", 2), ("service", 5)])
def test_a_grpc_stream_that_is_cut_counts_by_who_cut_it(who: str, statuses_class: int) -> None:
    bench, client, upstreams = over_http2(Policy(), endpoints=1)
    watch = client.ask(b"POST", fields=GRPC)
    _, stream, _ = asked(bench, upstreams)
    upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0]], UNKNOWN_LENGTH))
    bench.run()
    if who == "client":
        client.codec.reset(watch, CANCEL)
    else:
        upstreams[0].codec.reset(stream, INTERNAL_ERROR)
    bench.run()
    assert bench.client_meter.statuses[statuses_class] == sum(bench.client_meter.statuses) == 1
    assert bench.settled()


def test_what_is_left_of_a_deadline_is_passed_on() -> None:
    bench = Http2Bench(1, Policy(timeouts=Timeouts(connect_seconds=5.0)))
    client = bench.client()
    client.ask(b"POST", fields=[*GRPC, (b"grpc-timeout", b"3S")])
    bench.advance(1.0)
    upstream = bench.upstream()
    _, _, head = asked(bench, [upstream])
    assert head.get(b"grpc-timeout") in (b"1999m", b"2000m")


BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n"


@pytest.mark.parametrize(("field", "status"), [(b"Retry-After: 5\r\n", b"503"), (b"", b"200")])
def test_a_retry_keeps_the_pause_that_the_only_endpoint_asks_for(field: bytes, status: bytes) -> None:
    bench = Bench(1)
    upstream, client = bench.upstream(), bench.client()
    client.receive(GET)
    upstream.receive(BUSY + field + b"\r\n")
    if not field:
        upstream.receive(ANSWER)
    assert client.take()[9:12] == status
    assert bench.settled()


def test_another_endpoint_gets_the_retry_meanwhile() -> None:
    bench, client, first, second = two(Policy(IN_TURN))
    client.receive(GET)
    first.receive(BUSY + b"Retry-After: 5\r\n\r\n")
    second.receive(ANSWER)
    assert client.take()[9:12] == b"200"
    assert bench.cluster.endpoints[1].rests_until == bench.loop.now + 5.0
    assert bench.settled()
