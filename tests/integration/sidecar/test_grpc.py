"""gRPC from a client of one task to a service of another, through the sidecars of both: the interop cases and more."""

from __future__ import annotations

import queue
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.proxy.sidecar import Address, Stage, endpoint, network
from tests.support.waiting import until
from tests.support.wire import http2
from tests.support.wire.grpc_service import CODES, SERVICE, Client, Load, Service, StatusCode, metadata_of, settled

MIB = 1 << 20
GROWTH_KIB = 24 * 1024
"""What a sidecar may grow by while megabytes go through it: windows and buffers, not messages."""


@dataclass
class Task:
    """A task that serves: the application, and its sidecar."""

    service: Service
    stage: Stage

    def record(self, state: str = "ready") -> dict[str, Any]:
        ingress = self.stage.address(15100)
        return endpoint(self.service.name, ingress.host, ingress.port, state)


@contextmanager
def serving(name: str, directory: Path) -> Iterator[Task]:
    """A task that serves, on a network of its own."""
    with ExitStack() as stack:
        prefix = stack.enter_context(network())
        service = Service(name, f"{prefix}.250.2", 8080)
        stack.callback(service.stop)
        folder = directory / name
        folder.mkdir()
        stage = Stage(prefix, folder, TRAMO_INBOUND="calls=15100:8080/grpc")
        stack.callback(stage.close)
        stage.sidecar.wait_ready()
        yield Task(service, stage)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Task]:
    with serving("one", tmp_path_factory.mktemp("task")) as found:
        yield found


@pytest.fixture(scope="module")
def address(stage: Stage, task: Task) -> Address:
    return stage.publish("calls", task.record(), protocol="grpc")


@pytest.fixture
def client(address: Address) -> Iterator[Client]:
    with Client(address.host, address.port) as found:
        yield found


# The interop cases.


def test_an_empty_unary_call(client: Client) -> None:
    assert client.unary("Echo")(b"", timeout=20) == b""


@pytest.mark.parametrize("size", [1, 16_379, 16_384, 65_530, 65_536, 271_828, 4 * MIB])
def test_a_unary_call(client: Client, size: int) -> None:
    message = bytes(range(256)) * (size // 256 + 1)
    assert client.unary("Echo")(message[:size], timeout=60) == message[:size]


def test_client_streaming(client: Client) -> None:
    sizes = (27_182, 8, 1_828, 45_904, 0)
    assert client.collect()((bytes(size) for size in sizes), timeout=20) == b"74922"


def test_server_streaming(client: Client) -> None:
    found = list(client.produce()(b"100 1000", timeout=20))
    assert [int.from_bytes(message[:4], "big") for message in found] == list(range(100))
    assert {len(message) for message in found} == {1000}


def test_ping_pong(client: Client) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = client.chat()(iter(requests.get, None), timeout=60)
    for size in (31_415, 9, 2_653, 58_979):  # each is answered before the next is asked
        requests.put(b"a" * size)
        assert next(answers) == b"A" * size
    requests.put(None)
    assert list(answers) == []


def test_empty_streams(client: Client) -> None:
    assert list(client.chat()(iter(()), timeout=20)) == []
    assert list(client.produce()(b"0 0", timeout=20)) == []
    assert client.collect()(iter(()), timeout=20) == b"0"


def test_custom_metadata(client: Client, task: Task) -> None:
    binary = bytes(range(256))
    sent = (("x-text", "initial value"), ("x-bytes-bin", binary), ("x-twice", "a"))
    answer, call = client.unary("Echo").with_call(b"hello", timeout=20, metadata=sent)
    assert answer == b"hello"
    assert metadata_of(call.initial_metadata())["served-by"] == "one"
    assert metadata_of(call.trailing_metadata()) == {"size": "5", "sum-bin": bytes(range(250, 256))}
    received = task.service.metadata[-1]
    assert {key: received[key] for key, _ in sent} == dict(sent)


@pytest.mark.parametrize("code", [number for number in CODES if number])
def test_every_status_passes(client: Client, code: int) -> None:
    error = client.failure(lambda: client.unary("Fail")(b"%d it failed" % code, timeout=20))
    assert error.code() is CODES[code]
    assert error.details() == "it failed"
    assert metadata_of(error.trailing_metadata())["reason"] == "asked-for"


def test_special_characters_in_a_message(client: Client) -> None:
    message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈 100%\t\n"
    error = client.failure(lambda: client.unary("Fail")(f"2 {message}".encode(), timeout=20))
    assert (error.code(), error.details()) == (StatusCode.UNKNOWN, message)


def test_a_failure_after_messages(client: Client) -> None:
    answers = client.produce("FailLate")(b"", timeout=20)
    assert [next(answers), next(answers)] == [b"one", b"two"]
    error = client.failure(lambda: next(answers))
    assert (error.code(), error.details()) == (StatusCode.DATA_LOSS, "after two")


def test_an_unknown_method(client: Client) -> None:
    error = client.failure(lambda: client.unary("Nothing")(b"", timeout=20))
    assert error.code() is StatusCode.UNIMPLEMENTED


def test_cancel_after_begin(client: Client) -> None:
    call = client.collect().future(iter(queue.SimpleQueue[bytes]().get, None))
    call.cancel()
    error = client.failure(call.result) if not call.cancelled() else None
    assert error is None or error.code() is StatusCode.CANCELLED


def test_cancel_after_the_first_answer_reaches_the_server(client: Client, task: Task) -> None:
    answers = client.produce()(b"1000000 10000")
    next(answers)
    answers.cancel()
    assert task.service.cancelled.acquire(timeout=20)


def test_a_cancelled_unary_call_reaches_the_server(client: Client, task: Task) -> None:
    call = client.unary("Wait").future(b"")
    assert task.service.waiting.acquire(timeout=20)
    call.cancel()
    assert task.service.cancelled.acquire(timeout=20)


def test_a_deadline(client: Client, task: Task) -> None:
    error = client.failure(lambda: client.unary("Wait")(b"", timeout=0.3))
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert task.service.cancelled.acquire(timeout=20)
    remaining = task.service.deadlines[-1]
    assert remaining is not None
    assert remaining < 1, "the server was told, rounded up"


def test_a_deadline_in_a_stream(client: Client) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    requests.put(b"a")
    answers = client.chat()(iter(requests.get, None), timeout=3)
    assert next(answers) == b"A"
    error = client.failure(lambda: next(answers))
    requests.put(None)
    assert error.code() is StatusCode.DEADLINE_EXCEEDED


def test_a_per_try_time_out_ends_a_call_that_is_not_answered_but_no_open_stream(stage: Stage, task: Task) -> None:
    address = stage.publish(
        "per-try-calls", task.record(), protocol="grpc", policy={"timeouts": {"per_try_seconds": 0.2}}
    )
    with Client(address.host, address.port) as client:
        error = client.failure(lambda: client.unary("Wait")(b"", timeout=20))
        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        assert "per-try" in error.details()
        assert task.service.cancelled.acquire(timeout=20)
        requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        total = client.collect().future(iter(requests.get, None), timeout=20)
        requests.put(b"12345")
        error = client.failure(lambda: client.unary("Wait")(b"", timeout=20))
        assert error.code() is StatusCode.DEADLINE_EXCEEDED, "by now the stream is older than the time-out"
        requests.put(b"67890")
        requests.put(None)
        assert total.result(60) == b"10"


def test_the_proxy_keeps_the_deadline_of_a_client_that_does_not(address: Address, task: Task) -> None:
    head = (
        *http2.replaced(b":path", f"/{SERVICE}/Wait".encode(), http2.POST),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-timeout", b"300m"),
    )
    with http2.RawClient((address.host, address.port)) as client:
        client.send(http2.request(head, end=False), http2.frame(http2.DATA, http2.END_STREAM, 1, bytes(5)))
        answer = client.headers(1)
        assert client.frames[-1].ends_stream(), "trailers-only"
    assert answer[b":status"] == b"200"
    assert answer[b"grpc-status"] == b"4"
    assert task.service.cancelled.acquire(timeout=20)


def test_an_answer_before_the_requests_end(client: Client) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    requests.put(b"first")
    assert client.collect("Stop")(iter(requests.get, None), timeout=20) == b"enough"
    requests.put(None)


# Size and flow.


def test_messages_of_10_mb_do_not_stay_in_the_sidecars(client: Client, stage: Stage, task: Task) -> None:
    message = bytes(10_000_000)
    assert client.unary("Echo")(message, timeout=30) == message
    before = [sidecar.memory_kib() for sidecar in (stage.sidecar, task.stage.sidecar)]
    for _ in range(3):
        assert client.unary("Echo")(message, timeout=30) == message
    after = [sidecar.memory_kib() for sidecar in (stage.sidecar, task.stage.sidecar)]
    assert [b - a < GROWTH_KIB for a, b in zip(before, after, strict=True)] == [True, True]


def test_a_client_that_does_not_read_stops_the_server(client: Client, task: Task) -> None:
    started = task.service.produced
    answers = client.produce()(b"10000 %d" % MIB)
    next(answers)
    produced = settled(lambda: task.service.produced, 10) - started
    assert produced < 64, "the server would have gone on"
    for _ in range(100):
        next(answers)
    assert task.service.produced - started >= 100
    answers.cancel()
    assert task.service.cancelled.acquire(timeout=20)


def test_many_calls_on_one_channel(client: Client, stage: Stage) -> None:
    call = client.unary("Echo")
    calls = [call.future(b"%d" % number, timeout=20) for number in range(500)]
    assert [found.result() for found in calls] == [b"%d" % number for number in range(500)]
    cluster = stage.sidecar.cluster("calls")
    assert cluster["active_requests"] == cluster["pending_requests"] == 0


# Endpoints.


@pytest.fixture(scope="module")
def three(stage: Stage) -> Iterator[list[Service]]:
    services = [Service(f"s{number}", f"{stage.prefix}.241.{number}") for number in (1, 2, 3)]
    yield services
    for service in services:
        service.stop()


def records(services: list[Service], *states: str) -> list[dict[str, Any]]:
    return [
        endpoint(service.name, service.address, service.port, state)
        for service, state in zip(services, states or ("ready",) * len(services), strict=True)
    ]


def test_one_channel_spreads_over_all_endpoints(stage: Stage, three: list[Service]) -> None:
    # In turn: by least requests, an endpoint whose first answer was slow may rest for longer than this test.
    policy = {"load_balancing": {"algorithm": "round_robin"}}
    address = stage.publish("spread", *records(three), protocol="grpc", policy=policy)
    with Client(address.host, address.port) as client:
        names = [client.unary("Name")(b"", timeout=20) for _ in range(90)]
    assert {names.count(service.name.encode()) for service in three} == {30}


def test_a_draining_endpoint_finishes_and_gets_nothing_new(stage: Stage, three: list[Service]) -> None:
    address = stage.publish("draining", *records(three[:1]), protocol="grpc")
    with Client(address.host, address.port) as client:
        requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        answers = client.chat()(iter(requests.get, None), timeout=20)
        requests.put(b"a")
        assert next(answers) == b"A"
        stage.publish("draining", *records(three[:2], "draining", "ready"), protocol="grpc")
        assert {client.unary("Name")(b"", timeout=20) for _ in range(20)} == {b"s2"}
        requests.put(b"b")
        assert next(answers) == b"B"
        requests.put(None)
        assert list(answers) == []


def test_a_stream_that_is_cut_ends_unavailable(stage: Stage, tmp_path: Path) -> None:
    with serving("cut", tmp_path) as task:
        address = stage.publish("cutting", task.record(), protocol="grpc")
        with Client(address.host, address.port) as client:
            requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            answers = client.chat()(iter(requests.get, None), timeout=20)
            requests.put(b"a")
            assert next(answers) == b"A"
            task.stage.sidecar.process.kill()
            assert client.failure(lambda: next(answers)).code() is StatusCode.UNAVAILABLE
            requests.put(None)


def test_no_endpoint(stage: Stage) -> None:
    address = stage.publish("nobody", protocol="grpc")
    with Client(address.host, address.port) as client:
        error = client.failure(lambda: client.unary("Name")(b"", timeout=20))
    assert error.code() is StatusCode.UNAVAILABLE
    assert metadata_of(error.trailing_metadata())["tramo-response-flags"] == "UH"


def test_an_endpoint_where_nobody_listens(stage: Stage) -> None:
    address = stage.publish("gone", stage.refusing("gone-1"), protocol="grpc")
    with Client(address.host, address.port) as client:
        error = client.failure(lambda: client.unary("Name")(b"", timeout=20))
    assert error.code() is StatusCode.UNAVAILABLE
    assert metadata_of(error.trailing_metadata())["tramo-response-flags"] == "UF,URX"


def test_an_app_that_does_not_listen_behind_its_sidecar(stage: Stage, task: Task, three: list[Service]) -> None:
    deaf = endpoint("deaf", task.stage.prefix + ".250.1", 15101)  # the raw port of nobody
    address = stage.publish("half", deaf, *records(three[:1]), protocol="grpc")
    with Client(address.host, address.port) as client:
        assert {client.unary("Name")(b"", timeout=20) for _ in range(20)} == {b"s1"}


def test_an_endpoint_that_is_told_to_end_under_load_fails_no_call(stage: Stage, task: Task, tmp_path: Path) -> None:
    with serving("two", tmp_path) as other:
        address = stage.publish("rolling", task.record(), other.record(), protocol="grpc")
        with Client(address.host, address.port) as client:
            load = Load(client)
            until(lambda: len(load.names) == 2 and load.done > 50, 10, "calls at both")
            other.stage.sidecar.signal()
            stage.publish("rolling", task.record(), other.record("draining"), protocol="grpc")
            assert other.stage.sidecar.process.wait(60) == 0
            done = load.done
            until(lambda: load.done > done + 100, 10, "calls at the one that is left")
            assert load.stop() == []


def test_a_grpc_server_that_stops_under_load_is_left_by_its_goaway(stage: Stage, three: list[Service]) -> None:
    leaving = Service("leaving", f"{stage.prefix}.241.9")
    address = stage.publish("stopping", *records([leaving, three[0]]), protocol="grpc")
    with Client(address.host, address.port) as client:
        load = Load(client)
        until(lambda: len(load.names) == 2 and load.done > 50, 10, "calls at both")
        leaving.stop(grace=5)
        done = load.done
        until(lambda: load.done > done + 100, 10, "calls at the one that is left")
        failures = load.stop()
    # Calls that it took before its GOAWAY and has not begun grpcio answers itself, with CANCELLED.
    assert len(failures) <= 4, "one for each caller at most"
    assert {failure.code() for failure in failures} <= {StatusCode.CANCELLED}


def test_an_endpoint_that_is_killed_under_load_fails_only_what_it_may_have_done(
    stage: Stage, task: Task, tmp_path: Path
) -> None:
    with serving("three", tmp_path) as other:
        address = stage.publish("killed", task.record(), other.record(), protocol="grpc")
        with Client(address.host, address.port) as client:
            load = Load(client, threads=4)
            until(lambda: len(load.names) == 2 and load.done > 50, 10, "calls at both")
            other.stage.sidecar.process.send_signal(signal.SIGKILL)
            other.stage.sidecar.process.wait(60)
            done = load.done
            until(lambda: load.done > done + 100, 10, "calls at the one that is left")
            failures = load.stop()
    assert len(failures) <= 4, "one for each caller at most"
    assert {failure.code() for failure in failures} <= {StatusCode.UNAVAILABLE}


def test_an_endpoint_that_answers_unavailable_is_ejected(stage: Stage, three: list[Service]) -> None:
    """The status stands in the trailers; the HTTP status is 200."""
    policy = {"outlier_detection": {"consecutive_failures": 3}, "load_balancing": {"algorithm": "round_robin"}}
    address = stage.publish("ejecting", *records(three[:2]), protocol="grpc", policy=policy)
    with Client(address.host, address.port) as client:
        fail, name = client.unary("Fail"), client.unary("Name")
        for _ in range(6):
            assert client.failure(lambda: fail(b"5 not found", timeout=20)).code() is StatusCode.NOT_FOUND
        assert not any(found["ejected"] for found in stage.sidecar.cluster("ejecting")["endpoints"])
        for _ in range(6):
            assert client.failure(lambda: fail(b"14 gone", timeout=20)).code() is StatusCode.UNAVAILABLE
        assert sum(found["ejected"] for found in stage.sidecar.cluster("ejecting")["endpoints"]) == 1, "half at most"
        assert len({name(b"", timeout=20) for _ in range(4)}) == 1


# Numbers.


def test_calls_are_counted_where_they_are_served(client: Client, task: Task) -> None:
    host, _, port = task.stage.environment["TRAMO_ADMIN"].rpartition(":")

    def counted() -> dict[str, float]:
        connection = HTTPConnection(host, int(port), timeout=60)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return {line.split("{")[0]: float(line.split()[-1]) for line in lines if line.startswith("tramo_server_")}

    before = counted()
    for _ in range(5):
        client.unary("Name")(b"", timeout=20)
    after = counted()
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert {name: value for name, value in grown.items() if "requests" in name} == {
        "tramo_server_requests_total": 5,
        "tramo_server_grpc_requests_total": 5,
    }
