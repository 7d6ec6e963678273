"""Mixed traffic, each kind by a client that others wrote. Every answer is checked; one that is wrong is a failure."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio  # type: ignore[import-untyped]  # grpcio comes without types
import httpx
from websockets.asyncio.client import connect

from tests.soak.app import PIECE, SERVICE
from tests.support.proxy.sidecar import Address
from tests.support.wire.grpc_service import OPTIONS

WORKERS: Final = 3
"""Callers of each kind."""
PAUSE_SECONDS: Final = 0.02
"""Between two requests of a caller: the soak is about what remains after days, not about the highest rate."""
SECONDS: Final = 30.0
"""Longest request, beyond the sidecar's own 15 s."""
MAX_KEPT: Final = 20
"""Failures of a kind that are kept to be told."""

Step = Callable[[], Awaitable[None]]


@dataclass
class Tally:
    """What became of the requests of one kind."""

    done: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)  # seconds

    def fail(self, at: float, error: BaseException) -> None:
        """Note a failure, with the second of the run."""
        self.failed += 1
        if len(self.failures) < MAX_KEPT:
            self.failures.append(f"after {at:.1f} s: {type(error).__name__}: {error}")


def produced(size: int) -> bytes:
    """What the app answers when it is asked for so many bytes."""
    return (PIECE * (size // len(PIECE) + 1))[:size]


class Traffic:
    """Callers of all kinds, until they are stopped."""

    def __init__(self, addresses: dict[str, Address], seed: int) -> None:
        self._addresses = addresses
        self._draw = random.Random(seed)  # noqa: S311 - a mixture, not a secret
        self._stopped = asyncio.Event()
        self._started = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.tallies: dict[str, Tally] = {}

    def stop(self) -> None:
        """Begin no more requests."""
        self._stopped.set()

    def stop_soon(self) -> None:
        """The same, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def run(self) -> None:
        """Send requests until `stop`; those under way are finished."""
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            kinds = await self._kinds(stack)
            self.tallies = {name: Tally() for name in kinds}
            await asyncio.gather(
                *(self._call(self.tallies[name], kinds[name]) for name in kinds for _ in range(WORKERS))
            )

    async def _kinds(self, stack: AsyncExitStack) -> dict[str, Step]:
        web, calls = self._addresses["web"], self._addresses["calls"]
        url = f"http://{web.host}:{web.port}"
        http1 = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False))
        http2 = await stack.enter_async_context(
            httpx.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False, http1=False, http2=True)
        )
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(f"{calls.host}:{calls.port}", options=OPTIONS)
        )
        echo, chat = channel.unary_unary(f"/{SERVICE}/Echo"), channel.stream_stream(f"/{SERVICE}/Chat")
        return {
            "HTTP/1.1": lambda: self._http(http1),
            "HTTP/2": lambda: self._http(http2),
            "gRPC unary": lambda: self._unary(echo),
            "gRPC stream": lambda: self._stream(chat),
            "TCP": self._tcp,
            "WebSocket": self._websocket,
        }

    async def _call(self, tally: Tally, step: Step) -> None:
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                async with asyncio.timeout(SECONDS):
                    await step()
            except Exception as error:
                tally.fail(begun - self._started, error)
            else:
                tally.done += 1
                tally.latencies.append(time.monotonic() - begun)
            await asyncio.sleep(PAUSE_SECONDS)

    def _size(self) -> int:
        return self._draw.choice([0, 10, 10, 1_000, 1_000, 100_000])

    async def _http(self, client: httpx.AsyncClient) -> None:
        size = self._size()
        if self._draw.random() < 0.5:
            response = await client.get(f"/{size}")
        else:
            response = await client.post("/", content=produced(size))
        if (response.status_code, response.content) != (200, produced(size)):
            raise ValueError(f"{response.status_code} {dict(response.headers)} with {len(response.content)} bytes")

    async def _unary(self, call: Any) -> None:
        message = produced(self._size())
        if await call(message, timeout=SECONDS) != message:
            raise ValueError("another message came back")

    async def _stream(self, call: Any) -> None:
        """A conversation of some messages, each answered before the next."""
        stream = call(timeout=SECONDS)
        for _ in range(self._draw.randint(1, 10)):
            message = b"a" * self._size()
            await stream.write(message)
            if await stream.read() != message.upper():
                raise ValueError("another message came back")
        await stream.done_writing()
        if await stream.read() is not grpc.aio.EOF:
            raise ValueError("the stream did not end")

    async def _tcp(self) -> None:
        address = self._addresses["raw"]
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            for _ in range(self._draw.randint(1, 10)):
                data = produced(self._size() + 1)
                writer.write(data)
                if await reader.readexactly(len(data)) != data:
                    raise ValueError("other bytes came back")
            writer.write_eof()
            if await reader.read() != b"":
                raise ValueError("more came back than was sent")
        finally:
            writer.close()
            await writer.wait_closed()

    async def _websocket(self) -> None:
        address = self._addresses["web"]
        async with connect(f"ws://{address.host}:{address.port}/ws", max_size=None, proxy=None) as socket:
            for _ in range(self._draw.randint(1, 10)):
                message = produced(self._size())
                await socket.send(message)
                if await socket.recv() != message:
                    raise ValueError("another message came back")
