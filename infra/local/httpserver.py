"""A small HTTP/1.1 server: what ECS, Lambda, API Gateway and the task metadata service are made of here.

Rules: keep-alive; one request at a time on a connection; a body has a Content-Length or is chunked; a request
that is not HTTP is answered with 400 and the connection is closed. A handler that fails answers 500 and the
error is logged. `close` ends every connection at once and refuses new ones.
"""

from __future__ import annotations

import asyncio
import http
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

log = logging.getLogger(__name__)
_LARGEST_HEAD: Final = 64 * 1024
_LARGEST_BODY: Final = 10 * 1024 * 1024  # API Gateway's limit


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Header names are in lower case and may repeat; `target` is as sent, `path` is decoded."""

    method: str
    target: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    body: bytes
    client: str

    def header(self, name: str, otherwise: str = "") -> str:
        """Return the values of a header joined by commas."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else otherwise


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Content-Length and Connection are added by the server."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]


class _BadRequestError(Exception):
    """The client does not speak HTTP/1.1."""


class HttpServer:
    """Serves one handler on a TCP port or a Unix socket."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int = 0) -> int:
        """Listen on a TCP port, 0 for any; return the port."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=_LARGEST_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    async def listen_on(self, listening: socket.socket) -> None:
        """Serve a socket that listens already."""
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=_LARGEST_HEAD)

    async def listen_unix(self, path: Path) -> None:
        """Listen on a Unix socket; its folder says who may use it."""
        self._server = await asyncio.start_unix_server(self._accept, path, limit=_LARGEST_HEAD)

    async def close(self) -> None:
        """Refuse connections and end those that there are."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away: nobody is left to answer
        except asyncio.CancelledError:
            writer.transport.abort()  # close() was called
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        client = str(peer[0]) if isinstance(peer, tuple) else "unix"
        while True:
            try:
                request = await _read(reader, writer, client)
            except _BadRequestError as error:
                writer.write(_render(Response(400, str(error).encode()), "GET", last=True))
                await writer.drain()
                return
            if request is None:
                return
            try:
                response = await self._handler(request)
            except Exception:
                log.exception("%s %s failed", request.method, request.target)
                response = Response(500, b"internal error")
            last = request.header("connection").lower() == "close"
            writer.write(_render(response, request.method, last=last))
            await writer.drain()
            if last:
                return


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> Request | None:
    """Return the next request, None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    except asyncio.LimitOverrunError as error:
        raise _BadRequestError("the head of the request is too large") from error
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise _BadRequestError("not an HTTP/1.1 request")
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _BadRequestError(f"not a header: {line!r}")
        headers.append((name.lower(), value.strip()))
    fields = dict(headers)
    if fields.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        length = fields.get("content-length", "0")
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            raise _BadRequestError(f"Content-Length {length!r} is wrong or too large")
        body = await reader.readexactly(int(length))
    target = urlsplit(parts[1])
    query = tuple(parse_qsl(target.query, keep_blank_values=True))
    return Request(parts[0], parts[1], unquote(target.path), query, tuple(headers), body, client)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = (await reader.readline()).split(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError as error:
            raise _BadRequestError("a chunk has no size") from error
        if len(body) + size > _LARGEST_BODY:
            raise _BadRequestError("the body is too large")
        body += await reader.readexactly(size)
        await reader.readline()
        if size == 0:
            return bytes(body)


def _render(response: Response, method: str, *, last: bool) -> bytes:
    try:
        phrase = http.HTTPStatus(response.status).phrase
    except ValueError:  # a code that nobody has named
        phrase = ""
    lines = [f"HTTP/1.1 {response.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    bodiless = response.status in (204, 304)
    if not bodiless:
        lines.append(f"Content-Length: {len(response.body)}")
    if last:
        lines.append("Connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if bodiless or method == "HEAD" else head + response.body
