"""A TCP session over fake sockets: both halves, flow, and the moments before both sides stand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecar.core.direction import INBOUND, OUTBOUND
from sidecar.core.meters import ServerMeter
from sidecar.core.routing.policy import CircuitBreaker, Policy, Timeouts
from sidecar.proxy.base.runtime import LONG_READ_BYTES, TURN_BYTES
from sidecar.proxy.tcp import TcpSession
from sidecar.proxy.tcp_replay import MAX_EARLY_BYTES
from tests.support.proxy.fake_loop import ConnectingLoop, FakeTransport
from tests.support.proxy.rig import Http1Rig

UNREAD = ServerMeter("")


class Case:
    """A session whose endpoints are as the test says."""

    def __init__(
        self, *outcomes: Exception | Callable[[FakeTransport], None] | None, endpoints: int = 1, **seconds: float
    ) -> None:
        self.loop = ConnectingLoop()
        self.loop.outcomes += outcomes
        self.rig = Http1Rig(endpoints, Policy(timeouts=Timeouts(**seconds)), self.loop)
        self.meter = ServerMeter("ledger")
        self.over: list[TcpSession] = []
        self.session = TcpSession(self.rig.destination, INBOUND, self.meter, self.over.append)
        self.client = FakeTransport(self.loop, self.session.client)

    @property
    def server(self) -> FakeTransport:
        return self.loop.transports[-1]

    def settled(self) -> bool:
        return self.rig.settled() and len(self.over) == 1 and self.meter.active_connections == 0


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_bytes_both_ways_and_a_close() -> None:
    async def test() -> None:
        case = Case(None)
        case.client.receive(b"early")
        await case.loop.settle()
        assert case.server.take() == b"early"
        case.client.receive(b"more")
        assert case.server.take() == b"more"
        case.server.receive(b"answer")
        assert case.client.take() == b"answer"
        assert case.rig.runtime.work == 1
        case.client.receive_eof()
        assert case.server.eof_written
        assert not case.client.is_closing()
        case.server.receive(b"rest")
        case.server.receive_eof()
        assert case.client.take() == b"rest"
        assert case.client.lost
        assert case.server.lost
        assert case.settled()

    run(test)


@pytest.mark.parametrize("talker", ["client", "server"])
def test_a_side_that_sends_on_in_a_turn_that_brought_much_is_read_on_in_the_next(talker: str) -> None:
    async def test() -> None:
        case = Case(None)
        await case.loop.settle()
        sides = (case.client, case.server)
        side, other = sides if talker == "client" else reversed(sides)
        much = b"a" * LONG_READ_BYTES
        side.receive(much)
        assert side.is_reading(), "the turn has brought little"
        case.rig.runtime.read_much(TURN_BYTES)  # others have brought it
        side.receive(much, settle=False)
        assert not side.is_reading()
        case.loop.turn()
        assert side.is_reading()
        other.blocked = True
        side.receive(much, settle=False)
        case.loop.turn()
        assert not side.is_reading(), "the other side has to catch up"
        other.unblock()
        assert side.is_reading()
        case.rig.runtime.read_much(TURN_BYTES)
        side.receive(much, settle=False)
        side.break_off()
        assert bytes(other.written) == much * 4
        case.loop.turn()
        assert case.settled()

    run(test)


def test_both_may_end_before_they_are_joined() -> None:
    async def test() -> None:
        def speak_and_leave(server: FakeTransport) -> None:
            server.receive(b"hello", settle=False)
            server.receive_eof(settle=False)

        case = Case(speak_and_leave)
        case.client.receive(b"question")
        case.client.receive_eof()
        await case.loop.settle()
        assert case.client.take() == b"hello"
        assert case.server.take() == b"question"
        assert case.client.lost
        assert case.server.lost
        assert case.settled()

    run(test)


def test_a_slow_side_stops_the_other() -> None:
    async def test() -> None:
        case = Case(None)
        await case.loop.settle()
        case.server.blocked = case.client.blocked = True
        case.client.receive(b"a" * 70_000)
        assert not case.client.is_reading()
        case.server.receive(b"a" * 70_000)
        assert not case.server.is_reading()
        case.server.unblock()
        case.client.unblock()
        assert case.client.is_reading()
        assert case.server.is_reading()

    run(test)


def test_so_does_what_came_early() -> None:
    async def test() -> None:
        def block(server: FakeTransport) -> None:
            server.blocked = True

        case = Case(block)
        case.client.receive(b"a" * 70_000)
        assert not case.client.is_reading()
        await case.loop.settle()
        assert not case.client.is_reading(), "it waits in the server's buffer now"
        case.server.unblock()
        assert case.client.is_reading()

    run(test)


def test_another_endpoint_follows_one_that_does_not_answer() -> None:
    async def test() -> None:
        case = Case(TimeoutError(), None, endpoints=2)
        await case.loop.settle()
        case.client.receive(b"hi")
        assert case.server.take() == b"hi"
        assert case.rig.client_meter.connect_errors == 1
        assert sorted(each.connect_failure for each in case.rig.cluster.endpoints) == ["", "timed out"]
        assert sorted(endpoint.active for endpoint in case.rig.cluster.endpoints) == [0, 1]
        case.client.break_off()
        assert case.server.lost
        assert case.settled()

    run(test)


def test_a_session_that_no_app_took_goes_on_with_another_endpoint() -> None:
    async def test() -> None:
        case = Case(None, None, endpoints=2)
        case.client.receive(b"early ")
        await case.loop.settle()
        case.client.receive(b"late")
        case.client.receive_eof()
        first = case.server
        assert first.take() == b"early late"
        first.break_off()
        await case.loop.settle()
        assert case.server is not first
        assert case.server.take() == b"early late"
        assert case.server.eof_written, "what the client said is said again"
        assert not case.client.is_closing()
        assert case.rig.client_meter.connect_errors == 1
        case.server.receive(b"answer")
        assert case.client.take() == b"answer"
        case.server.receive_eof()
        assert case.settled()

    run(test)


def answered(case: Case) -> None:
    case.server.receive(b"hello")


def too_late(case: Case) -> None:
    case.loop.advance(2.0)


def too_much(case: Case) -> None:
    case.client.receive(b"x" * (MAX_EARLY_BYTES + 1))


@pytest.mark.parametrize("happened", [answered, too_late, too_much])
def test_a_session_that_an_app_may_have_taken_is_not_repeated(happened: Callable[[Case], None]) -> None:
    async def test() -> None:
        case = Case(None, None, endpoints=2)
        await case.loop.settle()
        happened(case)
        first = case.server
        first.break_off()
        await case.loop.settle()
        assert case.server is first
        assert case.client.lost
        assert case.settled()

    run(test)


def test_a_session_that_the_only_endpoint_resets_is_over() -> None:
    async def test() -> None:
        case = Case(None, None)
        case.client.receive(b"hi")
        await case.loop.settle()
        first = case.server
        first.break_off()
        await case.loop.settle()
        assert case.server is first
        assert case.client.lost
        assert case.settled()

    run(test)


def test_an_orderly_end_without_a_word_is_the_sessions_end() -> None:
    async def test() -> None:
        case = Case(None, None, endpoints=2)
        case.client.receive(b"log this")
        await case.loop.settle()
        first = case.server
        first.lose()
        await case.loop.settle()
        assert case.server is first
        assert case.settled()

    run(test)


def test_a_session_that_an_app_ended_is_not_repeated_when_its_kernel_resets_what_comes_then() -> None:
    async def test() -> None:
        case = Case(None, None, endpoints=2)
        await case.loop.settle()
        first = case.server
        case.client.receive(b"charge 10 EUR")
        assert first.take() == b"charge 10 EUR"
        first.receive_eof()
        assert case.client.eof_written
        case.client.receive(b" more")
        first.break_off()
        await case.loop.settle()
        assert len(case.loop.transports) == 1, "it was read: nobody else may read it"
        assert [endpoint.health_name() for endpoint in case.rig.cluster.endpoints] == ["healthy"] * 2
        assert case.settled()

    run(test)


def test_a_tunnel_that_stood_reads_no_refusal_of_its_proxy() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        loop.outcomes += [None, *[ConnectionRefusedError(111, "refused")] * 5]
        rig = Http1Rig(2, Policy(), loop)
        meter = ServerMeter("ledger")
        session = TcpSession(rig.destination, OUTBOUND, meter, greeting=b"stands", refusal=b"refused")
        client = FakeTransport(loop, asyncio.Protocol())
        session.adopt(client, b"")
        await loop.settle()
        assert (client.take(), meter.active_connections) == (b"stands", 1)
        client.receive(b"query")
        loop.transports[0].break_off()  # not taken, and no other endpoint can be connected
        await loop.settle()
        assert client.take() == b"", "what comes now is the session's own"
        assert client.is_closing()
        assert meter.active_connections == 0
        assert rig.settled()

    run(test)


def test_an_idle_time_out_that_was_turned_off_ends_no_session() -> None:
    async def test() -> None:
        case = Case(None, tcp_idle_seconds=100.0)
        await case.loop.settle()
        case.rig.cluster.policy = Policy(timeouts=Timeouts(tcp_idle_seconds=0.0))
        case.loop.advance(101)
        assert not case.client.is_closing()

    run(test)


def test_as_many_endpoints_are_tried_as_are_in_routing() -> None:
    async def test() -> None:
        case = Case(*[ConnectionRefusedError()] * 5, None, endpoints=6)
        case.client.receive(b"hi")
        await case.loop.settle()
        assert case.server.take() == b"hi"
        case.client.break_off()
        assert case.settled()

    run(test)


def test_when_all_refuse_the_client_is_closed() -> None:
    async def test() -> None:
        case = Case(*[ConnectionRefusedError()] * 3)
        case.client.receive(b"hi")
        await case.loop.settle()
        assert case.client.lost
        assert case.settled()

    run(test)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_break_ends_both(who: str) -> None:
    async def test() -> None:
        case = Case(None)
        await case.loop.settle()
        case.server.receive(b"hello")
        (case.client if who == "client" else case.server).break_off()
        assert case.client.lost
        assert case.server.lost
        assert case.settled()

    run(test)


def test_a_client_that_leaves_while_connecting() -> None:
    async def test() -> None:
        case = Case(None)
        case.client.break_off()
        await case.loop.settle()
        assert all(server.lost for server in case.loop.transports)
        assert case.settled()

    run(test)


def test_a_server_that_breaks_before_it_is_joined() -> None:
    async def test() -> None:
        case = Case(FakeTransport.break_off, None, endpoints=2)
        case.client.receive(b"hi")
        await case.loop.settle()
        assert case.server.take() == b"hi", "the other one serves"
        case.client.break_off()
        assert case.settled()

    run(test)


def test_silence_ends_a_session() -> None:
    async def test() -> None:
        case = Case(None, tcp_idle_seconds=10.0)
        await case.loop.settle()
        case.loop.advance(9.0)
        case.client.receive(b"x")
        case.loop.advance(9.0)
        assert not case.client.is_closing()
        case.loop.advance(2.0)
        assert case.client.lost
        assert case.server.lost
        assert case.settled()

    run(test)


def test_bytes_and_connections_are_counted() -> None:
    async def test() -> None:
        case = Case(None)
        await case.loop.settle()
        case.client.receive(b"12345")
        case.server.receive(b"123")
        assert (case.meter.bytes, case.rig.client_meter.bytes) == (8, 8)
        assert (case.meter.connections, case.meter.active_connections) == (1, 1)
        assert case.rig.client_meter.requests == 1

    run(test)


def test_the_circuit_breaker_counts_sessions() -> None:
    async def test() -> None:
        case = Case(None)
        await case.loop.settle()
        cluster = case.rig.cluster
        cluster.policy = Policy(circuit_breaker=CircuitBreaker(max_connections=1))
        assert cluster.connections == 1
        over: list[TcpSession] = []
        second = FakeTransport(case.loop, TcpSession(case.rig.destination, OUTBOUND, UNREAD, over.append).client)
        await case.loop.settle()
        assert second.lost
        assert len(over) == 1
        assert (case.rig.client_meter.overflows, cluster.connections) == (1, 1)
        assert case.rig.client_meter.flags == {"UO": 1}
        case.client.break_off()
        assert cluster.connections == 0
        assert case.settled()
        case.loop.outcomes.append(None)
        third = FakeTransport(case.loop, TcpSession(case.rig.destination, OUTBOUND, UNREAD).client)
        await case.loop.settle()
        assert not third.is_closing()

    run(test)


@pytest.mark.parametrize("outcome", [ConnectionRefusedError(), FakeTransport.break_off])
def test_a_session_that_fails_leaves_its_place(outcome: Exception | Callable[[FakeTransport], None]) -> None:
    async def test() -> None:
        case = Case(*[outcome] * 3)
        assert case.rig.cluster.connections == 1, "it counts while it looks for an endpoint"
        await case.loop.settle()
        assert case.settled()
        assert case.rig.cluster.connections == 0

    run(test)


def test_no_session_begins_while_memory_is_short() -> None:
    async def test() -> None:
        case = Case(None)
        await case.loop.settle()
        case.rig.runtime.shedding = True
        second = FakeTransport(case.loop, TcpSession(case.rig.destination, OUTBOUND, UNREAD).client)
        await case.loop.settle()
        assert second.lost
        assert not case.client.is_closing(), "what is under way goes on"
        assert case.rig.client_meter.flags == {"OM": 1}

    run(test)
