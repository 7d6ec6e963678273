"""HTTP and gRPC within CONNECT: each request is balanced, as if the client had called the service's address."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import grpc  # type: ignore[import-untyped]  # grpcio comes without types

from tests.support.proxy.sidecar import Address, Stage, endpoint, receive, receive_all, receive_until
from tests.support.waiting import until
from tests.support.wire.grpc_service import OPTIONS, SERVICE, Service

IN_TURN = {"load_balancing": {"algorithm": "round_robin"}}
GET = b"GET / HTTP/1.1\r\nHost: whatever\r\n\r\n"


@contextmanager
def tunnel(stage: Stage, name: str, early: bytes = b"") -> Iterator[socket.socket]:
    """A tunnel to a service, with what the client sends before it hears that it stands."""
    host, _, port = stage.environment["TRAMO_FORWARD_PROXY"].rpartition(":")
    with Address(host, int(port)).socket() as client:
        client.sendall(f"CONNECT {name}:80 HTTP/1.1\r\nHost: {name}:80\r\n\r\n".encode() + early)
        assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        yield client


def body(client: socket.socket) -> bytes:
    head = receive_until(client, b"\r\n\r\n").decode()
    return receive(client, int(head.partition("content-length: ")[2].partition("\r\n")[0]))


def test_a_grpc_channel_spreads_over_all_endpoints(stage: Stage) -> None:
    services = [Service(f"f{number}", f"{stage.prefix}.243.{number}") for number in (1, 2)]
    records = [endpoint(service.name, service.address, service.port) for service in services]
    stage.publish("forwarded-calls", *records, protocol="grpc", policy=IN_TURN)
    proxy = f"http://{stage.environment['TRAMO_FORWARD_PROXY']}"
    options = (*(o for o in OPTIONS if "proxy" not in o[0]), ("grpc.enable_http_proxy", 1), ("grpc.http_proxy", proxy))
    with grpc.insecure_channel("dns:///forwarded-calls:80", options=options) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Name")
        names = [call(b"", timeout=60) for _ in range(20)]
    assert (names.count(b"f1"), names.count(b"f2")) == (10, 10)
    for service in services:
        service.stop()


def test_requests_within_a_tunnel_go_to_all_endpoints(stage: Stage) -> None:
    backends = [stage.backend(f"within-{number}") for number in (1, 2)]
    stage.publish("within", *backends, policy=IN_TURN)
    with tunnel(stage, "within", early=GET) as client:
        found = {body(client)}
        client.sendall(GET)
        found.add(body(client))
    assert found == {b"within-1", b"within-2"}
    until(lambda: stage.sidecar.page("/stats")[1]["work"] == 0, 5, "the tunnel to leave no work behind")


def test_a_tunnel_behind_another_request(stage: Stage) -> None:
    stage.publish("behind", stage.backend("behind-1"))
    host, _, port = stage.environment["TRAMO_FORWARD_PROXY"].rpartition(":")
    with Address(host, int(port)).socket() as client:
        client.sendall(b"GET http://behind/ HTTP/1.1\r\nHost: behind\r\n\r\n")
        client.sendall(b"CONNECT behind:80 HTTP/1.1\r\nHost: behind:80\r\n\r\n")
        assert body(client) == b"behind-1"
        assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        client.sendall(GET)
        assert body(client) == b"behind-1"


def test_what_is_no_http_passes_as_it_is(stage: Stage) -> None:
    backend = stage.backend("tls-1")
    backend.raw = lambda connection: connection.sendall(receive(connection, 5)[::-1])
    stage.publish("tls", backend)
    with tunnel(stage, "tls") as client:
        client.sendall(b"\x16\x03\x01\x02\x00")
        assert receive_all(client) == b"\x00\x02\x01\x03\x16"


def test_a_service_without_endpoints_is_said_within_the_tunnel(stage: Stage) -> None:
    stage.publish("empty-tunnel")
    with tunnel(stage, "empty-tunnel") as client:
        client.sendall(GET)
        head = receive_until(client, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"tramo-response-flags: UH\r\n" in head


def test_no_tunnel_within_a_tunnel(stage: Stage) -> None:
    stage.publish("outer", stage.backend("outer-1"))
    with tunnel(stage, "outer") as client:
        client.sendall(b"CONNECT outer:80 HTTP/1.1\r\nHost: outer:80\r\n\r\n")
        assert receive_all(client).startswith(b"HTTP/1.1 405 ")
