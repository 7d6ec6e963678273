"""Active health checks with real sockets: what passes, what fails, and where requests go meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from h2.errors import ErrorCodes

from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.policy import HealthCheck, Policy
from sidecar.core.states import AppProtocol
from sidecar.proxy.upstream.health_probe import probe
from tests.support.proxy.sidecar import Address, Backend, Stage, receive_all, receive_until
from tests.support.waiting import until
from tests.support.wire.grpc_service import Client, Service
from tests.support.wire.http2_server import Behaviour, Http2Server

FAST = {"interval_seconds": 0.1, "timeout_seconds": 1, "unhealthy_threshold": 2, "healthy_threshold": 2}
SERVING = b"\0\0\0\0\2\x08\1"


def policy(protocol: str, **more: Any) -> dict[str, Any]:
    in_turn = {"algorithm": "round_robin"}
    return {"load_balancing": in_turn, "health_check": {"protocol": protocol, **FAST, **more}}


def check_states(stage: Stage, name: str) -> list[str]:
    return [endpoint["health_check"]["state"] for endpoint in stage.sidecar.cluster(name)["endpoints"]]


def until_states(stage: Stage, name: str, *states: str, ask: Callable[[], object] = lambda: None) -> None:
    """A service is checked often while it is called."""

    def found() -> bool:
        ask()
        return check_states(stage, name) == list(states)

    until(found, 10, f"the checks of {name} to be {states}")


def asked(backend: Backend, path: str) -> int:
    return backend.paths().count(f"GET {path}")


def test_an_endpoint_that_says_that_it_is_unwell_gets_no_requests(stage: Stage) -> None:
    well, unwell = stage.backend("checked-1"), stage.backend("checked-2")
    address = stage.publish("checked", well, unwell, policy=policy("http", path="/healthz"))
    until_states(stage, "checked", "passing", "passing", ask=address.get)
    unwell.behaviours["/healthz"] = lambda peer, request: peer.answer(503)
    until_states(stage, "checked", "passing", "failing", ask=address.get)
    requests = asked(unwell, "/")
    assert {address.get() for _ in range(10)} == {(200, b"checked-1")}
    assert asked(unwell, "/") == requests
    (check,) = [request for request in unwell.requests if request.path == "/healthz"][:1]
    assert (check.headers["host"], check.headers["user-agent"]) == ("checked", "tramo-health-check")
    found = stage.sidecar.cluster("checked")["endpoints"][1]
    assert found["health_check"]["last_failure"] == "status 503, not 200"
    assert not found["ejected"]
    assert healthy_endpoints(stage, "checked") == {"healthy": 1, "unhealthy": 1, "ejected": 0}
    unwell.behaviours.clear()
    until_states(stage, "checked", "passing", "passing", ask=address.get)
    assert {address.get() for _ in range(4)} == {(200, b"checked-1"), (200, b"checked-2")}


def healthy_endpoints(stage: Stage, name: str) -> dict[str, int]:
    with Address(*_admin(stage)).socket() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: client.recv(65_536), b"")).decode()
    found = {}
    for line in text.splitlines():
        if line.startswith("tramo_client_endpoints{") and f'service="{name}"' in line:
            found[line.partition('state="')[2].partition('"')[0]] = int(float(line.rpartition(" ")[2]))
    return found


def _admin(stage: Stage) -> tuple[str, int]:
    host, _, port = stage.environment["TRAMO_ADMIN"].rpartition(":")
    return host, int(port)


def test_when_no_endpoint_passes_all_are_tried(stage: Stage) -> None:
    one, other = stage.backend("all-unwell-1"), stage.backend("all-unwell-2")
    for backend in (one, other):
        backend.behaviours["/"] = lambda peer, request: peer.answer(
            503 if request.headers.get("user-agent") == "tramo-health-check" else 200
        )
    address = stage.publish("all-unwell", one, other, policy=policy("http"))
    until_states(stage, "all-unwell", "failing", "failing", ask=address.get)
    assert [address.get()[0] for _ in range(4)] == [200] * 4


def test_a_service_that_is_not_called_is_left_in_peace(stage: Stage) -> None:
    backend = stage.backend("uncalled-1")
    stage.publish("uncalled", backend, policy=policy("http"))
    until_states(stage, "uncalled", "passing")
    seen = asked(backend, "/")
    busy = stage.backend("called-1")
    address = stage.publish("called", busy, policy=policy("http", path="/healthz"))
    until(lambda: address.get() and asked(busy, "/healthz") > 5, 10, "checks of a service that is called")
    assert asked(backend, "/") == seen


def test_checks_can_be_turned_off_again(stage: Stage) -> None:
    good, bad = stage.backend("turned-off-1"), stage.backend("turned-off-2")
    bad.behaviours["/healthz"] = lambda peer, request: peer.answer(500)
    address = stage.publish("turned-off", good, bad, policy=policy("http", path="/healthz"))
    until_states(stage, "turned-off", "passing", "failing", ask=address.get)
    stage.publish("turned-off", good, bad, policy={"load_balancing": {"algorithm": "round_robin"}})
    assert {address.get()[1] for _ in range(4)} == {b"turned-off-1", b"turned-off-2"}
    assert [endpoint["health_check"] for endpoint in stage.sidecar.cluster("turned-off")["endpoints"]] == [None, None]


def test_a_grpc_server_is_asked_by_its_own_protocol(stage: Stage) -> None:
    services = [Service(f"health-{n}", f"{stage.prefix}.241.{20 + n}") for n in range(2)]
    records = [
        {**stage.refusing(service.name), "address": service.address, "port": service.port} for service in services
    ]
    try:
        wanted = policy("grpc", grpc_service="shop.Orders")
        address = stage.publish("grpc-checked", *records, protocol="grpc", policy=wanted)
        with Client(address.host, address.port) as client:
            name = client.unary("Name")
            until_states(stage, "grpc-checked", "passing", "passing", ask=lambda: name(b"", timeout=20))
            assert services[0].asked_for[-1] == b"\x0a\x0bshop.Orders"
            services[0].health = b"\x08\x02"
            until_states(stage, "grpc-checked", "failing", "passing", ask=lambda: name(b"", timeout=20))
            assert {name(b"", timeout=20) for _ in range(10)} == {b"health-1"}
    finally:
        for service in services:
            service.stop()


def test_a_tcp_service_is_connected_to(stage: Stage) -> None:
    stopped = threading.Event()

    def echo(connection: socket.socket) -> None:
        while not stopped.is_set() and (data := connection.recv(1000)):
            connection.sendall(data)

    good, bad = stage.backend("tcp-checked-1"), stage.backend("tcp-checked-2")
    good.raw = bad.raw = echo

    def ask() -> None:
        with address.socket() as client:
            client.sendall(b"x")
            client.recv(1)

    address = stage.publish("tcp-checked", good, bad, protocol="tcp", port=7000, policy=policy("tcp"))
    until_states(stage, "tcp-checked", "passing", "passing", ask=ask)
    bad.raw = lambda connection: None  # as a sidecar whose app is gone: it accepts and closes
    until_states(stage, "tcp-checked", "passing", "failing", ask=ask)
    assert "closed at once" in stage.sidecar.cluster("tcp-checked")["endpoints"][1]["health_check"]["last_failure"]
    stopped.set()


# One probe at a time.


@pytest.fixture
def backend() -> Iterator[Backend]:
    found = Backend("probed", "127.0.0.1")
    yield found
    found.close()


def probed(port: int, protocol: str = "http", of: AppProtocol = "http", timeout: float = 5.0) -> str:
    checks = HealthCheck(protocol, timeout_seconds=timeout)  # type: ignore[arg-type]
    cluster = Cluster("orders", of, Policy(health_check=checks))
    return asyncio.run(probe(cluster, Endpoint("e", "127.0.0.1", port, protocol=of)))


def raw(data: bytes) -> Callable[[socket.socket], None]:
    """Read a request's head, send this, and close."""

    def serve(connection: socket.socket) -> None:
        receive_until(connection, b"\r\n\r\n")
        connection.sendall(data)

    return serve


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbeg", ""),
        (b"HTTP/1.0 200 OK\r\n\r\nall", ""),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "status 404, not 200"),
        (b"HTTP/1.1 200 OK\r\nContent-", "the connection was closed without an answer"),
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, "longer than"),
    ],
)
def test_http_answers(backend: Backend, answer: bytes, failure: str) -> None:
    backend.raw = raw(answer)
    found = probed(backend.port)
    assert (failure in found) if failure else not found, found


@pytest.mark.parametrize(("protocol", "of"), [("http", "http"), ("http", "http2"), ("grpc", "grpc")])
def test_silence_fails_after_the_time_out(backend: Backend, protocol: str, of: AppProtocol) -> None:
    released = threading.Event()

    def serve(connection: socket.socket) -> None:
        released.wait(10)

    backend.raw = serve
    assert probed(backend.port, protocol, of, timeout=0.1) == "no answer within 0.1 s"
    released.set()


def test_an_endpoint_that_nothing_comes_back_from_cannot_be_connected() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full, ExitStack() as clients:
        for _ in range(3):  # the kernel drops what comes when nobody accepts and the queue is full
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        endpoint = Endpoint("e", "127.0.0.1", full.getsockname()[1])
        cluster = Cluster("orders", "http", Policy(health_check=HealthCheck("http", timeout_seconds=0.1)))
        assert asyncio.run(probe(cluster, endpoint)) == "no connection within 0.1 s"
        assert endpoint.connect_failure == "timed out"


@pytest.mark.parametrize("protocol", ["http", "grpc", "tcp"])
def test_a_refused_connection_fails(protocol: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert "111" in probed(nobody.getsockname()[1], protocol), "ECONNREFUSED"


@pytest.mark.parametrize("protocol", ["http", "grpc", "tcp"])
def test_a_reset_fails(backend: Backend, protocol: str) -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    backend.raw = reset
    assert probed(backend.port, protocol)


def test_a_server_that_speaks_first_passes_the_tcp_check(backend: Backend) -> None:
    backend.raw = lambda connection: connection.sendall(b"220 welcome\r\n")
    assert probed(backend.port, "tcp") == ""


def test_a_server_that_waits_passes_the_tcp_check(backend: Backend) -> None:
    def serve(connection: socket.socket) -> None:
        receive_all(connection)

    backend.raw = serve
    assert probed(backend.port, "tcp") == ""


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_does_not_speak_http2_fails(backend: Backend, protocol: str) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        receive_all(connection)

    backend.raw = serve
    assert probed(backend.port, protocol, "http2", timeout=0.3)


@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        (lambda request: request.peer.answer(request.stream, 200, bytes(200_000)), ""),
        (lambda request: request.peer.answer(request.stream, 204), "status 204, not 200"),
        (lambda request: request.peer.reset(request.stream, ErrorCodes.INTERNAL_ERROR), "reset with code 2"),
    ],
)
def test_http_answers_over_http2(behaviour: Behaviour, failure: str) -> None:
    server = Http2Server("probed", "127.0.0.1")
    server.behaviours["/"] = behaviour
    found = probed(server.port, "http", "http2")
    assert (failure in found) if failure else not found, found
    (request,) = server.requests
    assert (request.headers[":method"], request.headers[":authority"]) == ("GET", "orders")
    server.close()


@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        (lambda request: request.peer.answer(request.stream, 200, SERVING, [], [("grpc-status", "0")]), ""),
        (lambda request: request.peer.answer(request.stream, 200, b"", [("grpc-status", "12")]), "grpc-status 12"),
        (lambda request: request.peer.answer(request.stream, 404), "status 404"),
        (lambda request: request.peer.answer(request.stream, 200, SERVING), "no grpc-status"),
        (lambda request: request.peer.answer(request.stream, 200, bytes(50_000)), "no grpc-status"),
    ],
)
def test_grpc_answers_over_http2(behaviour: Behaviour, failure: str) -> None:
    server = Http2Server("probed", "127.0.0.1")
    server.behaviours["/grpc.health.v1.Health/Check"] = behaviour
    assert probed(server.port, "grpc", "grpc") == failure
    (request,) = server.requests
    assert (request.headers["content-type"], request.body) == ("application/grpc", bytes(5))
    server.close()
