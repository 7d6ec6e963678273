"""An endpoint that is well until SIGUSR1 and then has one fault: `python -m tests.faults.endpoint ADDRESS PORT FAULT`.

`GET /count` says how many requests came. Faults of HTTP/2 are an HTTP/2 server's, the others an HTTP/1.1 server's.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from enum import Enum
from typing import Final, cast

from sidecar.proxy.base.sockets import reset

SLOW_SECONDS: Final = 2.0
LONG_SECONDS: Final = 3.0
ANSWERS_OF_A_CONNECTION: Final = 7


class Fault(Enum):
    """What is wrong with it."""

    NONE = "none"
    HANG = "hang"  # takes requests and never answers
    REFUSE = "refuse"  # no longer listens
    STATUS_503 = "503"
    STATUS_500 = "500"
    STATUS_429 = "429"
    CLOSE = "close"  # closes each connection at once
    RESET = "reset"  # the same, with RST
    SLOW = "slow"
    CUT = "cut"  # breaks off in the middle of the answer
    SEVENTH = "seventh"  # closes each connection behind its seventh answer, without a word
    LONG = "long"  # answers after 3 s from the start
    HTTP2 = "http2"  # none, by HTTP/2
    REFUSE_STREAMS = "refuse-streams"
    RESET_STREAMS = "reset-streams"
    GOAWAY = "goaway"  # after each tenth answer


BY_HTTP2: Final = (Fault.HTTP2, Fault.REFUSE_STREAMS, Fault.RESET_STREAMS, Fault.GOAWAY)


class State:
    """What the connections of an endpoint have in common."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.has_begun = False
        self.requests = 0
        self.connections: set[asyncio.Transport] = set()
        self.server: asyncio.Server | None = None

    def has(self, fault: Fault) -> bool:
        """Whether it has this fault now."""
        return self.has_begun and self.fault is fault

    def begin(self) -> None:
        """The fault begins."""
        self.has_begun = True
        if self.fault is Fault.REFUSE and self.server is not None:
            self.server.close()
        if self.fault in (Fault.REFUSE, Fault.CLOSE, Fault.RESET):
            for connection in list(self.connections):
                connection.close()


class Http1(asyncio.Protocol):
    """A connection, with heads and bodies of one length."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._data = b""
        self._answers = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A proxy connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._state.connections.add(self._transport)
        if self._state.has(Fault.CLOSE):
            transport.close()
        elif self._state.has(Fault.RESET):
            reset(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        if self._transport is not None:
            self._state.connections.discard(self._transport)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            _, has_length, rest = head.partition(b"\r\ncontent-length:")
            whole = end + 4 + (int(rest.split(b"\r\n")[0]) if has_length else 0)
            if len(self._data) < whole:
                return
            self._data = self._data[whole:]
            self._on_request(head)

    def _on_request(self, head: bytes) -> None:
        state = self._state
        if head.startswith(b"get /count "):
            self._answer(200, str(state.requests).encode())
            return
        state.requests += 1
        loop = asyncio.get_running_loop()
        if state.fault is Fault.LONG:
            loop.call_later(LONG_SECONDS, self._answer, 200, b"ok")
        elif state.has(Fault.SLOW):
            loop.call_later(SLOW_SECONDS, self._answer, 200, b"ok")
        elif state.has(Fault.CUT) and self._transport is not None:
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nthe begin")
            self._transport.close()
        elif not state.has(Fault.HANG):
            failing = state.has_begun and state.fault.value.isdigit()
            self._answer(int(state.fault.value) if failing else 200, b"ok")

    def _answer(self, status: int, body: bytes) -> None:
        if self._transport is None:
            return
        self._transport.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        self._answers += 1
        if self._state.has(Fault.SEVENTH) and self._answers >= ANSWERS_OF_A_CONNECTION:
            self._transport.close()


async def serve_http1(address: str, port: int, fault: Fault) -> None:
    """Serve until SIGTERM."""
    loop, ended, state = asyncio.get_running_loop(), asyncio.Event(), State(fault)
    loop.add_signal_handler(signal.SIGUSR1, state.begin)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    state.server = await loop.create_server(lambda: Http1(state), address, port, backlog=4096)
    await ended.wait()


def main() -> None:
    """Serve until SIGTERM."""
    address, port, fault = sys.argv[1], int(sys.argv[2]), Fault(sys.argv[3])
    if fault in BY_HTTP2:
        # Six of these start at once, and most need nothing of it.
        from tests.faults.http2_endpoint import Http2

        signal.signal(signal.SIGUSR1, Http2(address, port, fault).begin)
        while True:
            signal.pause()
    asyncio.run(serve_http1(address, port, fault))


if __name__ == "__main__":
    main()
