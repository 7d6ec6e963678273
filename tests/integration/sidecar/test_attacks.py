"""A sidecar under attack: it ends what it must, and an innocent connection on it is served all the while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.proxy.attacks import ATTACKS, prepare
from tests.support.proxy.sidecar import Address, Peer, Request, Stage, endpoint
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.proxy.victim import Victim

PATIENT: Final = {"timeouts": {"connect_seconds": 10}}
"""On a machine that has much to do a sidecar may not be run for a second."""
GROWTH_KIB: Final = 65_536
"""What all attacks together may add: buffers that the allocator keeps, above all those of a hundred slow readers."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("attacks")) as found:
        yield found


@pytest.fixture(scope="module")
def target(stage: Stage) -> Address:
    backend = stage.backend("target-1")
    prepare(backend)
    return stage.publish("target", backend, policy=PATIENT)


@pytest.fixture(scope="module", autouse=True)
def innocent(stage: Stage) -> Iterator[None]:
    """A victim that asks for as long as the attacks last, and the sidecar's highest memory."""
    before = highest_kib(stage)
    victim = Victim(f"{stage.prefix}.240.9")
    try:
        address = stage.publish("victim", endpoint("victim-1", victim.address, victim.port), policy=PATIENT)
        victim.start(address.host, address.port)
        yield
    finally:
        times = victim.stop()  # raises when an answer was missing or wrong
    assert len(times) > len(ATTACKS), "it was answered all the while"
    grown = highest_kib(stage) - before
    assert grown < GROWTH_KIB, f"the sidecar grew by {grown} KiB"


def highest_kib(stage: Stage) -> int:
    """The most memory that the sidecar ever had."""
    lines = Path(f"/proc/{stage.sidecar.process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1])


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(target: Address, name: str) -> None:
    attack, expected = ATTACKS[name]
    assert attack(target) in expected.split(" or ")


@pytest.mark.parametrize("idle", [False, True], ids=["behind the answer", "to an idle connection"])
def test_a_surplus_answer_never_reaches_the_next_request(stage: Stage, idle: bool) -> None:
    answered, closed = threading.Semaphore(0), threading.Semaphore(0)
    surplus = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\nfor somebody else"

    def answer_twice(peer: Peer, request: Request) -> None:
        body = request.path.encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        peer.socket.sendall(answer if idle else answer + surplus)
        assert answered.acquire(timeout=60)
        if idle:
            peer.socket.sendall(surplus)
        with suppress(ConnectionResetError):
            assert peer.file.read() == b"", "another request on this connection"
        closed.release()

    name = f"surplus-{'idle' if idle else 'behind'}"
    backend = stage.backend(name)
    paths = [f"/{number}" for number in range(20)]
    backend.behaviours.update(dict.fromkeys(paths, answer_twice))
    connection = stage.publish(name, backend, policy=PATIENT).http()
    for path in paths:
        connection.request("POST", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, path.encode())
        answered.release()
        assert closed.acquire(timeout=60)
    connection.close()
    assert backend.connections == len(paths)
