"""The tasks' way to DynamoDB: it passes on, and can be taken away."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from infra.local.relay import Relay


class Echo:
    """A server that answers in capitals, and knows when nobody is connected any more."""

    def __init__(self) -> None:
        self.open = 0
        self.none_open = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.none_open.clear()
        with suppress(OSError):
            while data := await reader.read(100):
                writer.write(data.upper())
                await writer.drain()
        await _close(writer)
        self.open -= 1
        if not self.open:
            self.none_open.set()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _ask(relay: Relay, text: bytes) -> bytes:
    reader, writer = await _connect(relay)
    try:
        writer.write(text)
        return await reader.read(100)
    finally:
        await _close(writer)


async def _connect(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = relay.url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


def test_it_passes_on_until_it_is_away_and_again_when_it_is_back() -> None:
    errors: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        echo = Echo()
        server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
        relay = Relay("127.0.0.1", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert relay.is_away
        await relay.back()
        url = relay.url
        assert await _ask(relay, b"hello") == b"HELLO"
        reader, writer = await _connect(relay)
        writer.write(b"still here")
        assert await reader.read(100) == b"STILL HERE"
        await relay.away()
        with suppress(ConnectionError):
            assert await reader.read(100) == b"", "the connection is cut"
        await _close(writer)
        with pytest.raises(ConnectionRefusedError):
            await _ask(relay, b"hello")
        await relay.back()
        assert (relay.url, relay.is_away) == (url, False)
        assert await _ask(relay, b"again") == b"AGAIN"
        await relay.away()
        await echo.none_open.wait()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert errors == [], "nothing is written on stderr when connections are cut"


def test_nobody_behind_it_is_a_connection_that_closes() -> None:
    async def main() -> None:
        relay = Relay("127.0.0.1", "http://127.0.0.1:9")
        await relay.back()
        assert await _ask(relay, b"hello") == b""
        await relay.away()

    asyncio.run(main())
