"""The Autobahn WebSocket cases, by kosoku, through the tunnel of two sidecars.

kosoku plays both sides: the client of an echo server of `websockets`, and the server of a `websockets` client that
echoes. The sidecars look into nothing behind the 101, so what a case sees is whether a tunnel changes, holds back or
cuts bytes, and whether each side's close and half-close arrive.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import kosoku
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tests.support.proxy.pair import Pair
from tests.support.proxy.sidecar import Address

# kosoku leaves the files of its test data to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file.*kosoku:ResourceWarning")

GROUPS: Final = {
    "framing": ["1.*"],
    "pings": ["2.*"],
    "reserved bits": ["3.*"],
    "opcodes": ["4.*"],
    "fragmentation": ["5.*"],
    "UTF-8": ["6.*"],
    "close": ["7.*", "10.*"],
    "sizes": ["9.*"],
    "compression": [
        *(f"12.{group}.1" for group in range(1, 6)),
        *(f"13.{group}.1" for group in range(1, 8)),
    ],
}
LEFT_OUT: Final = ["9.3.1", "9.3.2", "9.4.1", "9.4.2"]
"""4 MiB in fragments of 64 or 256 bytes: `websockets` takes longer for them than the case allows, sidecar or not."""
WRONG_CLOSE_CODE: Final = {"7.1.5"}
"""`websockets` closes with 1002 what was closed within a message, the case wants 1000; it is the same without us."""
AT_ONCE: Final = 8
CLIENT: Final[dict[str, Any]] = {"max_size": None, "ping_interval": None, "proxy": None}
SECONDS: Final = 60.0


async def echo(connection: Connection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        return  # by a case that breaks the protocol


class EchoServer:
    """An echo server of `websockets` on a loop of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        if not self._ready.wait(60):
            raise TimeoutError("the echo server did not start")

    async def _run(self) -> None:
        quiet = logging.Logger("quiet", logging.CRITICAL)  # cases that break the protocol are not worth a traceback
        host, port = self._address.host, self._address.port
        async with serve(echo, host, port, max_size=None, ping_interval=None, logger=quiet):
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def server(pair: Pair) -> Iterator[Address]:
    running = EchoServer(pair.app("socket"))
    yield pair.address("socket")
    running.close()


def outcomes(results: Iterable[Any]) -> dict[str, str]:
    """What was wrong in the cases that failed otherwise than without the sidecars."""
    return {
        result.case_id: f"{result.result} {result.result_close}"
        for result in results
        if not result.passed and result.case_id not in WRONG_CLOSE_CODE
    }


async def call(url: str, cases: list[str]) -> dict[str, str]:
    """Let kosoku run the cases as the client; what failed."""
    try:
        results = await asyncio.wait_for(kosoku.run_fuzzingclient(url, cases, LEFT_OUT, AT_ONCE), SECONDS)
    except kosoku.FailureError as failure:
        return outcomes(failure.results)
    assert results
    return outcomes(results)


@pytest.mark.parametrize("group", GROUPS)
def test_kosoku_calls(server: Address, group: str) -> None:
    assert asyncio.run(call(f"ws://{server.host}:{server.port}/", GROUPS[group])) == {}


async def case_count(url: str) -> int:
    """How many cases kosoku serves, asked for until the app's sidecar has seen that its app listens."""
    while True:
        try:
            async with connect(f"{url}/getCaseCount", **CLIENT) as connection:
                return int(await connection.recv())
        except InvalidStatus as refused:
            if refused.response.status_code != 503:
                raise
            await asyncio.sleep(0.05)


async def be_called(cases: list[str], app: Address, through: Address) -> dict[str, str]:
    """Let kosoku serve the cases where the app has to listen, and a client of `websockets` run them; what failed."""
    url = f"ws://{through.host}:{through.port}"
    free = asyncio.Semaphore(AT_ONCE)

    async def run(number: int) -> None:
        async with free:
            with suppress(WebSocketException):  # a case that breaks the protocol
                async with connect(f"{url}/runCase?case={number}&agent=websockets", **CLIENT) as connection:
                    await echo(connection)

    async with kosoku.run_fuzzingserver(cases, LEFT_OUT, host=app.host, port=app.port) as kosokus:
        count = await asyncio.wait_for(case_count(url), SECONDS)
        await asyncio.gather(*(run(number) for number in range(1, count + 1)))
        async with connect(f"{url}/updateReports?agent=websockets", **CLIENT):
            pass
        try:
            results = await asyncio.wait_for(kosokus.get_result(), SECONDS)
        except kosoku.FailureError as failure:
            results = failure.results
    assert count > len(WRONG_CLOSE_CODE)
    return outcomes(results)


def test_kosoku_serves(pair: Pair) -> None:
    cases = [case for name, group in GROUPS.items() if name not in ("sizes", "compression") for case in group]
    assert asyncio.run(be_called(cases, pair.app("served"), pair.publish("served"))) == {}
