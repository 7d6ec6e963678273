"""The admin port, over the proxy's own HTTP/1.1 codec: GET of a page, POST of an action."""

from __future__ import annotations

import asyncio
from typing import Final, cast

import msgspec

from sidecar.admin.pages import Pages
from sidecar.core.errors import ProtocolError
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.http1_writer import encode_response_head
from sidecar.core.http.messages import RequestHead, ResponseHead

_JSON: Final = b"application/json"


class AdminConnection(asyncio.Protocol):
    """A connection to the admin port."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: the socket is connected."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request; bodies are not looked at."""
        try:
            events = self._reader.feed(data)
        except ProtocolError as error:
            self._answer(error.status, {"error": error.reason}, b"GET", close=True)
            return
        for event in events:
            if isinstance(event, RequestHead):
                self._request(event)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone."""
        self._transport = None
        self._reader.release()

    def _request(self, head: RequestHead) -> None:
        path, _, query = head.target.decode("latin-1").partition("?")
        if head.method == b"POST":
            status, document = self._pages.post(path, query)
            self._answer(status, document, head.method, close=True)  # whatever the body was
            return
        if head.method not in (b"GET", b"HEAD"):
            self._answer(405, {"error": "the admin pages are read with GET"}, head.method, close=True)
            return
        if path == "/metrics":
            content_type, body = self._pages.metrics(head.get(b"accept"))
            self._write(200, content_type, body, head.method, close=not self._reader.keep_alive)
            return
        status, document = self._pages.get(path)
        self._answer(status, document, head.method, close=not self._reader.keep_alive)

    def _answer(self, status: int, document: dict[str, object], method: bytes, close: bool) -> None:
        body = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
        self._write(status, _JSON, body, method, close)

    def _write(self, status: int, content_type: bytes, body: bytes, method: bytes, close: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        head = encode_response_head(ResponseHead(status, [(b"content-type", content_type)], len(body)), method, close)
        transport.write(head if method == b"HEAD" else head + body)
        if close:
            transport.close()
