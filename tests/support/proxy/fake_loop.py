"""An event loop and sockets in memory: the proxy's protocols with no clock, no kernel and no waiting.

The transport behaves as uvloop's does: what the proxy must not do with a closed one raises the same error.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import itertools
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any


class FakeHandle:
    """A callback that can be taken back."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class FakeTask:
    """A task that never runs: in these tests the connections are there already."""

    def add_done_callback(self, callback: object) -> None:
        """Never called."""

    def cancel(self) -> None:
        """Nothing to cancel."""


class FakeLoop:
    """As much of an event loop as the protocols use. Time goes on by `advance`, callbacks run by `run`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tasks: list[str] = []
        self._soon: deque[FakeHandle] = deque()
        self._later: list[tuple[float, int, FakeHandle]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = FakeHandle(lambda: callback(*args))
        self._soon.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = FakeHandle(lambda: callback(*args))
        heapq.heappush(self._later, (self.now + delay, next(self._numbers), handle))
        return handle

    def create_task(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        coro.close()
        self.tasks.append(str(kwargs.get("name", "")))
        return FakeTask()

    def turn(self) -> None:
        """Run what was called soon, but not what that calls soon: sockets are read in between."""
        for _ in range(len(self._soon)):
            handle = self._soon.popleft()
            if handle.call is not None:
                handle.call()

    def run(self) -> None:
        """Run what was called soon, and what that calls soon."""
        while self._soon:
            handle = self._soon.popleft()
            if handle.call is not None:
                handle.call()

    def advance(self, seconds: float) -> None:
        """Let time go on, with all timers in their order."""
        until = self.now + seconds
        self.run()
        while self._later and self._later[0][0] <= until:
            self.now, _, handle = heapq.heappop(self._later)
            if handle.call is not None:
                handle.call()
            self.run()
        self.now = until


class ConnectingLoop(FakeLoop):
    """A fake loop inside a real one: tasks run, and connections are made or fail as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: deque[Exception | Callable[[FakeTransport], None] | None] = deque()
        self.transports: list[FakeTransport] = []

    def create_task(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        return asyncio.get_running_loop().create_task(coro, **kwargs)

    async def create_connection(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Any:
        """The next outcome: an error to raise, or what happens to the transport before its owner is told."""
        await asyncio.sleep(0)
        outcome = self.outcomes.popleft()
        if isinstance(outcome, Exception):
            raise outcome
        protocol = factory()
        transport = FakeTransport(self, protocol)
        self.transports.append(transport)
        if outcome is not None:
            outcome(transport)
        return transport, protocol

    async def settle(self) -> None:
        """Let tasks and callbacks run until nothing more happens soon."""
        for _ in range(20):
            await asyncio.sleep(0)
            self.run()


class FakeSocket:
    """What the kernel says of a socket."""

    def __init__(self) -> None:
        self.error = 0

    def fileno(self) -> int:
        return 3

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Nothing follows here."""

    def getsockopt(self, level: int, option: int, size: int = 0) -> int:
        if (level, option) != (socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(errno.ENOENT, "nothing redirected it")
        return self.error


class FakeTransport(asyncio.Transport):
    """A connected socket, seen from the proxy; the methods at the end are the other side's."""

    def __init__(self, loop: FakeLoop, protocol: asyncio.BaseProtocol) -> None:
        self.socket = FakeSocket()
        super().__init__({"socket": self.socket})
        self.written = bytearray()
        self.waiting = bytearray()  # what the other side has not taken
        self.blocked = False
        self.eof_written = False
        self.lost = False
        self._loop = loop
        self._protocol = protocol
        self._reading = True
        self._closing = False
        self._full = False
        self._high = 65_536
        protocol.connection_made(self)

    # The proxy's side.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        if self.eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing:
            return
        (self.waiting if self.blocked else self.written).extend(data)
        if len(self.waiting) > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        self.eof_written = True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._reading = False
            if not self.waiting:
                self._loop.call_soon(self.lose)

    def abort(self) -> None:
        self.waiting.clear()
        if not self._closing:
            self._closing = True
            self._reading = False
        self._loop.call_soon(self.lose)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._closing:
            self._reading = True

    def is_reading(self) -> bool:
        return self._reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def can_write_eof(self) -> bool:
        return True

    # The other side.

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone: closed, aborted or broken."""
        if not self.lost:
            self._closing = True
            self._reading = False
            self._protocol.connection_lost(error)
            self.lost = True

    def break_off(self) -> None:
        """The other side resets the connection."""
        self.lose(ConnectionResetError())
        self._loop.run()

    def receive(self, data: bytes, settle: bool = True) -> None:
        """Bytes come; the proxy must be reading. Without `settle` more comes in the same turn of the loop."""
        assert self._reading, "the proxy does not read now"
        self._protocol.data_received(data)  # type: ignore[attr-defined]
        if settle:
            self._loop.run()

    def receive_eof(self, settle: bool = True) -> None:
        """The other side ends its half."""
        assert self._reading, "the proxy does not read now"
        if self._protocol.eof_received():  # type: ignore[attr-defined]
            self._reading = False
        else:
            self.close()
        if settle:
            self._loop.run()

    def unblock(self) -> None:
        """The other side takes all that waits."""
        self.blocked = False
        self.written.extend(self.waiting)
        self.waiting.clear()
        if self._full:
            self._full = False
            self._protocol.resume_writing()
        if self._closing and not self.lost:
            self._loop.call_soon(self.lose)
        self._loop.run()

    def take(self) -> bytes:
        """What the proxy has written since the last call."""
        data = bytes(self.written)
        self.written.clear()
        return data
