"""One listener for all services: its routes, what it refuses, and whether calls arrive. What the kernel does is tested
in a network namespace (tests/integration/sidecar/test_redirect.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.core.meters import ClientMeter, SidecarMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import DEFAULT
from sidecar.core.states import AppProtocol
from sidecar.proxy.base.pace import Pace
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.downstream.detect import DetectingConnection
from sidecar.proxy.listeners import Address
from sidecar.proxy.redirect import Redirect, State
from sidecar.proxy.upstream.destination import Destination
from tests.support.proxy.sidecar import network

ORDERS = Address("240.0.0.2", 80)
CACHE = Address("240.0.0.3", 6379)
PORT = 15_002


class Case:
    """A redirect that listens on loopback, where no rule sends anything to it."""

    def __init__(self, prefix: str) -> None:
        self.runtime = Runtime(asyncio.get_running_loop())
        self.meter = SidecarMeter()
        self.address = Address(f"{prefix}.0.1", PORT)
        self.redirect = Redirect(self.runtime, self.address, Address(f"{prefix}.0.2", 9), self.meter)

    def destination(self, name: str, protocol: AppProtocol) -> Destination:
        meter = ClientMeter(name)
        return Destination(self.runtime, Cluster(name, protocol, DEFAULT), meter, meter, 30.0)

    async def route(self, wanted: dict[Address, Destination]) -> None:
        await self.redirect.set(wanted, Pace(self.runtime.now))


def run(test: Callable[[Case], Awaitable[None]]) -> None:
    async def main() -> None:
        with network() as prefix:
            case = Case(prefix)
            try:
                await test(case)
            finally:
                case.redirect.close()
                case.runtime.stop()

    asyncio.run(main())


def test_a_call_is_served_in_the_protocol_of_the_service_that_has_the_address() -> None:
    async def test(case: Case) -> None:
        orders, cache = case.destination("orders", "http"), case.destination("cache", "tcp")
        await case.route({ORDERS: orders, CACHE: cache})
        assert isinstance(case.redirect.protocol_for(ORDERS), DetectingConnection)
        assert not isinstance(case.redirect.protocol_for(CACHE), DetectingConnection)
        orders.cluster.protocol = "tcp"
        assert not isinstance(case.redirect.protocol_for(ORDERS), DetectingConnection)
        await case.route({CACHE: cache})
        assert case.redirect.protocol_for(ORDERS) is None
        assert case.redirect.protocol_for(Address(CACHE.host, 80)) is None, "the port counts"

    run(test)


def test_who_calls_the_listener_itself_is_reset_and_counted() -> None:
    async def test(case: Case) -> None:
        assert await case.redirect.start()
        try:
            reader, writer = await asyncio.open_connection(*case.address)
            await reader.read()
            writer.close()
        except ConnectionResetError:
            pass
        assert case.meter.flags == {"NR": 1}
        assert case.redirect.state is not State.IN_PLACE

    run(test)


def test_a_probe_that_does_not_arrive_is_a_finding_until_a_call_does() -> None:
    async def test(case: Case) -> None:
        assert case.redirect.findings() == []
        assert await case.redirect.start()
        for _ in range(500):
            if case.redirect.state is State.MISSING:
                break
            await asyncio.sleep(0.02)
        (found,) = case.redirect.findings()
        assert (found.code, found.where) == ("TRM0307", "proxyConfiguration")
        assert f"ProxyEgressPort {PORT}" in found.remedy
        assert case.redirect.protocol_for(ORDERS) is None
        assert case.redirect.state is State.IN_PLACE, "what is called matters not: a rule has sent it here"
        assert case.redirect.findings() == []

    run(test)


def test_a_port_that_is_taken_is_named() -> None:
    async def test(case: Case) -> None:
        other = Case(case.address.host.rpartition(".0.1")[0])
        assert await case.redirect.start()
        assert not await other.redirect.start()
        assert other.redirect.addresses() == []

    run(test)
