"""Endpoints that fail: what is tried again, what is not, and who is left out."""

from __future__ import annotations

import http.client
import socket
import threading
from typing import Any

import pytest

from tests.support.proxy.sidecar import Address, Backend, Behaviour, Peer, Request, Stage, receive_until
from tests.support.waiting import until

IN_TURN: dict[str, Any] = {
    "load_balancing": {"algorithm": "round_robin"},
    "outlier_detection": {"consecutive_failures": 0},
}


def answering(status: int, *fields: str) -> Behaviour:
    return lambda peer, request: peer.answer(status, b"failed", *fields)


def reset(peer: Peer, request: Request) -> None:
    peer.reset()


def pair(stage: Stage, name: str, behaviour: Behaviour, **policy: Any) -> tuple[Backend, Backend, Address]:
    """A good and a bad endpoint that are asked in turn."""
    good, bad = stage.backend(f"{name}-good"), stage.backend(f"{name}-bad")
    bad.behaviours["/"] = behaviour
    return good, bad, stage.publish(name, good, bad, policy=IN_TURN | policy)


def statuses(address: Address, method: str, count: int = 6, body: bytes | None = None) -> list[int]:
    return [address.get("/", method, body)[0] for _ in range(count)]


def test_a_reset_is_tried_elsewhere_if_the_method_allows(stage: Stage) -> None:
    good, bad, address = pair(stage, "reset", reset)
    assert statuses(address, "GET") == [200] * 6
    assert len(bad.requests) == 3
    answers = statuses(address, "POST")
    assert answers.count(502) == 3
    assert len(good.requests) + len(bad.requests) == 6 + 3 + 6, "no POST was sent twice"


def test_a_refused_connection_is_tried_elsewhere_whatever_the_method(stage: Stage) -> None:
    good = stage.backend("refused-good")
    patient = IN_TURN | {"timeouts": {"connect_seconds": 20}}  # a busy machine is no failure to connect
    address = stage.publish("nobody-there", good, stage.refusing("refused-bad"), policy=patient)
    assert statuses(address, "POST", body=b"a" * 50_000) == [200] * 6
    assert [len(request.body) for request in good.requests] == [50_000] * 6
    assert 1 <= stage.sidecar.cluster("nobody-there")["retries"] <= 3, "it leaves routing at the first refusal"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_error_is_tried_elsewhere_if_the_method_allows(stage: Stage, status: int) -> None:
    _, bad, address = pair(stage, f"gateway{status}", answering(status))
    assert statuses(address, "GET") == [200] * 6
    assert statuses(address, "PUT", body=b"x") == [200] * 6
    assert len(bad.requests) == 6
    assert statuses(address, "POST", body=b"x").count(status) == 3


def test_an_error_of_the_app_is_not_tried_elsewhere(stage: Stage) -> None:
    _, bad, address = pair(stage, "error500", answering(500))
    assert statuses(address, "GET").count(500) == 3
    assert len(bad.requests) == 3


def test_what_the_other_sidecar_kept_to_itself_is_tried_elsewhere(stage: Stage) -> None:
    _, bad, address = pair(stage, "kept", answering(503, "Tramo-Unprocessed: true"))
    assert statuses(address, "POST", body=b"x") == [200] * 6
    assert len(bad.requests) == 3


def test_a_body_too_long_to_keep_is_not_sent_again(stage: Stage) -> None:
    _, _, address = pair(stage, "longbody", answering(503))
    answers = statuses(address, "PUT", body=b"a" * 200_000)
    assert sorted(answers) == [200] * 3 + [503] * 3


def test_retries_can_be_turned_off(stage: Stage) -> None:
    _, bad, address = pair(stage, "noretries", answering(503), retries={"count": 0})
    assert statuses(address, "GET").count(503) == 3
    stage.publish(
        "noretries", *(backend for backend in stage.backends[-2:]), policy=IN_TURN | {"retries": {"on": ["502"]}}
    )
    bad.requests.clear()
    assert statuses(address, "GET").count(503) == 3


def test_retries_have_a_budget(stage: Stage) -> None:
    one, other = stage.backend("budget-1"), stage.backend("budget-2")
    one.behaviours["/"] = other.behaviours["/"] = answering(503)
    address = stage.publish("sparing", one, other, policy=IN_TURN)
    assert statuses(address, "GET", 60) == [503] * 60
    retries = len(one.requests) + len(other.requests) - 60
    assert retries == stage.sidecar.cluster("sparing")["retries"]
    assert 10 <= retries <= 14, "20 % of the requests, or 10"


def test_a_failing_endpoint_is_ejected_and_comes_back(stage: Stage) -> None:
    outliers = {"consecutive_failures": 3, "base_ejection_seconds": 3}
    _, bad, address = pair(stage, "outlier", answering(503), outlier_detection=outliers)

    def state() -> Any:
        (found,) = [item for item in stage.sidecar.cluster("outlier")["endpoints"] if item["id"] == bad.record()["id"]]
        return found

    while len(bad.requests) < 3:
        assert address.get()[0] == 200
    assert state()["ejected"]
    assert state()["failures"] >= 3
    assert stage.sidecar.cluster("outlier")["ejections"] >= 1
    bad.behaviours.clear()
    until(lambda: address.get()[0] == 200 and state()["health"] == "healthy", 10, "the endpoint to come back")
    seen = len(bad.requests)
    statuses(address, "GET", 10)
    assert len(bad.requests) - seen == 5, "and it takes its share"


def test_an_endpoint_that_joins_others_starts_slowly(stage: Stage) -> None:
    old, new = stage.backend("slow-start-1"), stage.backend("slow-start-2")
    policy = {"load_balancing": {"slow_start_seconds": 3600}}
    stage.publish("slow-start", old, policy=policy)
    address = stage.publish("slow-start", old, new, policy=policy)
    statuses(address, "GET", 100)
    assert len(old.requests) + len(new.requests) == 100
    assert len(new.requests) < 30, "one in twenty; thirty would be a chance of one in 10^14"


def test_the_only_endpoint_is_asked_however_bad_it_is(stage: Stage) -> None:
    bad = stage.backend("lonely-1")
    bad.behaviours["/"] = answering(500)
    address = stage.publish("lonely", bad)
    assert statuses(address, "GET", 10) == [500] * 10


def test_a_service_without_endpoints(stage: Stage) -> None:
    address = stage.publish("deserted")
    connection = address.http()
    connection.request("GET", "/")
    response = connection.getresponse()
    assert (response.status, response.getheader("tramo-response-flags")) == (503, "UH")
    assert b"no endpoint" in response.read()
    connection.close()
    draining = stage.backend("deserted-1")
    stage.publish("deserted", draining.record("draining"))
    assert address.get() == (200, b"deserted-1"), "a draining endpoint is better than none"
    stage.publish("deserted", draining.record("starting"))
    assert address.get()[0] == 503


def test_nonsense_is_not_passed_on(stage: Stage) -> None:
    backend = stage.backend("nonsense-1")
    backend.behaviours["/"] = lambda peer, request: peer.socket.sendall(b"HTTP/9.9 huh\r\n\r\n")
    address = stage.publish("nonsense", backend)
    connection = address.http()
    connection.request("GET", "/")
    response = connection.getresponse()
    assert (response.status, response.getheader("tramo-response-flags")) == (502, "UPE")
    response.read()
    connection.request("GET", "/fine")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_slow_answer_is_given_up(stage: Stage) -> None:
    gone = threading.Event()

    def hang(peer: Peer, request: Request) -> None:
        if peer.file.read(1) == b"":
            gone.set()

    backend = stage.backend("slow-1")
    backend.behaviours["/"] = hang
    address = stage.publish("slow", backend, policy={"timeouts": {"request_seconds": 1}})
    connection = address.http()
    connection.request("GET", "/")
    response = connection.getresponse()
    assert (response.status, response.getheader("tramo-response-flags")) == (504, "UT")
    response.read()
    assert gone.wait(60), "the endpoint need not work on"
    connection.request("GET", "/fine")
    assert connection.getresponse().read() == b"slow-1"
    connection.close()
    cluster = stage.sidecar.cluster("slow")
    assert cluster["active_requests"] == 0
    assert [item["active_requests"] for item in cluster["endpoints"]] == [0]


def test_a_slow_attempt_is_made_again_elsewhere(stage: Stage) -> None:
    released = threading.Event()

    def wait(peer: Peer, request: Request) -> None:
        assert released.wait(60)

    timeouts = {"per_try_seconds": 0.5, "request_seconds": 60}
    _, bad, address = pair(stage, "per-try", wait, timeouts=timeouts)
    assert statuses(address, "GET") == [200] * 6
    assert len(bad.requests) == 3
    assert statuses(address, "POST", 2, b"x").count(504) == 1, "it may have been processed"
    released.set()
    cluster = stage.sidecar.cluster("per-try")
    assert (cluster["retries"], cluster["active_requests"]) == (3, 0)


def test_an_event_stream_is_not_cut_by_the_request_time_out(stage: Stage) -> None:
    asked, more = threading.Event(), threading.Event()

    def stream(peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        asked.set()
        assert more.wait(60)
        peer.socket.sendall(b"5\r\nhello\r\n0\r\n\r\n")

    def wait(peer: Peer, request: Request) -> None:
        assert more.wait(60)

    backend = stage.backend("stream-1")
    backend.behaviours["/events"] = stream
    backend.behaviours["/slow"] = wait
    address = stage.publish("stream", backend, policy={"timeouts": {"request_seconds": 1, "idle_seconds": 60}})
    connection = address.http()
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert asked.wait(60)
    assert address.get("/slow")[0] == 504, "the stream is older than this request, whose time is up"
    more.set()
    assert response.read() == b"hello"
    connection.close()


def test_the_circuit_breaker_limits_requests(stage: Stage) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def wait(peer: Peer, request: Request) -> None:
        asked.set()
        assert go_on.wait(60)
        peer.answer(200, b"at last")

    backend = stage.backend("breaker-1")
    backend.behaviours["/wait"] = wait
    address = stage.publish(
        "breaker", backend, policy={"circuit_breaker": {"max_requests": 1, "max_pending_requests": 1}}
    )
    first = address.http()
    first.request("GET", "/wait")
    assert asked.wait(60)
    second, third = address.http(), address.http()
    second.request("POST", "/")
    until(lambda: stage.sidecar.cluster("breaker")["pending_requests"] == 1, 5, "the second to wait")
    third.request("POST", "/")
    response = third.getresponse()
    assert (response.status, response.getheader("tramo-response-flags")) == (503, "UO")
    assert response.getheader("tramo-unprocessed") == "true"
    response.read()
    go_on.set()
    assert first.getresponse().read() == b"at last"
    assert second.getresponse().read() == b"breaker-1"
    for client in (first, second, third):
        client.close()
    assert stage.sidecar.cluster("breaker")["overflows"] == 1


def test_a_connection_that_the_service_closed_is_not_used(stage: Stage) -> None:
    """Without saying so before: the next request goes over a new one."""
    backend = stage.backend("quiet-1")

    def once(connection: Any) -> None:
        receive_until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    backend.raw = once
    address = stage.publish("quiet", backend)
    assert statuses(address, "GET", 20) == [200] * 20
    assert stage.sidecar.cluster("quiet")["ejections"] == 0


def test_an_endpoint_that_breaks_off_in_its_answers_leaves_routing(stage: Stage) -> None:
    def break_off(peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
        peer.socket.shutdown(socket.SHUT_RDWR)

    _, _, address = pair(stage, "halves", break_off, outlier_detection={"consecutive_failures": 2})
    broken = 0
    for _ in range(12):
        try:
            assert address.get("/")[0] == 200
        except (OSError, ValueError, http.client.HTTPException):
            broken += 1
    assert broken == 2
    assert sorted(each["health"] for each in stage.sidecar.cluster("halves")["endpoints"]) == ["ejected", "healthy"]
