"""Connecting: what the waiting requests hear, and what is counted."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from sidecar.core.routing.policy import CircuitBreaker, LoadBalancing, Policy, Retries, Timeouts
from sidecar.core.snapshot import EndpointRecord, ServiceRecord
from tests.support.proxy.fake_loop import ConnectingLoop, FakeTransport
from tests.support.proxy.rig import ANSWER, Http1Rig
from tests.support.wire.http1 import request

GET = request(b"Host: orders")
POST = request(b"Host: orders", b"Content-Length: 2", line=b"POST / HTTP/1.1") + b"hi"
NO_RETRY = Policy(retries=Retries(count=0))


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_a_request_opens_a_connection() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(loop=loop)
        client = rig.client()
        loop.outcomes.append(None)
        client.receive(POST)
        await loop.settle()
        (upstream,) = loop.transports
        assert upstream.take().endswith(b"hi")
        upstream.receive(ANSWER)
        assert client.take().startswith(b"HTTP/1.1 200")
        assert rig.cluster.connections == 1
        assert rig.settled()

    run(test)


def test_a_failure_is_tried_elsewhere_and_counted() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(2, loop=loop)
        client = rig.client()
        loop.outcomes += [ConnectionRefusedError("refused"), None]
        client.receive(POST)
        await loop.settle()
        (upstream,) = loop.transports
        upstream.receive(ANSWER)
        assert client.take().startswith(b"HTTP/1.1 200")
        assert (rig.cluster.connections, rig.client_meter.connect_errors) == (1, 1)
        assert sorted(endpoint.failures for endpoint in rig.cluster.endpoints) == [0, 1]
        assert rig.settled()

    run(test)


def test_when_nothing_helps_the_client_hears_it() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(loop=loop)
        client = rig.client()
        loop.outcomes += [ConnectionRefusedError("refused"), TimeoutError(), OSError("no route")]
        client.receive(POST)
        await loop.settle()
        answer = client.take()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"tramo-response-flags: UF" in answer
        assert b"tramo-unprocessed: true" in answer
        assert (rig.cluster.connections, rig.client_meter.connect_errors) == (0, 3)
        assert [endpoint.connect_failure for endpoint in rig.cluster.endpoints] == ["no route"]
        assert rig.settled()

    run(test)


def test_an_endpoint_remembers_why_it_could_not_be_connected_until_it_can_be() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(policy=NO_RETRY, loop=loop)
        (endpoint,) = rig.cluster.endpoints
        client = rig.client()
        for outcome, failure in ((TimeoutError(), "timed out"), (ConnectionRefusedError("refused"), "refused")):
            loop.outcomes.append(outcome)
            client.receive(GET)
            await loop.settle()
            assert client.take().startswith(b"HTTP/1.1 503")
            assert endpoint.connect_failure == failure
        loop.outcomes.append(None)
        client.receive(GET)
        await loop.settle()
        assert endpoint.connect_failure == ""

    run(test)


def lost_at_once(transport: FakeTransport) -> None:
    transport.lose(ConnectionResetError())


def ended_at_once(transport: FakeTransport) -> None:
    transport.receive_eof(settle=False)


def test_a_connection_that_is_closed_at_once_is_a_failure_to_connect() -> None:
    """As a proxy in front of a port where nobody listens does it: Docker's, for one."""

    async def test() -> None:
        for outcome in (lost_at_once, ended_at_once):
            loop = ConnectingLoop()
            rig = Http1Rig(loop=loop)
            client = rig.client()
            loop.outcomes += [outcome, None]
            client.receive(POST)
            await loop.settle()
            assert len(loop.transports) == 2
            loop.transports[1].receive(ANSWER)
            assert client.take().startswith(b"HTTP/1.1 200")
            assert rig.cluster.connections == 1
            assert rig.client_meter.connect_errors == 1
            assert rig.settled()

    run(test)


def test_a_released_connection_serves_who_waits() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(policy=NO_RETRY, loop=loop)
        upstream = rig.upstream()
        one, other = rig.client(), rig.client()
        one.receive(GET)
        loop.outcomes.append(ConnectionRefusedError("refused"))
        other.receive(GET)
        upstream.take()
        upstream.receive(ANSWER)
        assert upstream.take().startswith(b"GET"), "it need not wait for its own connection"
        upstream.receive(ANSWER)
        await loop.settle()
        for client in (one, other):
            assert client.take().startswith(b"HTTP/1.1 200")
        assert rig.cluster.connections == 1
        assert rig.settled()

    run(test)


def test_a_connection_that_came_too_late_is_kept() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(loop=loop)
        client = rig.client()
        loop.outcomes.append(lambda _: client.lose())
        client.receive(GET)
        await loop.settle()
        (upstream,) = loop.transports
        assert upstream.take() == b""
        assert rig.cluster.connections == 1
        again = rig.client()
        again.receive(GET)
        assert upstream.take().startswith(b"GET")
        upstream.receive(ANSWER)
        assert rig.settled()

    run(test)


def test_requests_that_are_cut_at_once_make_no_connections() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(loop=loop)
        for _ in range(3):
            gone = rig.client()
            gone.receive(GET)
            gone.lose()
        client = rig.client()
        client.receive(GET)
        loop.outcomes.append(None)
        await loop.settle()
        (upstream,) = loop.transports
        assert rig.cluster.connections == 1
        upstream.receive(ANSWER)
        assert client.take().startswith(b"HTTP/1.1 200")
        assert rig.settled()

    run(test)


def test_the_circuit_breaker_counts_waiting_requests() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(policy=Policy(circuit_breaker=CircuitBreaker(max_pending_requests=1)), loop=loop)
        loop.outcomes.append(None)
        one, other = rig.client(), rig.client()
        one.receive(GET)
        other.receive(GET)
        assert b"tramo-response-flags: UO" in other.take()
        await loop.settle()
        loop.transports[0].receive(ANSWER)
        assert one.take().startswith(b"HTTP/1.1 200")
        other.receive(GET)
        loop.transports[0].receive(ANSWER)
        assert other.take().startswith(b"HTTP/1.1 200")
        assert rig.client_meter.overflows == 1
        assert rig.settled()

    run(test)


def test_by_default_no_number_of_requests_is_refused() -> None:
    rig = Http1Rig(1500)
    clients = [rig.client() for _ in range(1500)]
    for number, client in enumerate(clients):
        rig.upstream(number)
        client.receive(GET)
    assert not any(client.take() for client in clients)
    assert rig.cluster.active_requests == 1500


def test_want_of_descriptors_is_not_held_against_the_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(2, loop=loop)
        for _ in range(6):
            client = rig.client()
            loop.outcomes.append(OSError(errno.EMFILE, "Too many open files"))
            client.receive(POST)
            await loop.settle()
            assert b"tramo-response-flags: UF" in client.take()
        assert [endpoint.failures for endpoint in rig.cluster.endpoints] == [0, 0]
        assert [endpoint.health_name() for endpoint in rig.cluster.endpoints] == ["healthy"] * 2
        assert rig.cluster.connections == 0
        assert rig.settled()

    run(test)
    (record,) = caplog.records
    assert "nofile" in record.getMessage()


def test_an_idle_connection_is_closed_by_its_last_use() -> None:
    rig = Http1Rig()
    client, upstream = rig.client(), rig.upstream()
    rig.loop.advance(20.0)
    client.receive(GET)
    rig.loop.advance(12.0)  # its first deadline passes in the middle of a request
    assert rig.cluster.connections == 1
    upstream.receive(ANSWER)
    rig.loop.advance(20.0)
    client.receive(GET)
    upstream.receive(ANSWER)
    rig.loop.advance(29.0)
    assert rig.cluster.connections == 1
    rig.loop.advance(2.0)
    assert upstream.lost
    assert rig.cluster.connections == 0


def test_making_a_connection_is_no_latency_of_the_endpoint() -> None:
    """Else the first request would make a new endpoint look slow for as long as latencies are remembered."""

    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(loop=loop)
        client = rig.client()
        loop.outcomes.append(None)
        client.receive(GET)
        loop.now += 0.9
        await loop.settle()
        loop.now += 0.01
        loop.transports[0].receive(ANSWER)
        assert client.take().startswith(b"HTTP/1.1 200")
        assert 0.0 < rig.cluster.endpoints[0].latency < 0.02
        assert rig.client_meter.latency.seconds < 0.02
        assert rig.settled()

    run(test)


def test_a_connection_is_tried_for_as_long_as_the_policy_says() -> None:
    class Hanging(ConnectingLoop):
        async def create_connection(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Any:
            if port == 8000:
                await asyncio.Event().wait()
            return await super().create_connection(factory, host, port)

    async def test() -> None:
        loop = Hanging()
        policy = Policy(LoadBalancing("round_robin"), timeouts=Timeouts(connect_seconds=0.05))
        rig = Http1Rig(2, policy, loop)
        first, second = rig.client(), rig.client()
        loop.outcomes += [None, None]
        for client in (first, second):
            client.receive(POST)
        async with asyncio.timeout(20):
            while rig.cluster.pending_requests:
                await asyncio.sleep(0.01)
                loop.run()
        assert rig.client_meter.connect_errors == 1
        assert [endpoint.connect_failure for endpoint in rig.cluster.endpoints] == ["timed out", ""]
        for upstream in loop.transports:
            assert upstream.take().endswith(b"hi"), "nothing was sent, so even a POST goes on"
            upstream.receive(ANSWER)
        assert {client.take()[9:12] for client in (first, second)} == {b"200"}
        assert rig.settled()

    run(test)


def test_endpoints_of_the_last_resort_leave_no_pools() -> None:
    rig = Http1Rig()
    rig.upstream()
    (record,) = rig.records

    def told(*endpoints: EndpointRecord) -> None:
        rig.destination.update(ServiceRecord("orders", "http", "127.254.0.2", 1, (), endpoints), "")

    for number in range(3):
        found = msgspec.structs.replace(record, id=f"task{number}", port=9_000 + number)
        told(found)
        told()  # its tasks have gone: the last that was known is still tried
        client = rig.client()
        client.receive(GET)
        client.break_off()
    told(found)
    assert len(rig.destination._pools) <= 1
