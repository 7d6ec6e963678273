"""Many clients, many kinds of answers and failures at once: everyone gets his own answer, and nothing is left over."""

from __future__ import annotations

import random
import socket
import threading
from typing import Final

from tests.support.proxy.sidecar import Address, Backend, Peer, Request, Stage, receive, receive_until
from tests.support.waiting import until

CLIENTS: Final = 12
REQUESTS: Final = 60


class Anything(dict[str, object]):
    """Behaviours for every path: the path says what happens, and comes back as the body."""

    def get(self, path: str, default: object = None) -> object:
        return behave


def behave(peer: Peer, request: Request) -> None:
    kind = request.path.split("/")[1]
    body = f"{request.method} {request.path} {len(request.body)}".encode()
    if kind == "chunked":
        half = len(body) // 2
        parts = (body[:half], body[half:])
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX: y\r\n\r\n")
    elif kind == "close":
        peer.answer(200, body, "Connection: close")
        request.headers["connection"] = "close"
    elif kind == "reset":
        peer.reset()
    elif kind == "busy":
        peer.answer(503, b"busy")
    elif kind == "surplus":
        wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) + wrong)
    elif kind == "long":
        peer.answer(200, body + b"." * 200_000)
    else:
        peer.answer(200, body)


def exchange(client: socket.socket, lines: list[tuple[str, str, bytes]]) -> None:
    """Send some requests at once; check each answer against its request."""
    data = b""
    for method, path, body in lines:
        data += f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    client.sendall(data)
    for method, path, body in lines:
        head = receive_until(client, b"\r\n\r\n").decode()
        status = int(head.split(" ")[1])
        if "transfer-encoding: chunked" in head:
            answer = b""
            while size := int(receive_until(client, b"\r\n"), 16):
                answer += receive(client, size)
                receive(client, 2)
            assert receive_until(client, b"\r\n\r\n") == b"x: y\r\n\r\n"
        else:
            answer = receive(client, int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        kind = path.split("/")[1]
        if kind == "busy":
            assert status == 503
        elif kind == "reset":
            assert status == 502
        else:
            assert status == 200, (path, head, answer)
            assert answer.rstrip(b".") == f"{method} {path} {len(body)}".encode()


def converse(address: Address, seed: int, failures: list[BaseException]) -> None:
    draw = random.Random(seed)  # noqa: S311 - a mixture, not a secret
    kinds = ["plain"] * 6 + ["chunked", "close", "long", "surplus", "busy", "reset"]
    try:
        with address.socket() as client:
            for number in range(REQUESTS):
                lines = []
                for place in range(draw.choice([1, 1, 1, 2, 5])):
                    kind = draw.choice(kinds)
                    method = "POST" if draw.random() < 0.3 else "GET"
                    body = b"b" * draw.choice([0, 10, 100_000]) if method == "POST" else b""
                    lines.append((method, f"/{kind}/{seed}/{number}/{place}", body))
                exchange(client, lines)
    except BaseException as error:
        failures.append(error)


def test_everyone_gets_his_own_answer(stage: Stage) -> None:
    backends: list[Backend] = []
    for number in range(3):
        backend = stage.backend(f"mixture-{number}")
        backend.behaviours = Anything()  # type: ignore[assignment]
        backends.append(backend)
    policy = {"outlier_detection": {"consecutive_failures": 0}, "retries": {"count": 1}}
    address = stage.publish("mixture", *backends, policy=policy)
    logged = len(stage.sidecar.log.read_text())
    failures: list[BaseException] = []
    threads = [threading.Thread(target=converse, args=(address, seed, failures)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    until(lambda: stage.sidecar.cluster("mixture")["active_requests"] == 0, 10, "all requests to end")
    cluster = stage.sidecar.cluster("mixture")
    assert cluster["pending_requests"] == 0
    assert [endpoint["active_requests"] for endpoint in cluster["endpoints"]] == [0, 0, 0]
    assert cluster["connections"] <= 2 * CLIENTS
    assert '"level":"ERROR"' not in stage.sidecar.log.read_text()[logged:].replace(" ", "")
