"""Callers at a constant rate, who go on whatever the answers are: GET and POST by HTTP/1.1, on connections kept."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

POST_EACH: Final = 4
"""Each fourth request is a POST, which nobody may repeat that the app may have seen."""
LONG_SECONDS: Final = 1.0
BODY: Final = b"0123456789"
REQUESTS: Final = {
    "GET": b"GET / HTTP/1.1\r\nhost: faulty\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nhost: faulty\r\ncontent-length: 10\r\n\r\n" + BODY,
}

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Tally:
    """What became of the requests."""

    sent: Counter[str] = field(default_factory=Counter)  # by method
    failed: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of those that were answered well

    @property
    def long(self) -> int:
        """How many took longer than `LONG_SECONDS`, or were never answered well."""
        return sum(seconds > LONG_SECONDS for seconds in self.seconds) + self.failed.total()


class Callers:
    """Send requests to one address."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.tally = Tally()
        self._address = (host, port)
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def at_rate(self, rate: float, seconds: float) -> None:
        """Begin requests at a constant rate for so long, and wait for the last of them."""
        begun = time.monotonic()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            self._begin("POST" if number % POST_EACH == POST_EACH - 1 else "GET")
        await self._end()

    async def at_once(self, count: int) -> None:
        """Begin so many requests, a few in each moment, and wait for all of them."""
        for _ in range(count):
            self._begin("GET")
            await asyncio.sleep(0.0005)
        await self._end()

    async def _end(self) -> None:
        await asyncio.gather(*self._calls)
        for _, writer in self._idle:
            writer.close()

    def _begin(self, method: str) -> None:
        task = asyncio.create_task(self._call(method))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, method: str) -> None:
        tally = self.tally
        tally.sent[method] += 1
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout), self._connection() as connection:
                connection[1].write(REQUESTS[method])
                status = await _status(connection[0], connection[1])
        except (OSError, EOFError, ValueError) as error:
            outcome = "time-out" if isinstance(error, TimeoutError) else "broken"
        else:
            outcome = "" if status < 400 else str(status)
        if outcome:
            tally.failed[method] += 1
            tally.why[outcome] += 1
        else:
            tally.seconds.append(time.monotonic() - begun)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        while self._idle and self._idle[-1][0].at_eof():
            self._idle.pop()[1].close()
        found = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
        try:
            yield found
        except BaseException:
            found[1].transport.abort()
            raise
        if not found[1].is_closing():
            self._idle.append(found)


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The status of an answer that is read to its end. A connection that the proxy will close is closed."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0].strip()
    if b"\r\ntransfer-encoding: chunked" in head:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        await reader.readexactly(int(length))
    if b"\r\nconnection: close" in head:
        writer.close()
    return int(head[9:12])
