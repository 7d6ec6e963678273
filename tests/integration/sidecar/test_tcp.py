"""TCP services, and CONNECT through the forward proxy: bytes both ways, each side's end by itself."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.proxy.sidecar import Address, Stage, receive, receive_all, receive_until
from tests.support.waiting import until


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65_536):
        connection.sendall(data)


def answer_at_the_end(connection: socket.socket) -> None:
    data = receive_all(connection)
    connection.sendall(b"%d bytes" % len(data))


def proxy(stage: Stage) -> Address:
    return Address(f"{stage.prefix}.0.1", 15001)


def test_bytes_both_ways(stage: Stage) -> None:
    backend = stage.backend("tcp-echo")
    backend.raw = echo
    with stage.publish("echo", backend, protocol="tcp", port=5432).socket() as client:
        for data in (b"hello", b"\x00" * 10_000, b"GET / HTTP/1.1\r\n\r\n"):
            client.sendall(data)
            assert receive(client, len(data)) == data


def test_a_half_close_is_passed_on(stage: Stage) -> None:
    backend = stage.backend("tcp-half")
    backend.raw = answer_at_the_end
    address = stage.publish("half", backend, protocol="tcp", port=5432)
    with address.socket() as client:
        client.sendall(b"a" * 500_000)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"500000 bytes"
    until(lambda: stage.sidecar.cluster("half")["endpoints"][0]["active_requests"] == 0, 5, "the session to end")


def test_the_server_may_speak_first_and_leave(stage: Stage) -> None:
    backend = stage.backend("tcp-first")
    backend.raw = lambda connection: connection.sendall(b"220 welcome\r\n" + b"x" * 100_000)
    address = stage.publish("first", backend, protocol="tcp", port=25)
    for _ in range(10):
        with address.socket() as client:
            data = receive_all(client)
            assert data == b"220 welcome\r\n" + b"x" * 100_000
    until(lambda: stage.sidecar.cluster("first")["endpoints"][0]["active_requests"] == 0, 5, "the sessions to end")


def test_a_long_transfer_with_a_slow_reader_takes_little_memory(stage: Stage) -> None:
    count = 80 << 20
    backend = stage.backend("tcp-bulk")
    backend.raw = lambda connection: connection.sendall(bytes(count))
    address = stage.publish("bulk", backend, protocol="tcp", port=9000)
    before = stage.sidecar.memory_kib()
    most = got = 0
    with address.socket() as client:
        while piece := client.recv(65_536):
            got += len(piece)
            if got % 32 == 0:
                most = max(most, stage.sidecar.memory_kib() - before)
    assert got == count
    assert most < 8 * 1024, f"the sidecar grew by {most} KiB"


def test_an_endpoint_that_refuses_is_followed_by_another(stage: Stage) -> None:
    backend = stage.backend("tcp-good")
    backend.raw = echo
    address = stage.publish("some", stage.refusing("tcp-bad"), backend, protocol="tcp", port=5432)
    for _ in range(6):
        with address.socket() as client:
            client.sendall(b"hi")
            assert receive(client, 2) == b"hi"


def test_the_circuit_breaker_limits_connections(stage: Stage) -> None:
    backend = stage.backend("tcp-breaker")
    backend.raw = echo
    policy = {"circuit_breaker": {"max_connections": 1}}
    address = stage.publish("tcp-breaker", backend, protocol="tcp", port=5432, policy=policy)
    with address.socket() as first:
        first.sendall(b"hi")
        assert receive(first, 2) == b"hi"
        with address.socket() as second:
            assert receive_all(second) == b""
        with proxy(stage).socket() as tunnel:
            tunnel.sendall(b"CONNECT tcp-breaker:5432 HTTP/1.1\r\nHost: tcp-breaker:5432\r\n\r\n")
            assert receive_all(tunnel).startswith(b"HTTP/1.1 503 ")
        cluster = stage.sidecar.cluster("tcp-breaker")
        assert (cluster["overflows"], cluster["connections"]) == (2, 1)
    until(lambda: stage.sidecar.cluster("tcp-breaker")["connections"] == 0, 5, "the session to end")
    with address.socket() as third:
        third.sendall(b"hi")
        assert receive(third, 2) == b"hi"


KEEP_ALIVE_TIMER = "02"


def timer_of(local: tuple[str, int], remote: tuple[str, int]) -> str:
    """The kind of timer that the kernel has running for a socket of this machine, by proc(5)."""

    def hexadecimal(address: tuple[str, int]) -> str:
        return f"{socket.inet_aton(address[0])[::-1].hex().upper()}:{address[1]:04X}"

    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == [hexadecimal(local), hexadecimal(remote)]:
            return fields[5].partition(":")[0]
    return "no such socket"


def test_peers_that_vanish_are_noticed(stage: Stage) -> None:
    """Both of the proxy's sockets are kept alive by the kernel, of TCP and of HTTP connections."""
    raw, web = stage.backend("alive-tcp"), stage.backend("alive-http")
    raw.raw = echo
    addresses = stage.publish("alive-tcp", raw, protocol="tcp", port=5432), stage.publish("alive-http", web)
    for backend, address in zip((raw, web), addresses, strict=True):
        with address.socket() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            receive(client, 10)
            ours = (address.host, address.port)
            until(lambda: timer_of(ours, client.getsockname()) == KEEP_ALIVE_TIMER, 5, "keep-alive of the client")  # noqa: B023
            (upstream,) = backend.open
            theirs = upstream.getpeername(), upstream.getsockname()
            until(lambda: timer_of(*theirs) == KEEP_ALIVE_TIMER, 5, "keep-alive of the service")  # noqa: B023


def test_no_endpoint_closes_the_connection(stage: Stage) -> None:
    for endpoints in ([], [stage.refusing("tcp-none")]):
        with stage.publish("none", *endpoints, protocol="tcp", port=5432).socket() as client:
            client.sendall(b"hi")
            try:
                assert receive_all(client) == b""
            except ConnectionResetError:
                continue  # what it had not read is thrown away by the kernel so


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_break_on_one_side_ends_the_other(stage: Stage, who: str) -> None:
    taken, ended = threading.Event(), threading.Event()
    sockets: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        sockets.append(connection)
        with suppress(OSError):
            while connection.recv(10):
                taken.set()  # with the first byte: before it, the session would go on with another connection
        ended.set()

    name = f"break-{who}"
    backend = stage.backend(f"tcp-{name}")
    backend.raw = serve
    with stage.publish(name, backend, protocol="tcp", port=5432).socket() as client:
        client.sendall(b"x")
        assert taken.wait(60)
        broken = client if who == "client" else sockets[0]
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        if who == "client":
            broken.close()
            assert ended.wait(60)
        else:
            broken.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
            broken.close()
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
    until(lambda: stage.sidecar.cluster(name)["endpoints"][0]["active_requests"] == 0, 60, "the session to end")


# The forward proxy.


def test_absolute_targets_go_by_their_name(stage: Stage) -> None:
    one, two = stage.backend("named-one"), stage.backend("named-two")
    stage.publish("named-one", one)
    stage.publish("named-two", two, port=8080)
    connection = proxy(stage).http()
    for url, name in (
        ("http://named-one/x", "named-one"),
        ("http://NAMED-ONE.test.local./x", "named-one"),
        ("http://named-two:8080/x", "named-two"),
    ):
        connection.request("GET", url)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, name.encode())
    assert [request.path for request in one.requests] == ["/x", "/x"]
    for url in ("http://named-two/", "http://example.com/", "http://127.0.0.1:9901/"):
        connection.request("GET", url)
        response = connection.getresponse()
        assert response.status == 404, "this is no way out"
        response.read()
    connection.close()


def test_connect_opens_a_tunnel(stage: Stage) -> None:
    backend = stage.backend("tunnel-echo")
    backend.raw = answer_at_the_end
    stage.publish("tunnel", backend, protocol="tcp", port=5432)
    with proxy(stage).socket() as client:
        client.sendall(b"CONNECT tunnel:5432 HTTP/1.1\r\nHost: tunnel:5432\r\n\r\nearly")
        assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"23 bytes"


def test_connect_to_a_service_without_endpoints(stage: Stage) -> None:
    stage.publish("tunnel-none", protocol="tcp", port=5432)
    with proxy(stage).socket() as client:
        client.sendall(b"CONNECT tunnel-none:5432 HTTP/1.1\r\nHost: tunnel-none:5432\r\n\r\n")
        assert receive_all(client).startswith(b"HTTP/1.1 503 ")


def test_connect_to_nowhere_ends_the_connection(stage: Stage) -> None:
    """What the client sent behind it is for a server that it never reached, not for the proxy."""
    with proxy(stage).socket() as client:
        client.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n\x16\x03\x01")
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.count(b"HTTP/1.1") == 1


# Inbound.


def test_an_inbound_tcp_service_reaches_the_app(stage: Stage) -> None:
    app = stage.backend("raw-app", f"{stage.prefix}.250.2", 8081)
    app.raw = answer_at_the_end
    with stage.address(15101).socket() as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"5 bytes"
