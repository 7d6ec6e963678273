"""Why the proxy failed or cut a request: the answer's field, the access log and the metrics say the same."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.proxy.sidecar import Address, Peer, Request, Stage, receive_until
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until


class Scene:
    """A sidecar that logs, a service with one endpoint, and what is told of its requests."""

    def __init__(self, stage: Stage, log: Path) -> None:
        self.stage = stage
        self.hold = threading.Event()
        self.backend = stage.backend("flagged-1")
        self.backend.behaviours |= {
            "/busy": lambda peer, request: peer.answer(503),
            "/reset": lambda peer, request: peer.reset(),
            "/noise": lambda peer, request: peer.socket.sendall(b"SSH-2.0-what\r\n\r\n"),
            "/half": self._half,
            "/slow": self._slow,
        }
        self._log = log

    def _half(self, peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        peer.reset()

    def _slow(self, peer: Peer, request: Request) -> None:
        assert self.hold.wait(30)

    def publish(self, name: str, *endpoints: Any, **policy: Any) -> Address:
        """A service of this name, whose endpoint is the backend if none is given."""
        return self.stage.publish(name, *(endpoints or (self.backend,)), policy=policy)

    def lines(self, path: str) -> list[Any]:
        """The log's lines about this path."""
        found = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in found if line.get("path") == path]

    def metrics(self, service: str) -> dict[str, int]:
        """How often each flag was counted for a service; of the forward proxy if the name is empty."""
        host, _, port = self.stage.environment["TRAMO_ADMIN"].rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        series = (
            f'tramo_client_response_flags_total{{service="{service}"' if service else "tramo_forward_response_flags"
        )
        found = {}
        for line in text.splitlines():
            if line.startswith(series) and not line.endswith(" 0"):
                found[line.partition('flag="')[2].partition('"')[0]] = int(float(line.rpartition(" ")[2]))
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("flags")
    with open_stage(directory, TRAMO_ACCESS_LOG="json") as stage:
        found = Scene(stage, directory / "sidecar.out")
        try:
            yield found
        finally:
            found.hold.set()


def answered(address: Address, method: str, path: str) -> tuple[int, str | None]:
    """Status of the answer and its flags."""
    connection = address.http()
    try:
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("tramo-response-flags")
    finally:
        connection.close()


Case = Callable[[Scene], Address]

ANSWERED: list[tuple[str, str, str, int, str, Case]] = [
    ("nobody", "GET", "/", 503, "UH", lambda scene: scene.stage.publish("nobody")),
    (
        "refused",
        "POST",
        "/",
        503,
        "UF",
        lambda scene: scene.publish("refused", scene.stage.refusing("r"), retries={"count": 0}),
    ),
    (
        "refused-again",
        "POST",
        "/",
        503,
        "UF,URX",
        lambda scene: scene.publish("refused-again", scene.stage.refusing("r")),
    ),
    ("full", "GET", "/", 503, "UO", lambda scene: scene.publish("full", circuit_breaker={"max_requests": 0})),
    ("reset", "POST", "/reset", 502, "UC", lambda scene: scene.publish("reset")),
    ("reset-again", "GET", "/reset", 502, "UC,URX", lambda scene: scene.publish("reset-again")),
    ("noise", "GET", "/noise", 502, "UPE", lambda scene: scene.publish("noise")),
    ("slow", "GET", "/slow", 504, "UT", lambda scene: scene.publish("slow", timeouts={"request_seconds": 0.1})),
    ("per-try", "POST", "/slow", 504, "UT", lambda scene: scene.publish("per-try", timeouts={"per_try_seconds": 0.1})),
    (
        "per-try-again",
        "GET",
        "/slow",
        504,
        "UT,URX",
        lambda scene: scene.publish("per-try-again", timeouts={"per_try_seconds": 0.05}),
    ),
    ("busy-again", "GET", "/busy", 503, "URX", lambda scene: scene.publish("busy-again")),
]


@pytest.mark.parametrize(
    ("service", "method", "path", "status", "flags", "publish"), ANSWERED, ids=[case[0] for case in ANSWERED]
)
def test_what_is_answered_says_why(
    scene: Scene, service: str, method: str, path: str, status: int, flags: str, publish: Case
) -> None:
    address = publish(scene)
    before = len(scene.lines(path))
    assert answered(address, method, path) == (status, flags)
    until(lambda: len(scene.lines(path)) > before, 5, "a line")
    line = scene.lines(path)[-1]
    assert (line["response_code"], line["response_flags"]) == (status, flags)
    assert scene.metrics(service) == dict.fromkeys(flags.split(","), 1)


def test_what_is_not_flagged_is_the_services_own_affair(scene: Scene) -> None:
    address = scene.publish("fine")
    scene.backend.behaviours["/error"] = lambda peer, request: peer.answer(500)
    assert answered(address, "GET", "/fine") == (200, None)
    assert answered(address, "GET", "/error") == (500, None)
    assert answered(address, "POST", "/busy") == (503, None)
    until(lambda: len(scene.lines("/error")) == 1, 5, "a line")
    assert scene.lines("/error")[0]["response_flags"] == "-"
    assert scene.metrics("fine") == {}


def test_an_answer_that_is_cut_is_flagged(scene: Scene) -> None:
    with scene.publish("cut").socket() as client:
        client.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        assert receive_until(client, b"half")
        with suppress(ConnectionResetError):
            assert client.recv(1) == b"", "fewer bytes than its length says"
    until(lambda: scene.lines("/half"), 5, "a line")
    assert [line["response_flags"] for line in scene.lines("/half")] == ["UC"]
    assert scene.metrics("cut") == {"UC": 1}


def test_a_client_that_leaves_is_flagged(scene: Scene) -> None:
    with scene.publish("left").socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        before = scene.backend.paths().count("GET /slow")
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: scene.backend.paths().count("GET /slow") > before, 5, "the request to arrive")
    until(lambda: scene.metrics("left") == {"DC": 1}, 5, "the disconnect to be counted")


def test_a_broken_request_is_flagged(scene: Scene) -> None:
    with scene.publish("broken").socket() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
        assert b"tramo-response-flags: DPE\r\n" in receive_until(client, b"\r\n\r\n")
    assert scene.metrics("broken") == {"DPE": 1}
    until(lambda: [line for line in scene.lines("-") if line["response_flags"] == "DPE"], 5, "a line")


def test_a_name_that_nobody_has_is_flagged(scene: Scene) -> None:
    with Address(f"{scene.stage.prefix}.0.1", 15001).socket() as client:
        client.sendall(b"GET http://nowhere/lost HTTP/1.1\r\nHost: nowhere\r\n\r\n")
        assert b"tramo-response-flags: NR\r\n" in receive_until(client, b"\r\n\r\n")
    assert scene.metrics("")["NR"] == 1
    until(lambda: [line["response_flags"] for line in scene.lines("/lost")] == ["NR"], 5, "a line")
