"""Connecting: the protocol hears of the end of whatever it heard the beginning of, in every turn of either loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import uvloop

from sidecar.proxy.base.connect import connect

TURNS = 6
"""Of the loop, in which a connection to this machine is made."""


class Heard(asyncio.Protocol):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.made = self.lost = 0

    def is_open(self) -> bool:
        return self.made > self.lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.lost += 1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=2 * TURNS) as found:
        yield found


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_was_made_is_lost_when_its_task_is_cancelled(
    listener: socket.socket, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def cancelled_after(turns: int) -> bool:
        loop = asyncio.get_running_loop()
        heard = Heard()
        address, port = listener.getsockname()
        task = loop.create_task(connect(loop, heard, address, port, 20))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            (await task).abort()
            return True
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not heard.is_open()
        return False

    with asyncio.Runner(loop_factory=new_loop) as runner:
        turns = 0
        while not runner.run(cancelled_after(turns)):
            turns += 1
        assert turns > 1, "it was cancelled in each of them"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_port_that_refuses_is_an_error_and_no_end(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address, port = closed.getsockname()

    async def refused() -> Heard:
        heard = Heard()
        with pytest.raises(ConnectionRefusedError):
            await connect(asyncio.get_running_loop(), heard, address, port, 20)
        return heard

    with asyncio.Runner(loop_factory=new_loop) as runner:
        heard = runner.run(refused())
    assert (heard.made, heard.lost) == (0, 0)
