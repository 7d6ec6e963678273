"""What the kernel says of a connection that its peer ended."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sidecar.proxy.base.sockets import ONE_SEGMENT_BYTES, came_too_late, listens

REQUEST = bytes(ONE_SEGMENT_BYTES)
ASKED = """
import resource
from sidecar.proxy.base.sockets import listens
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # no descriptor is left
print(listens("127.0.0.1", 1))
"""
PATIENCE = 20


class Ends(asyncio.Protocol):
    """Notes whether the last bytes came too late, when the peer's end is read."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.too_late = False
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def eof_received(self) -> None:
        assert self.transport is not None
        self.too_late = came_too_late(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(PATIENCE)
        yield found


@pytest.mark.parametrize(
    ("what", "too_late"), [("closes, then it comes", True), ("reads and closes", False), ("closes unread", False)]
)
def test_bytes_came_too_late_only_when_the_peer_had_closed(listener: socket.socket, what: str, too_late: bool) -> None:
    assert asyncio.run(_is_too_late(listener, what)) == too_late


async def _is_too_late(listener: socket.socket, what: str) -> bool:
    address, port = listener.getsockname()
    transport, protocol = await asyncio.get_running_loop().create_connection(Ends, address, port)
    peer, _ = listener.accept()
    with peer:
        peer.settimeout(PATIENCE)
        # From here to the wait the loop reads nothing, as when the end and the next request meet in one turn.
        if what == "closes, then it comes":
            peer.close()
            transport.write(REQUEST)
        else:
            transport.write(REQUEST)
            if what == "reads and closes":
                assert peer.recv(2 * ONE_SEGMENT_BYTES) == REQUEST
            peer.close()
    await asyncio.wait_for(protocol.lost, PATIENCE)
    return protocol.too_late


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_listens_in_this_network_is_known_at_once(address: str) -> None:
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        port = listener.getsockname()[1]
        assert listens(address, port)
    assert not listens(address, port)


def test_where_nobody_can_ask_something_may_listen() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True\n"
