"""What a closed connection held is free at once: nothing of it waits for the garbage collector.

The collector looks at old objects rarely, and in a process that is short of memory because of them never soon enough.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import time
from typing import cast

import pytest
import uvloop

from sidecar.core.direction import OUTBOUND
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.messages import RequestHead
from sidecar.core.meters import ClientMeter, ServerMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import DEFAULT, Policy, Retries, Timeouts
from sidecar.core.snapshot import EndpointRecord
from sidecar.core.states import AppProtocol
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.listeners import Address, listen, listener_for
from sidecar.proxy.upstream.destination import Destination
from sidecar.telemetry.recorder import AccessLog, Recorder

CONNECTIONS = 5000
FEW = 100
AT_ONCE = 50
REQUEST = b"GET / HTTP/1.1\r\nHost: orders\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: orders\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class App(asyncio.Protocol):
    """Answers each read, whatever it was; to `/cut` by closing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport | None = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        if b" /cut " in data:
            self.transport.close()
        elif b"pgrade: websocket" in data:
            self.transport.write(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None


class Client:
    """A socket to the listener."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._address = address

    async def connect(self) -> None:
        await asyncio.get_running_loop().sock_connect(self._socket, self._address)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def read(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, 65_536)

    def close(self) -> None:
        self._socket.close()


async def says_nothing(client: Client) -> None:
    await client.connect()


async def asks_and_leaves(client: Client) -> None:
    await client.connect()
    await client.send(REQUEST)
    assert b" 200 " in await client.read()


async def is_told_that_it_was_the_last(client: Client) -> None:
    await client.connect()
    await client.send(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    while await client.read():
        pass


async def leaves_before_the_answer(client: Client) -> None:
    await client.connect()
    await client.send(REQUEST)


async def talks_nonsense(client: Client) -> None:
    await client.connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert b" 400 " in await client.read()


async def is_failed_by_the_app(client: Client) -> None:
    await client.connect()
    await client.send(REQUEST.replace(b"GET /", b"POST /cut"))
    assert b" 502 " in await client.read()


async def is_answered_or_refused(client: Client) -> None:
    await client.connect()
    await client.send(REQUEST)
    await client.read()  # nothing, where that means that a TCP session is refused


async def opens_a_web_socket(client: Client) -> None:
    await client.connect()
    await client.send(UPGRADE)
    while b"hello" not in await client.read():
        pass


async def speaks_http2(client: Client) -> None:
    await client.connect()
    codec = Http2Codec(is_server=False)
    codec.send_request(RequestHead(b"GET", b"/", b"orders", []))
    await client.send(codec.output())
    while not any(stream for stream, _ in codec.feed(await client.read())):
        pass


CLIENTS = (
    says_nothing,
    asks_and_leaves,
    is_told_that_it_was_the_last,
    leaves_before_the_answer,
    talks_nonsense,
    is_failed_by_the_app,
    opens_a_web_socket,
    speaks_http2,
)


class NoOutput:
    """Where lines of the access log go to."""

    written = dropped = 0

    def write(self, line: bytes) -> None:
        """Nothing is kept."""


@contextmanager
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


Work = Callable[[Runtime, Cluster, tuple[str, int]], Awaitable[None]]


async def behind_a_listener(protocol: AppProtocol, work: Work, policy: Policy = DEFAULT) -> None:
    loop = asyncio.get_running_loop()
    runtime = Runtime(loop, seed=1)
    runtime.start()
    runtime.recorder = Recorder(runtime, AccessLog(NoOutput(), False, 1.0, False), None, time)
    app = await loop.create_server(App, "127.0.0.1", 0)
    meter = ClientMeter("orders")
    cluster = Cluster("orders", protocol, policy)
    host, port = app.sockets[0].getsockname()
    record = EndpointRecord("e", host, port, "ready")
    cluster.update(protocol, policy, (record,), "", 0.0)
    destination = Destination(runtime, cluster, meter, meter, 30.0)
    listener = listener_for(destination, OUTBOUND, ServerMeter("orders"))
    server = await listen(runtime, Address("127.0.0.1", 0), listener.accept)
    try:
        await work(runtime, cluster, server.sockets[0].getsockname()[:2])
        destination.close()
    finally:
        server.close()
        app.close()
        runtime.stop()


def left_behind(
    protocol: AppProtocol, behave: Callable[[Client], Awaitable[None]], connections: int, policy: Policy = DEFAULT
) -> Counter[str]:
    """What only the collector finds after so many connections of this kind, by type. Nothing is counted any more."""
    found: Counter[str] = Counter()

    async def many(address: tuple[str, int], count: int) -> None:
        async def one() -> None:
            client = Client(address)
            try:
                async with asyncio.timeout(20):
                    await behave(client)
            finally:
                client.close()

        for begun in range(0, count, AT_ONCE):
            await asyncio.gather(*(one() for _ in range(min(AT_ONCE, count - begun))))

    async def work(runtime: Runtime, cluster: Cluster, address: tuple[str, int]) -> None:
        await many(address, 1)
        await quiet(runtime)
        with collector_off():
            await many(address, connections)
            await quiet(runtime)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            gc.set_debug(0)
            found.update(type(each).__qualname__ for each in gc.garbage)
            gc.garbage.clear()
            assert (cluster.pending_requests, cluster.active_requests) == (0, 0)
            assert cluster.connections <= AT_ONCE, "those that are idle"

    uvloop.run(behind_a_listener(protocol, work, policy))
    return found


async def quiet(runtime: Runtime) -> None:
    """Until all that the clients left is noticed."""
    async with asyncio.timeout(20):
        while runtime.work:  # noqa: ASYNC110 - a counter, which tells nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # the sockets' ends are read in the loop's next turns; a leak does not go by waiting


def test_nothing_of_five_thousand_connections_is_left() -> None:
    found = left_behind("http", asks_and_leaves, CONNECTIONS)
    assert found.total() < CONNECTIONS // 10, found


@pytest.mark.parametrize("behave", CLIENTS, ids=[behave.__name__ for behave in CLIENTS])
def test_nothing_is_left_of_a_client_that(behave: Callable[[Client], Awaitable[None]]) -> None:
    found = left_behind("http", behave, FEW)
    assert found.total() < FEW // 10, found


@pytest.mark.parametrize("protocol", ["http", "http2", "tcp"])
@pytest.mark.parametrize("seconds", [1e-6, 1e-4, 3e-4])
def test_nothing_is_left_of_connections_that_are_made_as_their_time_is_over(
    protocol: AppProtocol, seconds: float
) -> None:
    policy = Policy(timeouts=Timeouts(connect_seconds=seconds), retries=Retries(count=0))
    found = left_behind(protocol, is_answered_or_refused, 2 * FEW, policy)
    assert found.total() < FEW // 10, found


def test_nothing_is_left_of_a_tcp_session() -> None:
    found = left_behind("tcp", asks_and_leaves, FEW)
    assert found.total() < FEW // 10, found
