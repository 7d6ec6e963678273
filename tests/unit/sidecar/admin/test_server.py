"""The admin port's HTTP."""

from __future__ import annotations

import json
from typing import Any, cast

from sidecar.admin.pages import Pages
from sidecar.admin.server import AdminConnection
from tests.support.proxy.fake_loop import FakeLoop, FakeTransport
from tests.support.wire.http1 import request


class FakePages:
    """Pages without a sidecar."""

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return (200, {"path": path}) if path != "/missing" else (404, {"error": "no page"})

    def post(self, path: str, query: str) -> tuple[int, dict[str, Any]]:
        return 200, {"path": path, "query": query}

    def metrics(self, accept: bytes | None) -> tuple[bytes, bytes]:
        return b"text/plain", b"accepts " + (accept or b"all")


def connect() -> FakeTransport:
    return FakeTransport(FakeLoop(), AdminConnection(cast("Pages", FakePages())))


def get(path: bytes, *fields: bytes, method: bytes = b"GET") -> bytes:
    return request(b"Host: a", *fields, line=method + b" " + path + b" HTTP/1.1")


def body(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_pages_are_json() -> None:
    client = connect()
    client.receive(get(b"/ready?verbose"))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"content-type: application/json" in answer
    assert body(answer) == {"path": "/ready"}
    client.receive(get(b"/missing"))
    assert client.take().startswith(b"HTTP/1.1 404 ")
    assert not client.is_closing()


def test_head_has_the_length_and_no_body() -> None:
    client = connect()
    client.receive(get(b"/ready", method=b"HEAD"))
    assert client.take().endswith(b"\r\n\r\n")


def test_metrics_are_what_the_reader_accepts() -> None:
    client = connect()
    client.receive(get(b"/metrics", b"Accept: application/openmetrics-text"))
    assert client.take().endswith(b"accepts application/openmetrics-text")


def test_requests_one_behind_the_other() -> None:
    client = connect()
    client.receive(get(b"/a") + get(b"/b"))
    assert client.take().count(b"HTTP/1.1 200 ") == 2


def test_a_reader_may_ask_for_the_end() -> None:
    client = connect()
    client.receive(get(b"/a", b"Connection: close"))
    assert b"connection: close" in client.take()
    assert client.is_closing()


def test_actions_are_posted() -> None:
    client = connect()
    client.receive(request(b"Host: a", b"Content-Length: 2", line=b"POST /logging?level=DEBUG HTTP/1.1") + b"{}")
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert body(answer) == {"path": "/logging", "query": "level=DEBUG"}
    assert client.is_closing(), "a body that is not looked at is not taken for a request"


def test_nothing_can_be_changed_otherwise() -> None:
    client = connect()
    client.receive(get(b"/ready", method=b"PUT") + get(b"/ready"))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert client.is_closing()


def test_nonsense_is_answered_and_cut() -> None:
    client = connect()
    client.receive(b"nonsense\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert client.is_closing()
