"""HTTP/2 with clients and servers of others: between versions, bodies, resets, limits."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from h2.errors import ErrorCodes

from sidecar.core.http.http2 import PREFACE
from tests.support.proxy.sidecar import Address, Peer, Stage, receive_until
from tests.support.proxy.sidecar import Request as Http1Request
from tests.support.waiting import until
from tests.support.wire import http2
from tests.support.wire.http2 import RawClient, frame, number, request, with_fields
from tests.support.wire.http2_server import Headers, Http2Server, Request, echo

MIB = 1 << 20
Serve = Callable[..., Http2Server]


@pytest.fixture
def serve(stage: Stage) -> Iterator[Serve]:
    """Start servers; what the sidecar does wrong towards them fails the test."""
    servers: list[Http2Server] = []

    def start(name: str, max_streams: int | None = None) -> Http2Server:
        servers.append(Http2Server(name, f"{stage.prefix}.242.1", max_streams))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def http2_client() -> Iterator[httpx.Client]:
    """A client that speaks HTTP/2 with prior knowledge."""
    with httpx.Client(http1=False, http2=True, trust_env=False, timeout=20) as client:
        yield client


def url(address: Address, path: str = "/") -> str:
    return f"http://{address.host}:{address.port}{path}"


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "-q", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *arguments]
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


# All versions with all.


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 5 * MIB])
@pytest.mark.parametrize("http2_only", [False, True], ids=["from HTTP/1.1", "from HTTP/2"])
def test_bodies_both_ways_to_an_http2_service(stage: Stage, serve: Serve, http2_only: bool, size: int) -> None:
    address = stage.publish(f"h2-bodies-{http2_only}", serve("bodies").record(), protocol="http2")
    body = bytes(range(256)) * (size // 256 + 1)
    with httpx.Client(http1=not http2_only, http2=http2_only, trust_env=False, timeout=20) as client:
        answer = client.post(url(address), content=body[:size])
    assert answer.http_version == ("HTTP/2" if http2_only else "HTTP/1.1")
    assert answer.status_code == 200
    assert answer.content == body[:size]
    assert answer.headers["x-method"] == "POST"
    assert answer.headers["x-authority"] == address.host


@pytest.mark.parametrize("size", [0, 1, 65_536, 5 * MIB])
def test_bodies_both_ways_from_http2_to_an_http1_service(stage: Stage, http2_client: httpx.Client, size: int) -> None:
    backend = stage.backend("h1-bodies")
    backend.behaviours["/echo"] = lambda peer, request: peer.answer(200, request.body)
    address = stage.publish("h1-bodies", backend)
    body = bytes(range(256)) * (size // 256 + 1)
    answer = http2_client.post(url(address, "/echo"), content=body[:size])
    assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, body[:size])
    unknown = http2_client.post(url(address, "/echo"), content=iter([body[:size]]))
    assert unknown.content == body[:size]


def test_curl_with_prior_knowledge(stage: Stage, serve: Serve) -> None:
    for name, protocol in (("curl-1", "http"), ("curl-2", "http2")):
        endpoint = stage.backend(name).record() if protocol == "http" else serve(name).record()
        address = stage.publish(name, endpoint, protocol=protocol)
        found = curl("--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-o", "/dev/null", url(address))
        assert (found.stdout, found.stderr) == (b"2 200", b"")


def test_curl_that_asks_for_an_upgrade_stays_with_http1(stage: Stage) -> None:
    address = stage.publish("curl-upgrade", stage.backend("curl-upgrade"))
    found = curl("--http2", "-w", "%{http_version} %{http_code}", "-o", "/dev/null", url(address))
    assert (found.stdout, found.stderr) == (b"1.1 200", b"")


def test_load_by_h2load_between_all_versions(stage: Stage, serve: Serve) -> None:
    for name, protocol in (("load-1", "http"), ("load-2", "http2")):
        endpoint = stage.backend(name).record() if protocol == "http" else serve(name).record()
        address = stage.publish(name, endpoint, protocol=protocol)
        for options in (["--h1"], ["-m", "10"]):
            found = subprocess.run(
                ["h2load", "-n", "400", "-c", "4", *options, url(address)],
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
            assert "400 succeeded, 0 failed, 0 errored" in found.stdout, found.stdout


@pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE", "OPTIONS", "PATCH"])
def test_methods(stage: Stage, serve: Serve, http2_client: httpx.Client, method: str) -> None:
    server = serve("methods")
    server.behaviours["/five"] = lambda found: found.peer.answer(
        found.stream, 200, b"" if method == "HEAD" else b"12345", [("content-length", "5"), ("x", "y")]
    )
    address = stage.publish("methods", server.record(), protocol="http2")
    for client in (http2_client, httpx.Client(trust_env=False, timeout=20)):
        for _ in range(2):  # the second shows that the first left the connection in order
            answer = client.request(method, url(address, "/five"))
            assert (answer.status_code, answer.headers["content-length"]) == (200, "5")
            assert answer.content == (b"" if method == "HEAD" else b"12345")
        if client is not http2_client:
            client.close()


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(stage: Stage, serve: Serve, status: int) -> None:
    server = serve("empty")
    server.behaviours["/"] = lambda found: found.peer.answer(found.stream, status, b"", [("etag", '"1"')])
    address = stage.publish("empty", server.record(), protocol="http2")
    with httpx.Client(trust_env=False, timeout=20) as client:
        assert [client.get(url(address)).status_code for _ in range(3)] == [status] * 3
    assert len(server.peers) == 1


def test_an_open_ended_answer_to_head_leaves_an_http1_client_in_order(stage: Stage, serve: Serve) -> None:
    server = serve("open-head")

    def open_ended(found: Request) -> None:
        found.peer.h2.send_headers(found.stream, [(":status", "200"), ("x", "y")])
        found.peer.h2.end_stream(found.stream)

    server.behaviours["/"] = open_ended
    address = stage.publish("open-head", server.record(), protocol="http2")
    with address.socket() as client:
        for _ in range(2):
            client.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 "), "nothing came in between"


def test_trailers_from_http1_to_http2_and_back(stage: Stage, serve: Serve) -> None:
    server = serve("trailers")
    address = stage.publish("trailers", server.record(), protocol="http2")
    with address.socket() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n"
        )
        answer = receive_until(client, b"x-sum: 6\r\n\r\n")
    assert b"3\r\nabc\r\n0\r\n" in answer
    assert server.requests[-1].trailers == {"x-sum": "6"}
    assert server.requests[-1].headers["te"] == "trailers"


def test_trailers_from_http2_to_http1(stage: Stage) -> None:
    backend = stage.backend("h1-trailers")
    address = stage.publish("h1-trailers", backend)
    with RawClient((address.host, address.port)) as client:
        client.send(request(http2.POST, end=False), frame(http2.DATA, 0, 1, b"abc"), request([(b"x-sum", b"6")]))
        assert client.headers(1)[b":status"] == b"200"
    assert (backend.requests[-1].body, backend.requests[-1].trailers) == (b"abc", {"x-sum": "6"})


def test_trailers_of_an_http1_answer_to_an_http2_client(stage: Stage) -> None:
    backend = stage.backend("h1-answer")

    def chunked(peer: Peer, request: Http1Request) -> None:
        peer.socket.sendall(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n"
        )

    backend.behaviours["/"] = chunked
    address = stage.publish("h1-answer", backend)
    with RawClient((address.host, address.port)) as client:
        client.send(request())
        assert client.headers(1) == {b":status": b"103", b"link": b"</a>"}
        assert client.headers(1)[b":status"] == b"200"
        assert client.wait(lambda f: f.type == http2.DATA).payload == b"ok"
        assert client.headers(1) == {b"x-sum": b"2"}
        assert client.frames[-1].ends_stream()


def test_expect_continue_from_http1_to_http2(stage: Stage, serve: Serve) -> None:
    server = serve("expect")

    def go_on(found: Request) -> None:
        assert found.headers["expect"] == "100-continue"
        found.peer.h2.send_headers(found.stream, [(":status", "100")])

    server.early["/upload"] = go_on
    address = stage.publish("expect", server.record(), protocol="http2")
    with address.socket() as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert receive_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        client.sendall(b"abc")
        found = until(lambda: server.requests, 5, "the request to be whole")[-1]
        assert found.body == b"abc"


def test_fields_that_are_never_indexed_stay_so(stage: Stage, serve: Serve) -> None:
    server = serve("secret")
    address = stage.publish("secret", server.record(), protocol="http2")
    block = http2.plain_block(http2.GET) + b"\x10" + http2.text(b"x-secret") + http2.text(b"s3cret")
    with RawClient((address.host, address.port)) as client:
        client.send(frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, block))
        client.headers(1)
    (peer,) = server.peers
    assert server.requests[-1].headers["x-secret"] == "s3cret"
    assert all(name != b"x-secret" for name, _ in peer.h2.decoder.header_table.dynamic_entries)


def test_websockets_are_not_offered_over_http2(stage: Stage, serve: Serve) -> None:
    address = stage.publish("no-tunnel", serve("no-tunnel").record(), protocol="http2")
    with address.socket() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert receive_until(client, b"\r\n").startswith(b"HTTP/1.1 200 ")


# First bytes.


@pytest.mark.parametrize("cut", [1, 3, 18, 23])
def test_the_first_bytes_may_come_in_two_packets(stage: Stage, cut: int) -> None:
    address = stage.publish("first-bytes", stage.backend("first-bytes"))
    with RawClient((address.host, address.port), greet=False) as client:
        client.send(PREFACE[:cut])
        assert address.get()[0] == 200  # the first packet has been read meanwhile
        client.send(PREFACE[cut:] + frame(http2.SETTINGS) + request())
        assert client.headers(1)[b":status"] == b"200"


def test_http1_that_begins_like_http2(stage: Stage) -> None:
    address = stage.publish("first-bytes", stage.backend("first-bytes"))
    with address.socket() as client:
        client.sendall(b"P")
        assert address.get()[0] == 200
        client.sendall(b"UT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert receive_until(client, b"\r\n").startswith(b"HTTP/1.1 200 ")


# Ends.


def held(stage: Stage, serve: Serve, name: str) -> tuple[Http2Server, Address]:
    """A server that answers nothing on /hold."""
    server = serve(name)
    server.behaviours["/hold"] = lambda found: None
    return server, stage.publish(name, server.record(), protocol="http2")


HOLD = http2.replaced(b":path", b"/hold")


def test_a_client_that_cancels_reaches_the_server(stage: Stage, serve: Serve) -> None:
    server, address = held(stage, serve, "cancel")
    with RawClient((address.host, address.port)) as client:
        client.send(request(HOLD))
        found = until(lambda: server.requests, 5, "the request")[-1]
        client.send(frame(http2.RST_STREAM, 0, 1, number(http2.CANCEL)))
        until(lambda: found.reset == ErrorCodes.CANCEL, 5, "the cancellation")
        assert client.is_alive()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_a_client_that_leaves_cancels_at_the_server(stage: Stage, serve: Serve, version: str) -> None:
    server, address = held(stage, serve, "leave")
    if version == "HTTP/2":
        with RawClient((address.host, address.port)) as client:
            client.send(request(HOLD))
            found = until(lambda: server.requests, 5, "the request")[-1]
    else:
        with address.socket() as connection:
            connection.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            found = until(lambda: server.requests, 5, "the request")[-1]
            # A plain end of sending would leave the client reading; this is a client that is gone.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: found.reset == ErrorCodes.CANCEL, 5, "the cancellation")


def test_a_reset_in_the_middle_of_an_answer_cuts_it(stage: Stage, serve: Serve, http2_client: httpx.Client) -> None:
    server = serve("cut")

    def cut(found: Request) -> None:
        found.peer.h2.send_headers(found.stream, [(":status", "200"), ("content-length", "10")])
        found.peer.h2.send_data(found.stream, b"12345")
        found.peer.flush()
        found.peer.reset(found.stream, ErrorCodes.INTERNAL_ERROR)

    server.behaviours["/cut"] = cut
    address = stage.publish("cut", server.record(), protocol="http2")
    with pytest.raises(httpx.RemoteProtocolError):
        http2_client.get(url(address, "/cut"))
    with httpx.Client(trust_env=False, timeout=20) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get(url(address, "/cut"))
    assert http2_client.get(url(address)).status_code == 200, "the connection is as good as before"


def test_a_refused_stream_is_sent_again(stage: Stage, serve: Serve, http2_client: httpx.Client) -> None:
    server = serve("refusing")
    refused: list[Request] = []

    def refuse_once(found: Request) -> None:
        if refused:
            echo(found)
        else:
            refused.append(found)
            found.peer.reset(found.stream, ErrorCodes.REFUSED_STREAM)

    server.behaviours["/"] = refuse_once
    address = stage.publish("refusing", server.record(), protocol="http2")
    answer = http2_client.post(url(address), content=b"body")
    assert (answer.status_code, answer.content) == (200, b"body")
    assert len(server.requests) == 2


def test_an_answer_before_the_end_of_an_upload(stage: Stage, serve: Serve) -> None:
    server = serve("too-large")
    server.early["/upload"] = lambda found: found.peer.answer(found.stream, 413, b"too large")
    address = stage.publish("too-large", server.record(), protocol="http2")
    upload = http2.replaced(b":path", b"/upload", http2.POST)
    with RawClient((address.host, address.port)) as client:
        client.send(request(upload, end=False))
        head, body = client.response(1)
        assert (head[b":status"], body) == (b"413", b"too large")
        assert client.reset_code(1) == http2.NO_ERROR
    found = server.begun[-1]
    until(lambda: found.reset == ErrorCodes.CANCEL, 5, "the upload to be cancelled")


# Limits.


@pytest.mark.parametrize("limit", [1, 5])
def test_the_servers_limit_is_kept_by_more_connections(stage: Stage, serve: Serve, limit: int) -> None:
    server = serve(f"limit-{limit}", max_streams=limit)
    release: list[Request] = []
    server.behaviours["/hold"] = release.append
    address = stage.publish(f"limit-{limit}", server.record(), protocol="http2")
    with RawClient((address.host, address.port)) as client:
        client.send(*(request(HOLD, stream) for stream in range(1, 21, 2)))
        until(lambda: len(release) == 10, 10, "all ten to be under way at once")
        busiest = max(len(peer.requests) for peer in server.peers)
        assert busiest <= limit
    cluster = stage.sidecar.cluster(f"limit-{limit}")
    assert cluster["pending_requests"] == 0


def test_requests_of_many_clients_share_a_connection(stage: Stage, serve: Serve) -> None:
    server = serve("shared")
    address = stage.publish("shared", server.record(), protocol="http2")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: address.get()[0], range(40))) == [200] * 40
    assert len(server.peers) == 1


def test_a_client_that_does_not_read_stalls_nobody_else(stage: Stage, serve: Serve) -> None:
    server = serve("stalled")
    server.behaviours["/large"] = lambda found: found.peer.answer(found.stream, 200, bytes(MIB))
    address = stage.publish("stalled", server.record(), protocol="http2")
    large = http2.replaced(b":path", b"/large")
    with RawClient((address.host, address.port), http2.setting(4, 0)) as client:
        client.send(*(request(large, stream) for stream in range(1, 61, 2)))
        for _ in range(30):
            client.wait(lambda f: f.type == http2.HEADERS)
        assert address.get("/large") == (200, bytes(MIB))
        client.send(frame(http2.SETTINGS, 0, 0, http2.setting(4, 2 * MIB)))
        client.send(frame(http2.WINDOW_UPDATE, 0, 0, number(100 * MIB)))
        received = 0
        while received < 30 * MIB:
            received += len(client.wait(lambda f: f.type == http2.DATA).payload)
    assert len(server.peers) == 1


def test_a_server_that_does_not_read_slows_an_upload_down(stage: Stage, serve: Serve) -> None:
    server = serve("deaf")
    server.reads = False
    server.early["/upload"] = lambda found: None
    address = stage.publish("deaf", server.record(), protocol="http2")
    before = stage.sidecar.memory_kib()
    upload = http2.replaced(b":path", b"/upload", http2.POST)
    with RawClient((address.host, address.port)) as client:
        client.send(request(upload, end=False))
        granted, sent = 65_535, 0
        while True:
            while sent < granted:
                piece = min(granted - sent, 16_384)
                client.send(frame(http2.DATA, 0, 1, bytes(piece)))
                sent += piece
            for _ in range(2):  # behind the second all that it grants for these bytes has come
                assert client.is_alive()
            updates = [f for f in client.frames if f.type == http2.WINDOW_UPDATE and f.stream == 1]
            if 65_535 + sum(int.from_bytes(f.payload, "big") for f in updates) == granted:
                break
            granted = 65_535 + sum(int.from_bytes(f.payload, "big") for f in updates)
        assert 2 * 65_535 <= granted < 5 * 65_535
    assert stage.sidecar.memory_kib() - before < 8 * 1024


def test_a_head_as_large_as_allowed_passes_all_versions(stage: Stage, serve: Serve, http2_client: httpx.Client) -> None:
    fields = {f"x-{number}": "v" * 550 for number in range(95)}
    backend, server = stage.backend("large-1"), serve("large-2")
    address = stage.publish("large-1", backend)
    assert http2_client.get(url(address), headers=fields).status_code == 200
    address = stage.publish("large-2", server.record(), protocol="http2")
    assert http2_client.get(url(address), headers=fields).status_code == 200
    with httpx.Client(trust_env=False, timeout=20) as client:
        assert client.get(url(address), headers=fields).status_code == 200
    assert fields.items() <= server.requests[-1].headers.items()
    assert fields.items() <= backend.requests[-1].headers.items()


def test_a_head_that_is_too_large_costs_its_stream(stage: Stage, serve: Serve, http2_client: httpx.Client) -> None:
    address = stage.publish("too-long", serve("too-long").record(), protocol="http2")
    assert http2_client.get(url(address), headers={"x": "v" * 70_000}).status_code == 431
    assert http2_client.get(url(address)).status_code == 200


def test_a_large_answer_head_costs_its_stream(stage: Stage, serve: Serve, http2_client: httpx.Client) -> None:
    server = serve("long-answer")
    long: Headers = [(f"x-{number}", "v" * 15_000) for number in range(5)]
    server.behaviours["/long"] = lambda found: found.peer.answer(found.stream, 200, b"", long)
    address = stage.publish("long-answer", server.record(), protocol="http2")
    answer = http2_client.get(url(address, "/long"))
    assert (answer.status_code, answer.headers["tramo-response-flags"]) == (502, "UPE")
    assert http2_client.get(url(address)).status_code == 200
    assert len(server.peers) == 1


def test_a_service_that_speaks_only_http1_behind_http2(stage: Stage, http2_client: httpx.Client) -> None:
    backend = stage.backend("misnamed")
    address = stage.publish("misnamed", backend, protocol="http2")
    answer = http2_client.get(url(address))
    assert answer.status_code in (502, 503)
    assert answer.headers["tramo-response-flags"].partition(",")[0] in ("UPE", "UF", "UC")


# What a proxy may not pass on, by way of an HTTP/1.1 service.


@pytest.mark.parametrize(
    "fields",
    [
        with_fields((b"transfer-encoding", b"chunked"), base=http2.POST),
        with_fields((b"content-length", b"3"), (b"content-length", b"30"), base=http2.POST),
        with_fields((b"host", b"other")),
        with_fields((b"x", b"a\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
        http2.replaced(b":path", b"/ HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled"),
        http2.replaced(b":method", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET"),
        http2.replaced(b":authority", b"a\r\nx: y"),
        with_fields((b"x: y\r\nhost", b"b")),
    ],
    ids=["chunked", "two lengths", "host", "value", "path", "method", "authority", "name"],
)
def test_nothing_is_smuggled_to_an_http1_service(stage: Stage, fields: http2.Headers) -> None:
    backend = stage.backend("smuggling")
    address = stage.publish("smuggling", backend)
    with RawClient((address.host, address.port)) as client:
        client.send(request(fields, end=False))
        assert client.reset_code(1) == http2.PROTOCOL_ERROR
        client.send(request(stream=3))
        assert client.headers(3)[b":status"] == b"200"
    assert backend.paths() == ["GET /"]


def test_a_body_that_breaks_its_promise_never_looks_whole(stage: Stage) -> None:
    backend = stage.backend("promise")
    address = stage.publish("promise", backend)
    fields = with_fields((b"content-length", b"5"), base=http2.POST)
    with RawClient((address.host, address.port)) as client:
        client.send(request(fields, end=False), frame(http2.DATA, http2.END_STREAM, 1, b"123"))
        assert client.reset_code(1) == http2.PROTOCOL_ERROR
        client.send(request(fields, 3, end=False), frame(http2.DATA, http2.END_STREAM, 3, b"1234567"))
        assert client.reset_code(3) == http2.PROTOCOL_ERROR
        client.send(request(stream=5))
        client.headers(5)
    assert [found.body for found in backend.requests if found.method == "POST" and len(found.body) == 5] == []


def test_clusters_are_left_in_order(stage: Stage) -> None:
    """Last: after all that, no request is counted that is not there."""

    def left() -> str:
        clusters = stage.sidecar.page("/clusters")[1]["clusters"]
        return json.dumps([c["name"] for c in clusters if c["active_requests"] or c["pending_requests"]])

    until(lambda: left() == "[]", 10, f"no request to be under way: {left()}")
