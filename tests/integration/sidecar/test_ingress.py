"""The inbound listener follows the app: callers meet a refused connection, and not a port with nothing behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.proxy.sidecar import Stage, receive_all
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A sidecar whose app is the tests' own."""
    with open_stage(tmp_path_factory.mktemp("ingress")) as found:
        yield found


def test_the_listener_comes_and_goes_with_the_app(stage: Stage) -> None:
    until(lambda: not stage.is_open(15100), 5, "the ingress port to close")
    assert stage.sidecar.page("/ready")[0] == 200, "a sidecar is ready before its app"
    for name in ("app-1", "app-2"):
        app = stage.backend(name, f"{stage.prefix}.250.2", 8080)
        kept = stage.address(15100).http()
        kept.request("GET", "/")
        assert kept.getresponse().read() == name.encode()
        app.close()
        kept.request("POST", "/", b"once")
        answer = kept.getresponse()
        assert (answer.status, answer.getheader("tramo-unprocessed")) == (503, "true"), "who was connected hears it"
        answer.read()
        kept.close()
        until(lambda: not stage.is_open(15100), 5, "the ingress port to close")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_did_not_reach_its_app_is_repeated_elsewhere(stage: Stage, method: str) -> None:
    app = stage.backend("leaving", f"{stage.prefix}.250.2", 8080)
    own = {"id": "own/http", "address": f"{stage.prefix}.250.1", "port": 15100, "state": "ready"}
    others = [stage.backend(f"staying-{number}") for number in range(2)]
    policy = {"load_balancing": {"algorithm": "round_robin"}}
    address = stage.publish(f"left-{method.lower()}", own, *others, policy=policy)
    seen = {address.get("/", method)[1] for _ in range(9)}
    assert b"leaving" in seen
    app.close()
    for _ in range(12):
        status, body = address.get("/", method)
        assert (status, body.partition(b"-")[0]) == (200, b"staying")


def test_a_session_that_its_app_did_not_take_goes_on_elsewhere(stage: Stage) -> None:
    app = stage.backend("raw-leaving", f"{stage.prefix}.250.2", 8081)
    staying = stage.backend("raw-staying")
    for backend in (app, staying):
        backend.raw = lambda connection, name=backend.name: connection.sendall(
            f"{name} {connection.recv(9)!r}".encode()
        )
    own = {"id": "own/raw", "address": f"{stage.prefix}.250.1", "port": 15101, "state": "ready"}
    policy = {"load_balancing": {"algorithm": "round_robin"}}
    address = stage.publish("raw-left", own, staying, protocol="tcp", policy=policy)

    def talk() -> bytes:
        with address.socket() as client:
            client.sendall(b"hello")
            return receive_all(client)

    assert {talk() for _ in range(4)} == {b"raw-leaving b'hello'", b"raw-staying b'hello'"}
    app.close()
    assert {talk() for _ in range(8)} == {b"raw-staying b'hello'"}
