"""HTTP/1.1 or HTTP/2, by the first bytes, however they come."""

from __future__ import annotations

import pytest

from sidecar.core.http.http2 import PREFACE
from sidecar.proxy.downstream.time_outs import HEAD_SECONDS, KEEP_ALIVE_SECONDS
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.rig import ANSWER, Http1Rig
from tests.support.wire.http1 import request

# PATCH shares its first byte with the preface.
PATCH = request(b"Host: orders", b"Content-Length: 0", line=b"PATCH / HTTP/1.1")
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def connect(rig: Http1Rig) -> FakeTransport:
    return FakeTransport(rig.loop, rig.listener.accept())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_http1(size: int) -> None:
    rig = Http1Rig()
    upstream, client = rig.upstream(), connect(rig)
    for start in range(0, len(PATCH), size):
        client.receive(PATCH[start : start + size])
    assert upstream.take().startswith(b"PATCH / ")
    upstream.receive(ANSWER)
    assert client.take().startswith(b"HTTP/1.1 200 ")
    assert rig.server_meter.connections == 1
    assert rig.settled()


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_http2(size: int) -> None:
    rig = Http1Rig()
    client = connect(rig)
    data = PREFACE + SETTINGS
    for start in range(0, len(data), size):
        client.receive(data[start : start + size])
    assert client.take()[3:4] == b"\x04", "its SETTINGS come first"
    assert rig.server_meter.active_connections == 1


def test_a_preface_that_breaks_off_into_something_else() -> None:
    rig = Http1Rig()
    client = connect(rig)
    client.receive(PREFACE[:10])
    client.receive(b"nonsense\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 4")
    assert client.eof_written


def test_a_client_that_says_nothing_is_cut() -> None:
    rig = Http1Rig()
    client = connect(rig)
    rig.loop.advance(KEEP_ALIVE_SECONDS - 1)
    assert not client.is_closing()
    rig.loop.advance(2)
    assert client.lost


def test_a_client_that_hesitates_is_cut_sooner() -> None:
    rig = Http1Rig()
    client = connect(rig)
    client.receive(PREFACE[:1])
    rig.loop.advance(HEAD_SECONDS / 2)
    client.receive(PREFACE[1:2])
    rig.loop.advance(HEAD_SECONDS / 2 + 1)
    assert client.lost
    assert rig.settled()


def test_a_client_that_leaves_at_once() -> None:
    rig = Http1Rig()
    client = connect(rig)
    client.break_off()
    rig.loop.advance(KEEP_ALIVE_SECONDS * 2)
    assert rig.server_meter.connections == 0
    assert len(rig.runtime.wheel) == 0
