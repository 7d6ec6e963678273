"""What an attempt says about its endpoint, by what a caller feels of it."""

from __future__ import annotations

import pytest

from sidecar.core.http.http2_events import CANCEL, INTERNAL_ERROR, REFUSED_STREAM
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead
from sidecar.core.routing.endpoint import EJECTED, HEALTHY, PROBING
from sidecar.core.routing.policy import LoadBalancing, OutlierDetection, Policy, Timeouts
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.rig import ANSWER, Client, Http1Rig, Http2Rig, Peer
from tests.support.wire.http1 import request

GET = request(b"Host: orders")
GRPC: Fields = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
IN_TURN = LoadBalancing("round_robin")
ONE_STRIKE = OutlierDetection(consecutive_failures=1, base_ejection_seconds=5.0)


def two(policy: Policy) -> tuple[Http1Rig, FakeTransport, FakeTransport, FakeTransport]:
    """Two endpoints with a warm connection each: the first attempt goes to the first of those returned."""
    rig = Http1Rig(2, policy)
    second, first = rig.upstream(0), rig.upstream(1)
    return rig, rig.client(), first, second


def over_http2(policy: Policy, endpoints: int = 2) -> tuple[Http2Rig, Client, list[Peer]]:
    rig = Http2Rig(endpoints, policy)
    return rig, rig.client(), [rig.upstream(number) for number in range(endpoints)]


def asked(rig: Http2Rig, upstreams: list[Peer]) -> tuple[int, int, RequestHead]:
    """The endpoint that was asked, the stream, and the head."""
    for number, upstream in enumerate(upstreams):
        for stream, event in upstream.take():
            if isinstance(event, RequestHead):
                return number, stream, event
    raise AssertionError("no endpoint was asked")


def test_a_break_in_the_middle_of_an_answer_is_a_failure() -> None:
    rig, client, first, _ = two(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.receive(GET)
    first.receive(ANSWER[:-1])
    assert rig.cluster.endpoints[1].health_name() == "healthy"
    first.break_off()
    assert rig.cluster.endpoints[1].health == EJECTED
    assert rig.settled()


def test_the_break_of_an_event_stream_is_none() -> None:
    rig, client, first, _ = two(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.receive(GET)
    first.receive(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    first.break_off()
    assert rig.cluster.endpoints[1].failures == 0
    assert rig.settled()


def test_a_long_answer_that_is_cut_at_its_time_is_none() -> None:
    rig, client, first, _ = two(Policy(IN_TURN, timeouts=Timeouts(request_seconds=2.0)))
    client.receive(GET)
    first.receive(ANSWER[:-1])
    rig.loop.advance(2.2)
    assert rig.cluster.endpoints[1].failures == 0
    assert rig.settled()


def test_a_refused_stream_is_a_failure_of_its_endpoint_and_of_nobody_else() -> None:
    rig, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.ask(b"POST")
    number, stream, _ = asked(rig, upstreams)
    upstreams[number].codec.reset(stream, REFUSED_STREAM)
    rig.run()
    assert rig.cluster.endpoints[number].health == EJECTED
    other, stream, _ = asked(rig, upstreams)
    assert other != number
    upstreams[other].codec.send_response(stream, ResponseHead(204, []))
    rig.run()
    assert rig.settled()


def test_one_of_three_may_refuse_all_it_gets_without_a_lost_request() -> None:
    never = OutlierDetection(consecutive_failures=0)
    rig, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=never), endpoints=3)
    for _ in range(150):
        client.ask(b"POST")
        number, stream, _ = asked(rig, upstreams)
        while number == 0:
            upstreams[0].codec.reset(stream, REFUSED_STREAM)
            rig.run()
            number, stream, _ = asked(rig, upstreams)
        upstreams[number].codec.send_response(stream, ResponseHead(204, []))
        rig.run()
    statuses = [event.status for _, event in client.take() if isinstance(event, ResponseHead)]
    assert statuses == [204] * 150
    assert rig.client_meter.retry_budget_exhausted == 0
    assert rig.settled()


def test_a_call_that_has_little_time_says_nothing_about_its_endpoint() -> None:
    rig, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.ask(b"POST", fields=[*GRPC, (b"grpc-timeout", b"200m")])
    number, _, _ = asked(rig, upstreams)
    rig.advance(0.5)
    assert rig.cluster.endpoints[number].failures == 0
    assert rig.cluster.endpoints[number].doubt > 0.0, "but no merit either"
    assert rig.settled()


def test_an_endpoint_that_is_silent_to_a_patient_call_has_failed() -> None:
    rig, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    client.ask(b"POST", fields=[*GRPC, (b"grpc-timeout", b"3S")])
    number, _, _ = asked(rig, upstreams)
    rig.advance(3.2)
    assert rig.cluster.endpoints[number].health == EJECTED
    assert rig.settled()


def test_a_probe_that_is_a_stream_ends_with_its_head() -> None:
    rig, client, upstreams = over_http2(Policy(IN_TURN, outlier_detection=ONE_STRIKE))
    endpoint = rig.cluster.endpoints[0]
    rig.cluster.fail(endpoint, rig.runtime.now())
    rig.advance(5.1)
    watch = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    number, stream, _ = asked(rig, upstreams)
    assert (number, endpoint.health) == (0, PROBING)
    upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0]], UNKNOWN_LENGTH))
    rig.run()
    assert endpoint.health == HEALTHY
    upstreams[0].codec.reset(stream, INTERNAL_ERROR)
    rig.run()
    assert watch


@pytest.mark.parametrize(
    ("code", "statuses_class"),
    [(b"0", 2), (b"1", 4), (b"2", 5), (b"4", 5), (b"5", 4), (b"12", 5), (b"14", 5), (b"junk", 5), (b"", 5)],
)
@pytest.mark.parametrize("in_head", [False, True])
def test_a_grpc_call_counts_by_its_grpc_status(code: bytes, statuses_class: int, in_head: bool) -> None:
    rig, client, upstreams = over_http2(Policy(), endpoints=1)
    client.ask(b"POST", fields=GRPC)
    _, stream, _ = asked(rig, upstreams)
    status: Fields = [(b"grpc-status", code)] if code else []
    if in_head and code:
        upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0], *status]))
    else:
        upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0]], UNKNOWN_LENGTH))
        rig.run()
        assert sum(rig.client_meter.statuses) == 0, "the head says nothing yet"
        upstreams[0].codec.send_end(stream, status)
    rig.run()
    assert rig.client_meter.statuses[statuses_class] == sum(rig.client_meter.statuses) == 1
    assert rig.client_meter.latency.count == 1
    assert rig.settled()


@pytest.mark.parametrize(("who", "statuses_class"), [("client", 2), ("service", 5)])
def test_a_grpc_stream_that_is_cut_counts_by_who_cut_it(who: str, statuses_class: int) -> None:
    rig, client, upstreams = over_http2(Policy(), endpoints=1)
    watch = client.ask(b"POST", fields=GRPC)
    _, stream, _ = asked(rig, upstreams)
    upstreams[0].codec.send_response(stream, ResponseHead(200, [GRPC[0]], UNKNOWN_LENGTH))
    rig.run()
    if who == "client":
        client.codec.reset(watch, CANCEL)
    else:
        upstreams[0].codec.reset(stream, INTERNAL_ERROR)
    rig.run()
    assert rig.client_meter.statuses[statuses_class] == sum(rig.client_meter.statuses) == 1
    assert rig.settled()


def test_what_is_left_of_a_deadline_is_passed_on() -> None:
    rig = Http2Rig(1, Policy(timeouts=Timeouts(connect_seconds=5.0)))
    client = rig.client()
    client.ask(b"POST", fields=[*GRPC, (b"grpc-timeout", b"3S")])
    rig.advance(1.0)
    upstream = rig.upstream()
    _, _, head = asked(rig, [upstream])
    assert head.get(b"grpc-timeout") in (b"1999m", b"2000m")


BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n"


@pytest.mark.parametrize(("field", "status"), [(b"Retry-After: 5\r\n", b"503"), (b"", b"200")])
def test_a_retry_keeps_the_pause_that_the_only_endpoint_asks_for(field: bytes, status: bytes) -> None:
    rig = Http1Rig(1)
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(BUSY + field + b"\r\n")
    if not field:
        upstream.receive(ANSWER)
    assert client.take()[9:12] == status
    assert rig.settled()


def test_another_endpoint_gets_the_retry_meanwhile() -> None:
    rig, client, first, second = two(Policy(IN_TURN))
    client.receive(GET)
    first.receive(BUSY + b"Retry-After: 5\r\n\r\n")
    second.receive(ANSWER)
    assert client.take()[9:12] == b"200"
    assert rig.cluster.endpoints[1].rests_until == rig.loop.now + 5.0
    assert rig.settled()
