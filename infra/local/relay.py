"""The way of the tasks to DynamoDB and S3, which can be taken away while the functions still reach both.

In AWS that is a gateway endpoint, a route or a permission that is missing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

_CHUNK_BYTES: Final = 65_536


class Relay:
    """A TCP relay. `url` stays the same while it is away and back."""

    def __init__(self, host: str, target: str) -> None:
        self.is_away = True
        self._host = host
        self._port = 0
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where tasks connect."""
        return f"http://{self._host}:{self._port}"

    async def back(self) -> None:
        """Listen, at the port of the first time."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self._host, self._port)
            self._port = self._server.sockets[0].getsockname()[1]
            self.is_away = False

    async def away(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None
            self.is_away = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy: this is a coroutine
        self._serving.add(task)
        try:
            other_reader, other_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
            try:
                await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))
            finally:
                await _close(other_writer)
        except OSError:
            pass  # nobody is behind it: the task's connection is closed
        except asyncio.CancelledError:
            pass  # `away` cuts it; a server's handler that ends cancelled is written to stderr as an error
        finally:
            await _close(writer)
            self._serving.discard(task)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side ends."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
