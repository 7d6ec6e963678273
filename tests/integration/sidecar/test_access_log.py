"""Lines of the access log, read from the stdout of a real sidecar."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.access_log import HttpLine, TcpLine
from tests.support.proxy.sidecar import Peer, Request, Stage, receive_all, receive_until
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until
from tests.support.wire import http2
from tests.support.wire.http2 import RawClient, replaced, with_fields

Line = dict[str, Any]


@contextmanager
def logging(directory: Path, **environment: str) -> Iterator[tuple[Stage, Callable[[], list[Line]]]]:
    """A stage whose sidecar logs, and a way to read its lines."""
    with open_stage(directory, **{"TRAMO_ACCESS_LOG": "json", **environment}) as stage:
        path = directory / "sidecar.out"
        yield stage, lambda: [json.loads(line) for line in path.read_text().splitlines()]


def one(read: Callable[[], list[Line]], path: str, direction: str = "outbound") -> Line:
    """The one line about this path."""

    def found() -> list[Line]:
        return [line for line in read() if line.get("path") == path and line["direction"] == direction]

    until(found, 5, f"a line for {path}")
    (line,) = found()
    return line


def test_a_request_is_logged_with_what_the_proxy_knows(tmp_path: Path) -> None:
    with logging(tmp_path) as (stage, read):
        backend = stage.backend("orders-1")
        statuses = [503, 200]
        backend.behaviours["/a"] = lambda peer, request: peer.answer(statuses.pop(0), b"12345")
        address = stage.publish("orders", backend)
        connection = address.http()
        fields = {
            "Host": "orders",
            "User-Agent": 'curl "8"\n'.strip(),
            "X-Request-Id": "abc",
            "X-Forwarded-For": "1.2.3.4",
        }
        fields["X-Amzn-Trace-Id"] = "Root=1-67891233-abcdef012345678912345678;Sampled=0"
        connection.request("PUT", "/a", b"123", fields)
        assert connection.getresponse().read() == b"12345"
        connection.close()
        line = one(read, "/a")
        assert set(line) == set(HttpLine.__struct_fields__) - {"headers"}
        expected = {
            "direction": "outbound",
            "method": "PUT",
            "protocol": "HTTP/1.1",
            "response_code": 200,
            "response_flags": "-",
            "bytes_received": 3,
            "bytes_sent": 5,
            "forwarded_for": "1.2.3.4",
            "user_agent": 'curl "8"',
            "request_id": "abc",
            "authority": "orders",
            "upstream_cluster": "orders",
            "upstream_host": f"{backend.address}:{backend.port}",
            "upstream_endpoint": "orders-1/http",
            "retries": 1,
            "trace_id": "1-67891233-abcdef012345678912345678",
            "stream_id": None,
            "grpc_status": None,
        }
        assert {name: line[name] for name in expected} == expected
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["start_time"])
        assert 0 <= line["upstream_service_time"] <= line["duration"] < 5000
        assert line["downstream_address"].startswith("127.")


MANY = [(b"a%d" % number, b"b") for number in range(101)]
HTTP1 = {
    400: b"GET / HTTP/1.1\r\n\r\n",
    414: b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    417: b"GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n",
    426: b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    431: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"%b: %b\r\n" % field for field in MANY) + b"\r\n",
    501: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
}
HTTP2 = {
    0: with_fields((b"host", b"other")),
    417: with_fields((b"expect", b"more")),
    431: with_fields(*MANY),
    501: replaced(b":method", b"BREW"),
}


def test_what_is_refused_before_it_is_a_request_is_logged(tmp_path: Path) -> None:
    with logging(tmp_path) as (stage, read):
        address = stage.publish("orders", stage.backend("orders-1"))
        for status, data in HTTP1.items():
            with address.socket() as client:
                client.sendall(data)
                assert receive_all(client).startswith(b"HTTP/1.1 %d " % status)
        with RawClient((address.host, address.port)) as peer:
            for stream, fields in enumerate(HTTP2.values()):
                peer.send(http2.request(fields, 2 * stream + 1))
            assert peer.is_alive()
            peer.send(http2.frame(http2.DATA, 0, 0, b"not on a stream"))
            assert peer.last_words() == http2.PROTOCOL_ERROR
        expected = [("HTTP/1.1", status) for status in HTTP1]
        expected += [("HTTP/2", status) for status in [0, *HTTP2]]  # the connection itself at last
        until(lambda: len(read()) >= len(expected), 5, "all lines")
        assert sorted((line["protocol"], line["response_code"]) for line in read()) == sorted(expected)
        assert {line["response_flags"] for line in read()} == {"DPE"}


def test_queries_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    with logging(tmp_path) as (stage, read):
        stage.publish("orders", stage.backend("orders-1")).get("/a?token=secret")
        assert one(read, "/a")["path"] == "/a"
        assert "secret" not in (tmp_path / "sidecar.out").read_text()


def test_queries_are_kept_when_asked_for(tmp_path: Path) -> None:
    with logging(tmp_path, TRAMO_ACCESS_LOG_QUERY="on") as (stage, read):
        stage.publish("orders", stage.backend("orders-1")).get("/a?b=c")
        one(read, "/a?b=c")


@pytest.mark.parametrize("form", ["json", "text"])
def test_headers_are_left_out_but_those_that_are_asked_for(tmp_path: Path, form: str) -> None:
    with open_stage(tmp_path, TRAMO_ACCESS_LOG=form, TRAMO_ACCESS_LOG_HEADERS="X-Tenant,X-Absent") as stage:
        address = stage.publish("orders", stage.backend("orders-1"))
        with address.socket() as client:
            client.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\nX-Tenant: blue\r\nX-TENANT: red\r\nCookie: secret\r\n\r\n")
            receive_until(client, b"orders-1")
        until(lambda: (tmp_path / "sidecar.out").read_text(), 5, "a line")
        written = (tmp_path / "sidecar.out").read_text()
        assert "secret" not in written
        if form == "json":
            assert json.loads(written)["headers"] == {"x-tenant": "blue, red"}
        else:
            assert written.endswith(' {"x-tenant":"blue, red"}\n')


def test_both_sides_log_and_failures_say_why(tmp_path: Path) -> None:
    def cut(peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        peer.reset()

    with logging(tmp_path) as (stage, read):
        app = stage.backend("app", f"{stage.prefix}.250.2", 8080)
        app.behaviours["/cut"] = cut
        ingress = {"id": "self/http", "address": f"{stage.prefix}.250.1", "port": 15100, "state": "ready"}
        address = stage.publish("app", ingress)
        assert address.get("/fine")[0] == 200
        inbound, outbound = one(read, "/fine", "inbound"), one(read, "/fine")
        assert inbound["request_id"] == outbound["request_id"] != ""
        assert inbound["upstream_host"] == f"{stage.prefix}.250.2:8080"
        assert outbound["forwarded_for"] is None
        assert inbound["forwarded_for"] == inbound["downstream_address"]
        with address.socket() as client:
            client.sendall(b"GET /cut HTTP/1.1\r\nHost: x\r\n\r\n")
            receive_all(client)
        line = one(read, "/cut")
        assert (line["response_code"], line["response_flags"], line["bytes_sent"]) == (200, "UC", 4)
        assert stage.publish("nobody").get("/none")[0] == 503
        line = one(read, "/none")
        assert (line["response_code"], line["response_flags"], line["upstream_host"]) == (503, "UH", None)
        assert line["upstream_service_time"] is None
        with address.socket() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
            receive_all(client)
        line = one(read, "-")
        assert (line["response_code"], line["response_flags"]) == (400, "DPE")


def test_tcp_connections_are_logged(tmp_path: Path) -> None:
    def serve(connection: socket.socket) -> None:
        while data := connection.recv(100):
            connection.sendall(data * 2)

    with logging(tmp_path) as (stage, read):
        backend = stage.backend("raw-1")
        backend.raw = serve
        with stage.publish("raw", backend, protocol="tcp", port=5432).socket() as client:
            client.sendall(b"hello")
            port = client.getsockname()[1]
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b"hello" * 2
        until(read, 5, "a line")
        (line,) = read()
        assert set(line) == set(TcpLine.__struct_fields__)
        assert (line["protocol"], line["bytes_received"], line["bytes_sent"]) == ("TCP", 5, 10)
        assert line["downstream_port"] == port
        assert line["upstream_host"] == f"{backend.address}:{backend.port}"
        assert line["connection_termination_details"]
        refused = stage.publish("refused", stage.refusing("refused-1"), protocol="tcp", port=5433)
        with refused.socket() as client:
            assert receive_all(client) == b""
        until(lambda: len(read()) > 1, 5, "a second line")
        line = read()[1]
        assert (line["response_flags"], line["upstream_host"]) == ("UF,URX", None)
        assert line["connection_termination_details"] == "no endpoint could be connected"


def test_only_failures(tmp_path: Path) -> None:
    with logging(tmp_path, TRAMO_ACCESS_LOG_SAMPLE="0") as (stage, read):
        backend = stage.backend("orders-1")
        backend.behaviours["/bad"] = lambda peer, request: peer.answer(500)
        address = stage.publish("orders", backend)
        for _ in range(20):
            assert address.get("/good")[0] == 200
        assert address.get("/bad")[0] == 500
        one(read, "/bad")
        assert stage.sidecar.stop() == 0
        assert [line["path"] for line in read()] == ["/bad"]


def test_tcp_connections_as_text(tmp_path: Path) -> None:
    with open_stage(tmp_path, TRAMO_ACCESS_LOG="text") as stage:
        backend = stage.backend("raw-1")
        backend.raw = lambda connection: connection.sendall(b"hello")
        with stage.publish("raw", backend, protocol="tcp", port=5432).socket() as client:
            assert receive_all(client) == b"hello"
        path = tmp_path / "sidecar.out"
        until(path.read_text, 5, "a line")
        parts = path.read_text().split(" ")
        assert parts[1:3] == ["outbound", "TCP"]
        assert parts[TcpLine.__struct_fields__.index("bytes_sent")] == "5"


def test_text_lines_have_the_fields_in_their_order(tmp_path: Path) -> None:
    with open_stage(tmp_path, TRAMO_ACCESS_LOG="text") as stage:
        stage.publish("orders", stage.backend("orders-1")).get("/a")
        path = tmp_path / "sidecar.out"
        until(path.read_text, 5, "a line")
        parts = path.read_text().split(" ")
        assert len(parts) == len(HttpLine.__struct_fields__) - 1, "headers only if asked for"
        assert parts[1:7] == ["outbound", '"GET"', '"/a"', "HTTP/1.1", "200", "-"]


def test_off_is_the_default(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        stage.publish("orders", stage.backend("orders-1")).get("/a")
        assert stage.sidecar.stop() == 0
        assert (tmp_path / "sidecar.out").read_text() == ""


def test_a_reader_that_stops_delays_no_request(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sidecar.out")
    reader = os.open(tmp_path / "sidecar.out", os.O_RDWR | os.O_NONBLOCK)
    try:
        with open_stage(tmp_path, TRAMO_ACCESS_LOG="json") as stage:
            backend = stage.backend("orders-1")
            connection = stage.publish("orders", backend).http()
            long = "/" + "x" * 1900
            sent = 0

            def full() -> bool:
                nonlocal sent
                for _ in range(50):
                    connection.request("GET", long)
                    assert connection.getresponse().read() == b"orders-1"
                    sent += 1
                return bool(stage.sidecar.page("/stats")[1]["access_log"]["dropped"])

            until(full, 30, "lines to be dropped")
            connection.request("GET", "/after")
            assert connection.getresponse().read() == b"orders-1"
            connection.close()
            stats = stage.sidecar.page("/stats")[1]["access_log"]
            assert sent > 300, "a megabyte is kept"
            assert 0 < stats["dropped"] < sent
            stage.sidecar.signal()
            assert stage.sidecar.process.wait(15) == 0, "nobody reads, and it ends all the same"
    finally:
        os.close(reader)


@pytest.mark.parametrize("value", ["2", "-0.1", "half"])
def test_a_share_is_between_0_and_1(tmp_path: Path, value: str) -> None:
    with (
        pytest.raises(RuntimeError, match="TRAMO_ACCESS_LOG_SAMPLE"),
        open_stage(tmp_path, TRAMO_ACCESS_LOG_SAMPLE=value),
    ):
        pass
