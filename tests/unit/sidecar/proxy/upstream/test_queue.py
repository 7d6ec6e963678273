"""Who waits at the limits of the circuit breaker, and who is refused."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.core.routing.policy import CircuitBreaker, Policy, Timeouts
from tests.support.proxy.fake_loop import ConnectingLoop, FakeTransport
from tests.support.proxy.rig import ANSWER, Http1Rig
from tests.support.wire.http1 import request

GET = request(b"Host: orders")


def limited(endpoints: int = 1, **limits: int) -> Http1Rig:
    return Http1Rig(endpoints, policy=Policy(circuit_breaker=CircuitBreaker(**limits)), loop=ConnectingLoop())


def asked(rig: Http1Rig, count: int) -> list[FakeTransport]:
    """So many clients, each with a request."""
    clients = [rig.client() for _ in range(count)]
    for client in clients:
        client.receive(GET)
    return clients


def loop_of(rig: Http1Rig) -> ConnectingLoop:
    assert isinstance(rig.loop, ConnectingLoop)
    return rig.loop


def statuses(clients: list[FakeTransport]) -> list[bytes]:
    return [client.take()[9:12] for client in clients]


@pytest.mark.parametrize("limits", [{"max_connections": 4}, {"max_requests": 4}])
def test_requests_beyond_a_limit_wait_and_are_served_in_turn(limits: dict[str, int]) -> None:
    async def test() -> None:
        rig = limited(**limits)
        loop = loop_of(rig)
        loop.outcomes += [None] * 4
        clients = asked(rig, 12)
        await loop.settle()
        assert (len(loop.transports), rig.cluster.pending_requests) == (4, 8)
        found = []
        for _ in range(3):
            for upstream in loop.transports:
                assert upstream.take().count(b"GET ") == 1
                upstream.receive(ANSWER)
            await loop.settle()
            found += [index for index, client in enumerate(clients) if client.take().startswith(b"HTTP/1.1 200")]
        assert sorted(found) == list(range(12))
        assert set(found[:4]) == set(range(4)), "the first come first"
        assert (rig.client_meter.overflows, rig.cluster.connections) == (0, 4)
        assert rig.settled()

    asyncio.run(test())


def test_idle_connections_of_other_endpoints_refuse_no_request() -> None:
    async def test() -> None:
        rig = limited(endpoints=3, max_connections=2)
        loop = loop_of(rig)
        idle = [rig.upstream(0), rig.upstream(1)]
        rig.cluster.update("http", rig.cluster.policy, rig.records[2:], "", 0.0)
        loop.outcomes.append(None)
        (client,) = asked(rig, 1)
        await loop.settle()
        assert [upstream.lost for upstream in idle] == [True, False], "the one that has been idle for longest"
        (upstream,) = loop.transports
        upstream.receive(ANSWER)
        assert statuses([client]) == [b"200"]
        assert rig.cluster.connections == 2
        assert rig.settled()

    asyncio.run(test())


def test_no_more_wait_than_the_policy_allows() -> None:
    async def test() -> None:
        rig = limited(max_requests=1, max_pending_requests=2)
        loop = loop_of(rig)
        loop.outcomes.append(None)
        clients = asked(rig, 1)
        await loop.settle()
        clients += asked(rig, 3)
        assert statuses(clients) == [b"", b"", b"", b"503"]
        for _ in range(3):
            loop.transports[0].receive(ANSWER)
            await loop.settle()
        assert statuses(clients[:3]) == [b"200"] * 3
        assert rig.client_meter.overflows == 1
        assert rig.settled()

    asyncio.run(test())


def test_a_wait_ends_with_the_requests_own_time_or_with_its_client() -> None:
    async def test() -> None:
        breaker = CircuitBreaker(max_requests=1)
        policy = Policy(circuit_breaker=breaker, timeouts=Timeouts(request_seconds=5.0))
        rig = Http1Rig(policy=policy, loop=ConnectingLoop())
        loop = loop_of(rig)
        loop.outcomes.append(None)
        (first,) = asked(rig, 1)
        await loop.settle()
        leaving, waiting = asked(rig, 2)
        leaving.lose(None)
        assert rig.cluster.pending_requests == 1
        loop.advance(6.0)
        assert statuses([first, waiting]) == [b"504", b"504"]
        assert loop.transports[0].take().count(b"GET ") == 1, "it never left"
        assert rig.settled()

    asyncio.run(test())


@pytest.mark.parametrize("limits", [{"max_connections": 0}, {"max_requests": 0}])
def test_a_limit_of_nothing_refuses_at_once(limits: dict[str, int]) -> None:
    async def test() -> None:
        rig = limited(**limits)
        assert statuses(asked(rig, 1)) == [b"503"]
        assert rig.settled()

    asyncio.run(test())
