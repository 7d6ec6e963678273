"""A real sidecar before a plain service for the raw-frame tests; a pair of them between others' software."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.proxy.pair import Pair
from tests.support.proxy.pair import pair as open_pair
from tests.support.proxy.sidecar import Peer, Request
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.wire.http2 import RawClient

Connect = Callable[..., RawClient]

LARGE = 200_000


@pytest.fixture(scope="session")
def conforming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The address of a service behind a sidecar. `/large` answers with `LARGE` bytes, `/echo` with the body."""

    def echo(peer: Peer, request: Request) -> None:
        peer.answer(200, request.body)

    def large(peer: Peer, request: Request) -> None:
        peer.answer(200, bytes(LARGE))

    with open_stage(tmp_path_factory.mktemp("conformance")) as stage:
        backend = stage.backend("conforming")
        backend.behaviours |= {"/large": large, "/echo": echo}
        address = stage.publish("conforming", backend)
        yield address.host, address.port


@pytest.fixture
def connect(conforming: tuple[str, int]) -> Iterator[Connect]:
    """Open connections to it; `greet=False` leaves the preface to the test, `settings` are sent with it."""
    opened: list[RawClient] = []

    def start(settings: bytes = b"", greet: bool = True) -> RawClient:
        opened.append(RawClient(conforming, settings, greet))
        return opened[-1]

    yield start
    for client in opened:
        client.socket.close()


@pytest.fixture
def client(connect: Connect) -> RawClient:
    """A connection that has shaken hands."""
    return connect()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two tasks with their sidecars. The tests start the apps, each where the pair says."""
    protocols = {
        "interop": "grpc",
        "interop-js": "grpc",
        "web": "http",
        "web2": "http2",
        "socket": "http",
        "served": "http",
    }
    with open_pair(tmp_path_factory.mktemp("pair"), protocols) as found:
        yield found
