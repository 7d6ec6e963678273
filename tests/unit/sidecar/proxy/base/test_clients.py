"""Connections of clients: which are told of a drain, and which are closed when room is wanted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from sidecar.core.direction import OUTBOUND
from sidecar.core.http.http2_events import NO_ERROR
from sidecar.core.http.http2_limits import STREAM_WINDOW
from sidecar.core.http.messages import RequestHead, ResponseHead
from sidecar.core.meters import ServerMeter
from sidecar.core.routing.policy import DEFAULT
from sidecar.proxy.base.clients import CLOSED_AT_ONCE, CLOSING_PAUSE_SECONDS, UNUSED_SECONDS, Clients
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.listeners import TcpListener
from sidecar.proxy.mesh import Mesh
from sidecar.proxy.overload import MemoryWatch
from sidecar.run import drain
from tests.support import virtual_time
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.rig import ANSWER, Http1Rig, Http2Rig
from tests.support.wire.http1 import request

GET = request(b"Host: orders", line=b"GET / HTTP/1.1")


class Connection:
    """One that nobody uses, or somebody does."""

    def __init__(self, is_used: bool = False) -> None:
        self.is_used = is_used
        self.since = 0.0
        self.heard = 0

    def drain(self) -> None:
        self.heard += 1

    def has_unsent(self) -> bool:
        return False

    def close_unused(self, since: float) -> bool:
        self.since = since
        return not self.is_used


class Draining:
    """A mesh that is asked to end."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def drain(self) -> float:
        return self.runtime.now()

    def arrivals(self) -> int:
        return 0


def slow_reader() -> Http2Rig:
    """A client whose windows are full of an answer that is whole here."""
    rig = Http2Rig()
    client = rig.client()
    client.ask()
    upstream = rig.upstream()
    (stream, _), *_ = (each for each in upstream.take() if isinstance(each[1], RequestHead))
    body = bytes(STREAM_WINDOW + 1)
    upstream.codec.send_response(stream, ResponseHead(200, [], len(body)))
    upstream.codec.send_data(stream, body)
    upstream.codec.send_end(stream, [])
    rig.run()
    assert rig.runtime.work == 0
    return rig


def silent(rig: Http1Rig) -> FakeTransport:
    return FakeTransport(rig.loop, rig.listener.accept())


def test_those_that_nobody_uses_are_closed_a_bounded_number_at_a_time() -> None:
    clients = Clients()
    clients.connections |= {Connection() for _ in range(CLOSED_AT_ONCE + 10)}
    clients.close_unused(100.0)
    assert clients.describe() == {
        "connections": CLOSED_AT_ONCE + 10,  # they go when their transports say so
        "sessions": 0,
        "closed_unused": CLOSED_AT_ONCE,
    }


def test_each_is_asked_now_and_then_about_the_last_seconds() -> None:
    clients = Clients()
    used = Connection(is_used=True)
    clients.connections.add(used)
    found = []
    for now in (100.0, 100.0 + CLOSING_PAUSE_SECONDS / 2, 100.0 + 2 * CLOSING_PAUSE_SECONDS):
        clients.close_unused(now)
        found.append(used.since + UNUSED_SECONDS)
    assert found == [100.0, 100.0, 100.0 + 2 * CLOSING_PAUSE_SECONDS]
    assert clients.closed_unused == 0


def test_all_hear_of_a_drain() -> None:
    clients = Clients()
    connection = Connection()
    clients.connections.add(connection)
    clients.drain()
    assert connection.heard == 1


def test_connections_of_http1_are_closed_when_no_request_was_on_them() -> None:
    rig = Http1Rig()
    upstream, waiting = rig.upstream(), rig.client()
    waiting.receive(GET)
    unused, begun, said_nothing = rig.client(), rig.client(), silent(rig)
    begun.receive(GET[:10])
    rig.loop.advance(UNUSED_SECONDS + 1)
    new, new_and_silent = rig.client(), silent(rig)
    rig.runtime.clients.close_unused(rig.runtime.now())
    rig.run()
    assert [each.lost for each in (unused, said_nothing)] == [True, True]
    assert [each.lost for each in (waiting, begun, new, new_and_silent)] == [False] * 4
    upstream.receive(ANSWER)
    assert waiting.take().startswith(b"HTTP/1.1 200 "), "what is under way ends as ever"
    assert rig.runtime.clients.describe() == {"connections": 4, "sessions": 0, "closed_unused": 2}


def test_a_client_that_hesitates_with_its_first_bytes_is_not_unused() -> None:
    rig = Http1Rig()
    client = silent(rig)
    client.receive(b"P")
    rig.loop.advance(UNUSED_SECONDS + 1)
    rig.runtime.clients.close_unused(rig.runtime.now())
    rig.run()
    assert not client.lost


def test_connections_of_http2_say_goodbye_when_no_stream_was_open_on_them() -> None:
    rig = Http2Rig()
    unused, streaming = rig.client(), rig.client()
    streaming.ask(b"POST", 10)
    rig.advance(UNUSED_SECONDS + 1)
    new = rig.client()
    rig.runtime.clients.close_unused(rig.runtime.now())
    assert unused.heard()[-1] == (0, "goaway", 0, NO_ERROR)
    assert [each.transport.lost for each in (unused, streaming, new)] == [True, False, False]


def test_a_client_of_http1_that_reads_slowly_uses_its_connection() -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    client.blocked = True
    upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000))
    rig.loop.advance(UNUSED_SECONDS + 1)
    rig.runtime.clients.close_unused(rig.runtime.now())
    assert rig.runtime.clients.have_unsent()
    assert not client.is_closing()


def test_a_client_of_http2_that_reads_slowly_uses_its_connection() -> None:
    rig = slow_reader()
    rig.advance(UNUSED_SECONDS + 1)
    rig.runtime.clients.close_unused(rig.runtime.now())
    rig.run()
    assert rig.runtime.clients.have_unsent()
    assert not rig.peers[0].transport.is_closing()


def test_a_drain_waits_until_clients_have_taken_their_answers() -> None:
    async def drained() -> float:
        loop = asyncio.get_running_loop()
        rig = slow_reader()
        rig.runtime.now = loop.time
        begun = loop.time()
        await drain(cast("Mesh", Draining(rig.runtime)), 0.0, 20.0)
        return loop.time() - begun

    assert virtual_time.run(drained()) >= 20.0


def test_sessions_of_tcp_are_counted_and_left_alone() -> None:
    rig = Http1Rig()
    rig.cluster.update("tcp", DEFAULT, rig.records, "", 0.0)
    listener = TcpListener(rig.destination, OUTBOUND, ServerMeter(""))
    client = FakeTransport(rig.loop, listener.accept())
    rig.loop.advance(UNUSED_SECONDS + 1)
    rig.runtime.clients.close_unused(rig.runtime.now())
    rig.run()
    assert rig.runtime.clients.describe() == {"connections": 0, "sessions": 1, "closed_unused": 0}
    assert not client.lost


def test_a_crowd_that_only_stays_cannot_keep_out_those_who_ask(tmp_path: Path) -> None:
    rig = Http1Rig()
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("")
    (tmp_path / "memory.current").write_text("880\n")  # and so it stays: an allocator gives back what it likes
    watch = MemoryWatch(rig.runtime, root=tmp_path, give_back=lambda: None)
    crowd = [silent(rig) for _ in range(20)]
    watch.step()
    client = rig.client()
    client.receive(GET)
    assert client.take().startswith(b"HTTP/1.1 503 ")
    rig.loop.advance(UNUSED_SECONDS + 1)
    watch.step()
    rig.run()
    assert all(each.lost for each in crowd)
    watch.step()
    upstream, client = rig.upstream(), rig.client()
    client.receive(GET)
    upstream.receive(ANSWER)
    assert client.take().startswith(b"HTTP/1.1 200 ")
