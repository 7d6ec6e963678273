"""A rollout that changes the protocol of a service: endpoints of two protocols behind one address."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.proxy.sidecar import Address, Backend, Peer, Request, Stage, receive, receive_until
from tests.support.wire.http2_server import Http2Server

REQUESTS = 40
IN_TURN = {"load_balancing": {"algorithm": "round_robin"}}


@pytest.fixture
def http2_server(stage: Stage) -> Iterator[Http2Server]:
    server = Http2Server("new", f"{stage.prefix}.242.1")
    yield server
    server.close()


def version_1(peer: Peer, request: Request) -> None:
    peer.answer(200, request.body, "X-Version: 1")


def http1_backend(stage: Stage, name: str) -> Backend:
    backend = stage.backend(name)
    backend.behaviours["/echo"] = version_1
    return backend


def speaking(protocol: str, backend: Backend | Http2Server, **changes: Any) -> dict[str, Any]:
    return backend.record() | {"protocol": protocol} | changes


def ask(address: Address, http2: bool) -> dict[str, int]:
    """Send requests in one version of HTTP; return how many each version of the service has answered."""
    answers: dict[str, int] = {}
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=20) as client:
        for number in range(REQUESTS):
            body = f"request {number}".encode()
            answer = client.post(f"http://{address.host}:{address.port}/echo", content=body)
            assert (answer.status_code, answer.content) == (200, body)
            version = answer.headers.get("x-version", "2")
            answers[version] = answers.get(version, 0) + 1
    return answers


@pytest.mark.parametrize("protocol", ["http2", "grpc"])
@pytest.mark.parametrize("http2", [False, True], ids=["from HTTP/1.1", "from HTTP/2"])
def test_each_endpoint_is_spoken_to_in_its_own_protocol(
    stage: Stage, http2_server: Http2Server, http2: bool, protocol: str
) -> None:
    name = f"rollout-{protocol}-{http2}"
    old, new = http1_backend(stage, name), http2_server
    both = speaking("http", old), speaking(protocol, new)
    address = stage.publish(name, both[0], protocol="http")
    assert ask(address, http2) == {"1": REQUESTS}
    for of_service in ("http", protocol):  # of the newest ready task: before and after the new one is that
        stage.publish(name, *both, protocol=of_service, policy=IN_TURN)
        assert ask(address, http2) == {"1": REQUESTS // 2, "2": REQUESTS // 2}
    stage.publish(name, both[1], protocol=protocol)
    assert ask(address, http2) == {"2": REQUESTS}
    found = stage.sidecar.cluster(name)
    assert [each["protocol"] for each in found["endpoints"]] == [protocol]


def test_an_endpoint_without_a_protocol_speaks_the_services(stage: Stage, http2_server: Http2Server) -> None:
    address = stage.publish("of-service", http2_server.record(), protocol="http2")
    assert ask(address, http2=False) == {"2": REQUESTS}


def test_http_and_tcp_are_not_translated_and_the_other_kind_gets_no_traffic(stage: Stage) -> None:
    def echo(connection: socket.socket) -> None:
        while data := connection.recv(65_536):
            connection.sendall(data)

    http, tcp = http1_backend(stage, "kind-http"), stage.backend("kind-tcp")
    tcp.raw = echo
    both = speaking("http", http), speaking("tcp", tcp)
    address = stage.publish("kind", *both, protocol="http")
    assert ask(address, http2=False) == {"1": REQUESTS}
    found = stage.sidecar.cluster("kind")
    assert ([each["protocol"] for each in found["endpoints"]], found["endpoints_of_other_kind"]) == (["http"], 1)
    findings = stage.sidecar.page("/ready")[1]["findings"]
    assert [each["code"] for each in findings if each["where"] == "service kind"] == ["TRM0312"]
    with address.socket() as before:
        before.sendall(b"GET /echo HTTP/1.1\r\nHost: kind\r\n\r\n")
        receive_until(before, b"\r\n\r\n")
        stage.publish("kind", *both, protocol="tcp")
        with address.socket() as client:
            client.sendall(b"raw bytes")
            assert receive(client, 9) == b"raw bytes"
        before.sendall(b"GET /echo HTTP/1.1\r\nHost: kind\r\n\r\n")
        head = receive_until(before, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"tramo-unprocessed: true" in head
