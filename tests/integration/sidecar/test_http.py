"""HTTP/1.1 through a real sidecar: what a client sends arrives, what the service answers comes back."""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import suppress

import pytest

from tests.support.proxy.sidecar import Peer, Request, Stage, receive, receive_all, receive_until
from tests.support.waiting import until

MIB = 1 << 20
GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_kept_alive_connection_carries_many_requests(stage: Stage) -> None:
    backend = stage.backend("keepalive-1")
    connection = stage.publish("keepalive", backend).http()
    for number in range(5):
        connection.request("GET", f"/{number}")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"keepalive-1")
    connection.close()
    assert backend.connections == 1, "the sidecar keeps its connections too"


def test_the_host_and_fields_of_the_client_arrive(stage: Stage) -> None:
    backend = stage.backend("fields-1")
    connection = stage.publish("fields", backend).http()
    connection.request(
        "GET", "/a?b=c", headers={"Host": "fields:80", "X-One": "1", "Connection": "X-Two", "X-Two": "2"}
    )
    assert connection.getresponse().read() == b"fields-1"
    connection.close()
    request = backend.requests[0]
    assert request.path == "/a?b=c"
    assert request.headers["host"] == "fields:80"
    assert request.headers["x-one"] == "1"
    assert "x-two" not in request.headers
    assert "connection" not in request.headers


def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    backend = stage.backend("pipeline-1")
    for number in range(10):
        backend.behaviours[f"/{number}"] = lambda peer, request: peer.answer(200, request.path.encode() * 3)
    with stage.publish("pipeline", backend).socket() as client:
        client.sendall(b"".join(GET % b"/%d" % number for number in range(10)))
        client.shutdown(socket.SHUT_WR)
        data = receive_all(client)
    assert data.count(b"HTTP/1.1 200 ") == 10
    positions = [data.index(b"/%d/%d/%d" % (number, number, number)) for number in range(10)]
    assert positions == sorted(positions)


def test_a_long_body_comes_whole_to_a_slow_reader_in_little_memory(stage: Stage) -> None:
    body = bytes(range(256)) * (160 * MIB // 256)
    backend = stage.backend("download-1")
    backend.behaviours["/"] = lambda peer, request: peer.answer(200, body)
    address = stage.publish("download", backend)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.settimeout(10)
        client.connect((address.host, address.port))
        before = stage.sidecar.memory_kib()
        client.sendall(GET % b"/")
        receive_until(client, b"\r\n\r\n")
        most = 0
        digest = hashlib.sha256()
        left = len(body)
        while left:
            piece = client.recv(min(left, 65_536))
            assert piece
            digest.update(piece)
            if left % 64 == 0:
                most = max(most, stage.sidecar.memory_kib() - before)
            left -= len(piece)
    assert digest.digest() == hashlib.sha256(body).digest()
    assert most < 8 * 1024, f"the sidecar grew by {most} KiB"


def test_a_long_body_goes_whole_to_a_slow_service_in_little_memory(stage: Stage) -> None:
    body = bytes(range(256)) * (160 * MIB // 256)
    digests: list[bytes] = []
    memory: list[int] = []

    def slow(connection: socket.socket) -> None:
        receive_until(connection, b"\r\n\r\n")
        digest = hashlib.sha256()
        left = len(body)
        while left:
            piece = connection.recv(min(left, 16_384))
            digest.update(piece)
            if left % 512 == 0:
                memory.append(stage.sidecar.memory_kib())
            left -= len(piece)
        digests.append(digest.digest())
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    backend = stage.backend("upload-1")
    backend.raw = slow
    address = stage.publish("upload", backend)
    before = stage.sidecar.memory_kib()
    assert address.get("/", "POST", body) == (200, b"ok")
    assert digests == [hashlib.sha256(body).digest()]
    assert max(memory, default=before) - before < 8 * 1024


def test_chunks_and_trailers_pass_both_ways(stage: Stage) -> None:
    def echo(peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        for piece in (request.body[:3], request.body[3:]):
            peer.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        peer.socket.sendall(b"0\r\nX-Sum: " + request.trailers["x-sum"].encode() + b"\r\n\r\n")

    backend = stage.backend("chunks-1")
    backend.behaviours["/"] = echo
    with stage.publish("chunks", backend).socket() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n"
        )
        data = receive_all(client)
    assert backend.requests[0].body == b"hello world"
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body.replace(b"3\r\nhel\r\n8\r\n", b"hel").startswith(b"hel")
    assert body.endswith(b"0\r\nx-sum: 11\r\n\r\n")


@pytest.mark.parametrize("fields", [b"Content-Length: 1000", b"Transfer-Encoding: chunked", b"X: y"])
def test_head_has_no_body_and_keeps_the_connection(stage: Stage, fields: bytes) -> None:
    backend = stage.backend("head-1")
    backend.behaviours["/"] = lambda peer, request: peer.socket.sendall(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n")
    connection = stage.publish("head", backend).http()
    for _ in range(3):
        connection.request("HEAD", "/")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
    assert response.getheader("content-length") == ("1000" if b"1000" in fields else None)
    connection.request("GET", "/other")
    assert connection.getresponse().read() == b"head-1"
    connection.close()


def test_answers_without_a_body(stage: Stage) -> None:
    backend = stage.backend("empty-1")
    backend.behaviours["/204"] = lambda peer, request: peer.socket.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    backend.behaviours["/304"] = lambda peer, request: peer.socket.sendall(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n"
    )
    connection = stage.publish("empty", backend).http()
    for path, status in (("/204", 204), ("/304", 304), ("/204", 204), ("/", 200)):
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == status
        response.read()
    connection.close()
    assert backend.connections == 1


def test_a_body_until_the_close_ends_where_it_ends(stage: Stage) -> None:
    def until_close(peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 100_000)
        peer.socket.shutdown(socket.SHUT_WR)
        request.headers["connection"] = "close"

    backend = stage.backend("closing-1")
    backend.behaviours["/"] = until_close
    connection = stage.publish("closing", backend).http()
    for _ in range(2):
        connection.request("GET", "/")
        assert len(connection.getresponse().read()) == 100_000
    connection.close()


def test_an_answer_that_breaks_off_does_not_look_whole(stage: Stage) -> None:
    def break_off(peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        peer.reset()

    backend = stage.backend("broken-1")
    backend.behaviours["/"] = break_off
    with stage.publish("broken", backend).socket() as client:
        client.sendall(GET % b"/")
        data = b""
        with suppress(ConnectionResetError):
            data = receive_all(client)
    assert not data.endswith(b"0\r\n\r\n")
    assert len(backend.requests) == 1, "an answer that has begun is not asked for again"


def test_continue_comes_before_the_body_is_sent(stage: Stage) -> None:
    def wants_it(connection: socket.socket) -> None:
        assert b"expect: 100-continue" in receive_until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert receive(connection, 5) == b"hello"
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    backend = stage.backend("continue-1")
    backend.raw = wants_it
    with stage.publish("continue", backend).socket() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert receive_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 X\r\n\r\n".replace(b"X", b"Continue")
        client.sendall(b"hello")
        assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        assert receive(client, 2) == b"ok"


def test_a_service_may_answer_before_it_has_the_body(stage: Stage) -> None:
    def refuse(connection: socket.socket) -> None:
        receive_until(connection, b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
        receive_all(connection)

    backend = stage.backend("early-1")
    backend.raw = refuse
    with stage.publish("early", backend).socket() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        assert receive_until(client, b"no!").startswith(b"HTTP/1.1 413 ")
        client.sendall(b"a" * 96 + GET % b"/")
        assert receive_until(client, b"no!").startswith(b"HTTP/1.1 413 ")


def test_a_websocket_passes_with_its_half_closes(stage: Stage) -> None:
    def upgrade(peer: Peer, request: Request) -> None:
        assert request.headers["upgrade"] == "websocket"
        peer.socket.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: 1\r\n\r\nhello"
        )
        peer.socket.sendall(peer.file.read())  # up to the client's end
        peer.socket.shutdown(socket.SHUT_WR)

    backend = stage.backend("websocket-1")
    backend.behaviours["/ws"] = upgrade
    with stage.publish("websocket", backend).socket() as client:
        client.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
        head = receive_until(client, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"x-key: 1" in head
        assert receive(client, 5) == b"hello"
        client.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"\x00\xff" * 50_000)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"early GET / HTTP/1.1\r\n\r\n" + b"\x00\xff" * 50_000
    until(lambda: stage.sidecar.cluster("websocket")["active_requests"] == 0, 5, "the tunnel to end")
    until(lambda: stage.sidecar.cluster("websocket")["connections"] == 0, 5, "its connection to end")


def test_a_client_that_goes_away_takes_its_request_with_it(stage: Stage) -> None:
    asked, gone = threading.Event(), threading.Event()

    def wait(connection: socket.socket) -> None:
        receive_until(connection, b"\r\n\r\n")
        asked.set()
        if connection.recv(65_536) == b"":
            gone.set()

    backend = stage.backend("gone-1")
    backend.raw = wait
    client = stage.publish("gone", backend).socket()
    client.sendall(GET % b"/")
    assert asked.wait(60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    assert gone.wait(60), "the endpoint still works for nobody"
    until(lambda: stage.sidecar.cluster("gone")["active_requests"] == 0, 5, "the request to end")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", 426),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_malformed_requests_are_answered_once_and_cut(stage: Stage, data: bytes, status: int) -> None:
    backend = stage.backend("strict-1")
    with stage.publish("strict", backend).socket() as client:
        client.sendall(data)
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
    assert backend.requests == []


def test_a_client_that_is_refused_while_it_sends_reads_why(stage: Stage) -> None:
    address = stage.publish("refused", stage.backend("refused-1"))
    with address.socket() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a b\r\nContent-Length: 4000000\r\n\r\n" + b"a" * 4_000_000)
        assert receive_all(client).startswith(b"HTTP/1.1 400 ")


# The inbound side.


def test_inbound_requests_reach_the_app(stage: Stage) -> None:
    app = stage.backend("app", f"{stage.prefix}.250.2", 8080)
    try:
        app.behaviours["/busy"] = lambda peer, request: peer.answer(503, b"busy", "Tramo-Unprocessed: true")
        connection = stage.address(15100).http()
        connection.request("POST", "/x", b"hello")
        assert connection.getresponse().read() == b"app"
        connection.request("GET", "/busy")
        response = connection.getresponse()
        assert (response.status, response.read()) == (503, b"busy")
        assert response.getheader("tramo-unprocessed") is None, "that is for the sidecar to say"
        connection.close()
        assert app.paths() == ["POST /x", "GET /busy"], "the app is never asked twice for its answer"
        assert app.requests[0].body == b"hello"
    finally:
        app.close()
    connection = stage.address(15100).http()
    connection.request("POST", "/")
    response = connection.getresponse()
    assert response.status == 503
    assert response.getheader("tramo-unprocessed") == "true", "the caller's sidecar may go elsewhere"
    connection.close()
