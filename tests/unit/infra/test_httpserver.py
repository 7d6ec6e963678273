from __future__ import annotations

import asyncio
import contextlib
import http.client
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.local.httpserver import HttpServer, Request, Response


async def echo(request: Request) -> Response:
    if request.path == "/fail":
        raise ValueError("a fault of the handler")
    if request.path == "/none":
        return Response(304, headers=(("ETag", '"1"'),))
    text = f"{request.method} {request.path} {request.query} {request.body.decode()}"
    return Response(200, text.encode(), (("Content-Type", "text/plain"),))


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(echo)
    port = await server.listen("127.0.0.1")
    try:
        yield server, port
    finally:
        await server.close()


def with_client(use: Callable[[http.client.HTTPConnection], None]) -> None:
    async def main() -> None:
        async with serving() as (_, port):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
                await asyncio.to_thread(use, client)

    asyncio.run(main())


def test_several_requests_on_one_connection() -> None:
    def use(client: http.client.HTTPConnection) -> None:
        for path, expected in (("/a%20b?x=1&x=2", "GET /a b (('x', '1'), ('x', '2')) "), ("/", "GET / () ")):
            client.request("GET", path)
            assert client.getresponse().read().decode() == expected
        client.request("POST", "/p", body=b"hello")
        assert client.getresponse().read() == b"POST /p () hello"
        client.request("POST", "/p", body=iter([b"hel", b"lo"]), encode_chunked=True)
        assert client.getresponse().read() == b"POST /p () hello"

    with_client(use)


def test_an_answer_without_a_body() -> None:
    def use(client: http.client.HTTPConnection) -> None:
        client.request("GET", "/none")
        answer = client.getresponse()
        assert (answer.status, answer.headers["ETag"], answer.read()) == (304, '"1"', b"")
        client.request("HEAD", "/")
        answer = client.getresponse()
        assert (answer.headers["Content-Length"], answer.read()) == ("10", b"")
        client.request("GET", "/")
        assert client.getresponse().read() == b"GET / () "

    with_client(use)


def test_a_handler_that_fails_is_500_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def use(client: http.client.HTTPConnection) -> None:
        client.request("GET", "/fail")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (500, b"internal error")
        client.request("GET", "/")
        assert client.getresponse().status == 200

    with_client(use)
    assert "a fault of the handler" in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/3\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * 70000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_400(sent: bytes) -> None:
    async def main() -> bytes:
        async with serving() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    answer = asyncio.run(main())
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close" in answer


def test_close_ends_connections_and_refuses_new_ones() -> None:
    async def main() -> None:
        async with serving() as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await server.close()
            with contextlib.suppress(ConnectionResetError):
                assert not (await reader.read()).endswith(b"\r\n\r\n")
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            assert await server.listen("127.0.0.1", port) == port

    asyncio.run(main())


def test_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> bytes:
        server = HttpServer(echo)
        await server.listen_unix(tmp_path / "s")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        await server.close()
        return answer

    assert asyncio.run(main()).endswith(b"GET /x () ")
