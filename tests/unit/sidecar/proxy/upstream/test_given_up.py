"""Connections whose requests are cut while they are made, over the sockets of either loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import uvloop

from sidecar.core.direction import INBOUND
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.messages import RequestHead, ResponseHead
from sidecar.core.meters import ClientMeter, ServerMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import CircuitBreaker, Policy, Retries
from sidecar.core.snapshot import EndpointRecord
from sidecar.core.states import AppProtocol
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.downstream.http1 import Http1Connection
from sidecar.proxy.listeners import HttpListener
from sidecar.proxy.upstream.destination import Destination
from tests.support.proxy.fake_loop import FakeLoop, FakeTransport
from tests.support.proxy.rig import ANSWER
from tests.support.wire.http1 import request

GET = request(b"Host: orders")
TURNS = 8
"""Of the loop, in which a connection to this machine is made and known."""
POLICY = Policy(retries=Retries(count=0))
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "http2"])
NewLoop = Callable[[], asyncio.AbstractEventLoop]


class App(asyncio.Protocol):
    """Answers each request, and counts connections."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._codec = Http2Codec(is_server=True) if rig.protocol == "http2" else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._rig.accepted += 1
        self._rig.open += 1

    def data_received(self, data: bytes) -> None:
        if self._codec is None:
            self._transport.write(ANSWER)
            return
        for stream, event in self._codec.feed(data):
            if isinstance(event, RequestHead):
                self._codec.send_response(stream, ResponseHead(200, []))
        self._transport.write(self._codec.output())

    def connection_lost(self, error: Exception | None) -> None:
        self._rig.open -= 1


class Rig:
    """A service with one endpoint on this machine. Its clients are fake sockets."""

    def __init__(self, protocol: AppProtocol) -> None:
        self.protocol = protocol
        self.accepted = self.open = 0  # connections, as the app sees them

    async def start(self, policy: Policy) -> None:
        loop = asyncio.get_running_loop()
        self._app = await loop.create_server(lambda: App(self), "127.0.0.1", 0)
        self._runtime = Runtime(loop, seed=1)
        self._runtime.start()
        meter = ClientMeter("orders")
        self.cluster = Cluster("orders", self.protocol, policy)
        host, port = self._app.sockets[0].getsockname()
        self.cluster.update(self.protocol, policy, (EndpointRecord("e", host, port, "ready"),), "", 0.0)
        self._destination = Destination(self._runtime, self.cluster, meter, meter, 30.0)
        self._listener = HttpListener(self._runtime, self._destination, INBOUND, ServerMeter("orders"))

    def ask(self) -> FakeTransport:
        """A client with a request under way."""
        client = FakeTransport(FakeLoop(), Http1Connection(self._listener))
        client.receive(GET)
        return client

    async def answered(self, client: FakeTransport) -> None:
        await _until(lambda: bool(client.written))
        assert client.take().startswith(b"HTTP/1.1 200")

    def close_idle(self) -> None:
        self._destination.close_idle()

    async def stop(self) -> None:
        """Close what is idle: nothing else may be counted, and nothing may be open."""
        assert (self.cluster.pending_requests, self.cluster.active_requests) == (0, 0)
        self._destination.close_idle()
        await _until(lambda: not self.cluster.connections and not self.open)
        self._app.close()
        self._runtime.stop()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - sockets, which tell nobody here
            await asyncio.sleep(0.001)


def run(
    new_loop: NewLoop, protocol: AppProtocol, test: Callable[[Rig], Awaitable[None]], policy: Policy = POLICY
) -> None:
    async def main() -> None:
        rig = Rig(protocol)
        await rig.start(policy)
        await test(rig)
        await rig.stop()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@LOOPS
@PROTOCOLS
def test_a_request_behind_one_that_is_cut_is_served(new_loop: NewLoop, protocol: AppProtocol) -> None:
    async def test(rig: Rig) -> None:
        for before in range(TURNS):
            for between in range(TURNS):
                gone = rig.ask()
                await turns(before)
                gone.lose(ConnectionResetError())
                await turns(between)
                await rig.answered(rig.ask())
                rig.close_idle()
                await _until(lambda: not rig.cluster.connections)

    run(new_loop, protocol, test)


@LOOPS
@PROTOCOLS
def test_many_requests_that_are_cut_leave_nothing(new_loop: NewLoop, protocol: AppProtocol) -> None:
    async def test(rig: Rig) -> None:
        for count in range(TURNS):
            clients = []
            for _ in range(20):
                clients.append(rig.ask())
                await turns(count % 3)
            for client in clients:
                client.lose(ConnectionResetError())
            await turns(count)

    run(new_loop, protocol, test)


@LOOPS
@PROTOCOLS
def test_of_two_who_wait_the_other_keeps_its_connection(new_loop: NewLoop, protocol: AppProtocol) -> None:
    async def test(rig: Rig) -> None:
        gone, other = rig.ask(), rig.ask()
        await turns(1)
        gone.lose(ConnectionResetError())
        await rig.answered(other)
        assert rig.accepted <= 2

    run(new_loop, protocol, test)


@LOOPS
@PROTOCOLS
def test_a_connection_that_is_given_up_makes_room_for_who_waits_at_the_limit(
    new_loop: NewLoop, protocol: AppProtocol
) -> None:
    async def test(rig: Rig) -> None:
        for count in range(TURNS):
            gone, other = rig.ask(), rig.ask()
            await turns(count)
            gone.lose(ConnectionResetError())
            await rig.answered(other)
            assert rig.cluster.connections == 1

    run(new_loop, protocol, test, Policy(retries=Retries(count=0), circuit_breaker=CircuitBreaker(max_connections=1)))
