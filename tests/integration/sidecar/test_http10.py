"""HTTP/1.0 clients: refused by default, served where the service's policy says so, outbound and inbound."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.support.proxy.sidecar import Address, Peer, Request, Stage, receive_all, receive_until
from tests.support.waiting import until

OLD = {"http": {"accept_http_10": True}, "retries": {"count": 0}}


def ask(address: Address, data: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to these bytes, up to the end of the connection."""
    with address.socket() as client:
        client.sendall(data)
        head, _, body = receive_all(client).partition(b"\r\n\r\n")
        return head, body


def stream(peer: Peer, request: Request) -> None:
    peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")


def cut(peer: Peer, request: Request) -> None:
    peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.reset()


def test_it_is_refused_by_default(stage: Stage) -> None:
    backend = stage.backend("modern-1")
    head, body = ask(stage.publish("modern", backend), b"GET / HTTP/1.0\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"HTTP/1.1" in body, "it says what to do"
    assert backend.requests == []


def test_it_is_served_where_the_policy_says_so(stage: Stage) -> None:
    backend = stage.backend("old-1")
    backend.behaviours |= {"/stream": stream, "/cut": cut}
    address = stage.publish("old", backend, policy=OLD)
    head, body = ask(address, b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
    assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 X", b"old-1")
    assert (backend.requests[0].headers["host"], backend.requests[0].body) == ("old", b"hi")
    head, body = ask(address, b"GET /stream HTTP/1.0\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"helloworld"
    with address.socket() as client:
        client.sendall(b"GET /cut HTTP/1.0\r\n\r\n")
        assert receive_until(client, b"hello").endswith(b"\r\n\r\nhello")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_the_services_own_sidecar_asks_the_same_policy(stage: Stage) -> None:
    app = stage.backend("app", f"{stage.prefix}.250.2", 8080)
    address = stage.address(15100)
    assert ask(address, b"GET / HTTP/1.0\r\n\r\n")[0].startswith(b"HTTP/1.1 426 ")
    stage.publish("app", policy=OLD)
    until(lambda: ask(address, b"GET / HTTP/1.0\r\n\r\n")[1] == b"app", 5, "the policy to count")
    assert app.requests[0].headers["host"] == "app"
    stage.publish("app")
    until(lambda: ask(address, b"GET / HTTP/1.0\r\n\r\n")[0].startswith(b"HTTP/1.1 426 "), 5, "the policy to count")
    stage.withdraw("app")
    app.close()
