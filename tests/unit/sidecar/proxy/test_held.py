"""Peers that do not go on lose what is held for them when it is too much, and nobody else loses anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.core.direction import INBOUND
from sidecar.core.http.http2 import PREFACE
from sidecar.core.http.http2_events import ENHANCE_YOUR_CALM, Reset
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, RequestHead, ResponseHead
from sidecar.core.meters import ServerMeter
from sidecar.core.routing.policy import Policy, Timeouts
from sidecar.proxy.downstream.detect import DetectingConnection
from sidecar.proxy.overload import MemoryWatch
from sidecar.proxy.tcp import TcpSession
from tests.support.proxy.fake_loop import ConnectingLoop, FakeTransport
from tests.support.proxy.rig import ANSWER, Client, Http1Rig, Http2Rig, Peer, Rig
from tests.support.wire import http2
from tests.support.wire.http1 import request

GET = request(b"Host: orders", line=b"GET / HTTP/1.1")
MIB = 1 << 20
LARGE = bytes(200_000)


def asked(rig: Http2Rig, client: Client, count: int) -> Peer:
    """Ask so many times. Return the endpoint's side of the connection that carries it."""
    client.ask()
    upstream = rig.upstream()
    for _ in range(count - 1):
        client.ask()
    return upstream


def nothing_waits(rig: Rig) -> bool:
    found = rig.runtime.held.describe()
    return (found["held"], found["connections"]) == (0, 0)


def streams_of(upstream: Peer) -> list[int]:
    return [stream for stream, event in upstream.take() if isinstance(event, RequestHead)]


def answer_all(rig: Http2Rig, upstream: Peer, size: int) -> None:
    """Answer all requests with so many bytes each, which do not end yet."""
    for stream in streams_of(upstream):
        upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
        upstream.codec.send_data(stream, bytes(size))
    rig.run()


@pytest.mark.parametrize("whole", [False, True], ids=["answers under way", "answers that are whole here"])
def test_streams_of_a_client_that_does_not_read_are_reset_and_the_others_live_on(whole: bool) -> None:
    rig = Http2Rig()
    rig.runtime.held.most = MIB
    client = rig.client()
    upstream = asked(rig, client, 60)
    size = 100_000 if whole else len(LARGE)
    for stream in streams_of(upstream):
        upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
        upstream.codec.send_data(stream, bytes(size))
        upstream.codec.send_end(stream, [])
        rig.run()
        assert rig.runtime.held.total <= MIB
    heard = client.take()
    cut = {stream for stream, event in heard if isinstance(event, Reset)}
    assert {event.code for _, event in heard if isinstance(event, Reset)} == {ENHANCE_YOUR_CALM}
    assert 0 < len(cut) < 60
    got = dict.fromkeys({stream for stream, _ in heard} - cut, 0)
    ended = set()
    while heard:
        for stream, event in heard:
            if stream in got and isinstance(event, bytes):
                got[stream] += len(event)
                client.codec.acknowledge(stream, len(event))
            elif isinstance(event, End):
                ended.add(stream)
        heard = client.take()
    assert got == dict.fromkeys(got, size), "who reads in the end gets all"
    assert ended == set(got)
    assert nothing_waits(rig)
    assert rig.settled()


def test_what_waits_is_not_counted_any_more_when_its_connection_is_gone() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = asked(rig, client, 5)
    answer_all(rig, upstream, len(LARGE))
    assert rig.runtime.held.total > 300_000
    client.transport.lose()
    assert nothing_waits(rig)
    assert rig.settled()


def test_a_client_whose_socket_is_full_is_cut_where_no_stream_holds_enough() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = asked(rig, client, 2)
    client.transport.blocked = True
    rig.runtime.held.most = 1_000
    answer_all(rig, upstream, 60_000)
    assert client.transport.lost
    assert rig.runtime.held.total == 0
    assert rig.settled()


def test_requests_that_an_http2_endpoint_does_not_take_are_answered() -> None:
    rig = Http2Rig()
    client = rig.client()
    first = client.ask()
    upstream = rig.upstream()
    rig.runtime.held.most = 150_000
    posts = [client.ask(b"POST", UNKNOWN_LENGTH) for _ in range(8)]
    for _ in range(4):
        for stream in posts:
            client.codec.send_data(stream, bytes(30_000))
        rig.run()
        assert rig.runtime.held.total <= rig.runtime.held.most
    answered = {stream: event for stream, event in client.take() if isinstance(event, ResponseHead)}
    assert set(answered) < set(posts)
    assert {event.status for event in answered.values()} == {502}
    assert all((b"tramo-response-flags", b"UC,OM") in event.fields for event in answered.values())
    streams = streams_of(upstream)
    upstream.codec.send_response(streams[0], ResponseHead(200, []))
    rig.run()
    assert [stream for stream, event in client.take() if isinstance(event, ResponseHead)] == [first]


def test_an_http1_client_that_does_not_read_is_cut() -> None:
    rig = Http1Rig()
    rig.runtime.held.most = 250_000
    clients = []
    for _ in range(3):
        upstream, client = rig.upstream(), rig.client()
        client.blocked = True
        client.receive(GET)
        upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"a" * 100_000)
        clients.append(client)
    assert sum(client.lost for client in clients) == 1
    assert rig.runtime.held.total <= 250_000
    for client in clients:
        if not client.lost:
            client.unblock()
            client.lose()
    assert nothing_waits(rig)
    assert rig.settled()


def test_a_request_that_an_http1_endpoint_does_not_take_is_answered() -> None:
    rig = Http1Rig()
    rig.runtime.held.most = 80_000
    upstream, client = rig.upstream(), rig.client()
    upstream.blocked = True
    client.receive(request(b"Host: orders", b"Content-Length: 200000", line=b"POST / HTTP/1.1") + bytes(90_000))
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert upstream.lost
    assert nothing_waits(rig)


@pytest.mark.parametrize("deaf", ["client", "server"])
def test_a_session_of_which_one_side_does_not_read_is_cut(deaf: str) -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        loop.outcomes.append(None)
        rig = Http1Rig(1, Policy(timeouts=Timeouts()), loop)
        rig.runtime.held.most = 80_000
        over: list[TcpSession] = []
        session = TcpSession(rig.destination, INBOUND, ServerMeter("ledger"), over.append)
        client = FakeTransport(loop, session.client)
        client.receive(b"early")
        await loop.settle()
        server = loop.transports[-1]
        server.take()
        receiver, sender = (client, server) if deaf == "client" else (server, client)
        receiver.blocked = True
        sender.receive(b"a" * 90_000)
        assert client.lost
        assert server.lost
        assert over == [session]
        assert nothing_waits(rig)
        assert rig.settled()

    asyncio.run(test())


def test_sessions_that_wait_for_an_endpoint_are_held() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        rig = Http1Rig(1, loop=loop)
        rig.runtime.held.most = 100_000
        clients = []
        for _ in range(4):
            session = TcpSession(rig.destination, INBOUND, ServerMeter("ledger"))
            clients.append(FakeTransport(loop, session.client))
            clients[-1].receive(b"a" * 30_000)
            assert rig.runtime.held.total <= 100_000
        assert [client.lost for client in clients] == [True, True, False, False]
        for client in clients[2:]:
            client.lose()
        await loop.settle()
        assert nothing_waits(rig)

    asyncio.run(test())


def test_what_sessions_sent_is_kept_within_the_bound_of_bodies_and_until_they_are_over() -> None:
    async def test() -> None:
        loop = ConnectingLoop()
        loop.outcomes += [None] * 4
        rig = Http1Rig(1, loop=loop)
        rig.runtime.held.most_bodies = 50_000
        clients = []
        for _ in range(4):
            session = TcpSession(rig.destination, INBOUND, ServerMeter("ledger"))
            clients.append(FakeTransport(loop, session.client))
            await loop.settle()
            clients[-1].receive(b"a" * 20_000)
        assert rig.runtime.held.bodies == 60_000, "the third one passed the bound, and the fourth found it passed"
        loop.transports[0].receive(b"answer")
        assert rig.runtime.held.bodies == 40_000
        for client in clients:
            client.lose()
        await loop.settle()
        assert rig.runtime.held.bodies == 0

    asyncio.run(test())


def test_while_memory_is_short_half_as_much_may_wait(tmp_path: Path) -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.blocked = True
    client.receive(GET)
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"a" * 100_000)
    waiting = rig.runtime.held.total
    limit = waiting * 4 + 4_000
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.stat").write_text("")
    watch = MemoryWatch(rig.runtime, root=tmp_path, give_back=lambda: None)
    for used, lost in ((limit // 2, False), (limit, True)):
        (tmp_path / "memory.current").write_text(f"{used}\n")
        watch.step()
        rig.run()
        assert client.lost is lost
    assert rig.settled()


@pytest.mark.parametrize("is_short", [False, True])
def test_while_memory_is_short_nothing_more_of_a_body_is_kept_for_another_attempt(is_short: bool) -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(request(b"Host: orders", b"Content-Length: 20", line=b"PUT / HTTP/1.1") + bytes(10))
    rig.runtime.shedding = is_short
    client.receive(bytes(10))
    upstream.break_off()
    assert client.take().startswith(b"HTTP/1.1 502 ") is is_short
    assert rig.runtime.work == (not is_short), "the other attempt waits for its connection"


def test_clients_that_do_not_end_a_head_are_cut() -> None:
    rig = Http1Rig()
    rig.runtime.held.most = 100_000
    clients = [rig.client() for _ in range(4)]
    for client in clients:
        client.receive(b"GET / HTTP/1.1\r\nHost: orders\r\n" + b"x: " + bytes([97]) * 30_000 + b"\r\n")
        rig.run()
        assert rig.runtime.held.total <= 100_000
    assert [client.lost for client in clients] == [True, True, False, False], "more than would do"
    for client in clients[2:]:
        client.receive(b"\r\n")
        assert client.take() == b"", "the request is under way"
    assert nothing_waits(rig), "heads that are whole are requests"


def test_requests_that_wait_behind_one_are_held() -> None:
    rig = Http1Rig()
    rig.runtime.held.most = 400_000
    (upstream, quiet), (other, greedy) = ((rig.upstream(), rig.client()) for _ in range(2))
    quiet.receive(GET * 100)
    waiting = rig.runtime.held.total
    assert 100 * 300 < waiting < 100 * 500
    greedy.receive(GET * 5_000)
    rig.run()
    assert (quiet.lost, greedy.lost) == (False, True)
    assert rig.runtime.held.total == waiting
    (carrier,) = (each for each in (upstream, other) if not each.lost)
    for _ in range(100):
        assert carrier.take().startswith(b"GET / ")
        carrier.receive(ANSWER)
    assert quiet.take().count(ANSWER[-2:]) == 100
    assert nothing_waits(rig)
    assert rig.settled()


def test_a_field_block_that_does_not_end_is_held() -> None:
    rig = Http2Rig()
    rig.runtime.held.most = 50_000
    clients = [raw(rig) for _ in range(3)]
    field = b"\x40\x01a" + http2.text(b"b" * 7_000)
    for client in clients:
        client.receive(http2.frame(http2.HEADERS, 0, 1, http2.plain_block(http2.GET)))
        client.receive(http2.frame(http2.CONTINUATION, 0, 1, field * 2))
        client.receive(http2.frame(http2.CONTINUATION, 0, 1, field * 2))
        rig.run()
        assert rig.runtime.held.total <= 50_000
    assert [client.is_closing() for client in clients] == [True, True, False]
    clients[2].receive(http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1))
    assert nothing_waits(rig)


def raw(rig: Http2Rig) -> FakeTransport:
    """A connection whose client's frames the test makes itself."""
    transport = FakeTransport(rig.loop, DetectingConnection(rig.listener))
    transport.receive(PREFACE + http2.frame(http2.SETTINGS))
    return transport


def test_all_bodies_that_are_kept_for_another_attempt_have_a_bound_together() -> None:
    rig = Http2Rig()
    rig.runtime.held.most_bodies = 100_000
    client = rig.client()
    client.ask()
    upstream = rig.upstream()
    posts = [client.ask(b"PUT", UNKNOWN_LENGTH) for _ in range(20)]
    for _ in range(3):
        for stream in posts:
            client.codec.send_data(stream, bytes(10_000))
            rig.run()
            assert rig.runtime.held.bodies <= 110_000
    upstream.transport.break_off()
    again = rig.upstream()
    heads = [stream for stream, event in again.take() if isinstance(event, RequestHead)]
    assert 1 < len(heads) < 15, "some are tried again, those that were kept"
    answered = [event.status for _, event in client.take() if isinstance(event, ResponseHead)]
    assert answered == [502] * (21 - len(heads))
    for stream in heads:
        again.codec.send_response(stream, ResponseHead(200, []))
    rig.run()
    assert rig.runtime.held.bodies == 0


def test_clients_wait_with_bodies_for_which_there_is_no_connection_yet() -> None:
    rig = Http1Rig()
    rig.runtime.held.most_bodies = 100_000
    post = request(b"Host: orders", b"Content-Length: 100000", line=b"PUT / HTTP/1.1")
    clients = [rig.client() for _ in range(4)]
    for client in clients:
        client.receive(post + bytes(40_000))
    assert [client.is_reading() for client in clients] == [True, True, False, False]


def test_connections_are_not_even_accepted_at_the_limit(tmp_path: Path) -> None:
    rig = Http1Rig()
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("")
    watch = MemoryWatch(rig.runtime, root=tmp_path, give_back=lambda: None)
    for used, is_taken in ((900, True), (930, False), (700, True)):
        (tmp_path / "memory.current").write_text(f"{used}\n")
        watch.step()
        client = FakeTransport(rig.loop, DetectingConnection(rig.listener))
        rig.run()
        assert client.lost is not is_taken
        assert rig.runtime.clients.count() == is_taken, "also those that have said nothing yet"
        if is_taken:
            client.lose()
    assert rig.runtime.clients.count() == 0
