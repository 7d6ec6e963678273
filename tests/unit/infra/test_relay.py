"""The tasks' way to DynamoDB: it passes on, and can be taken away."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from infra.local.relay import Relay


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data.upper())
        await writer.drain()
    writer.close()


async def _ask(relay: Relay, text: bytes) -> bytes:
    host, _, port = relay.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(text)
        return await reader.read(100)
    finally:
        writer.close()


def test_it_passes_on_until_it_is_away_and_again_when_it_is_back() -> None:
    async def main() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        relay = Relay("127.0.0.1", f"http://127.0.0.1:{port}")
        assert relay.is_away
        await relay.back()
        url = relay.url
        assert await _ask(relay, b"hello") == b"HELLO"
        host, _, own = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(own))
        writer.write(b"still here")
        assert await reader.read(100) == b"STILL HERE"
        await relay.away()
        with suppress(ConnectionError):
            assert await reader.read(100) == b"", "the connection is cut"
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await _ask(relay, b"hello")
        await relay.back()
        assert (relay.url, relay.is_away) == (url, False)
        assert await _ask(relay, b"again") == b"AGAIN"
        await relay.away()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_nobody_behind_it_is_a_connection_that_closes() -> None:
    async def main() -> None:
        relay = Relay("127.0.0.1", "http://127.0.0.1:9")
        await relay.back()
        assert await _ask(relay, b"hello") == b""
        await relay.away()

    asyncio.run(main())
