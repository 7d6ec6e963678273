"""Which requests and connections are written, and that each is once."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from sidecar.core.direction import INBOUND, OUTBOUND
from sidecar.core.errors import LocalReply
from sidecar.core.flags import UC, UF, UH, Flags
from sidecar.core.http.messages import RequestHead, ResponseHead
from sidecar.core.routing.endpoint import Endpoint
from sidecar.proxy.base.interfaces import Client, Request
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.recorder import AccessLog, Observation, Recorder
from tests.support.proxy.fake_loop import FakeLoop

ENDPOINT = Endpoint("a/http", "10.0.0.1", 15100)


class Lines:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = 0
        self.dropped = 0
        self.lines: list[dict[str, Any]] = []

    def write(self, line: bytes) -> None:
        self.written += 1
        self.lines.append(json.loads(line))


class Silent:
    """A client that takes everything."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Case:
    """A recorder with an access log that writes this share."""

    def __init__(self, share: float) -> None:
        self.lines = Lines()
        self.loop = FakeLoop()
        self.runtime = Runtime(cast("Any", self.loop), seed=7)
        log = AccessLog(self.lines, text=False, share=share, query=False)
        self.recorder = Recorder(self.runtime, log, None, wall=lambda: 1_795_348_800.5)

    def observation(self, *fields: tuple[bytes, bytes], stream_id: int | None = None, old: bool = False) -> Observation:
        head = RequestHead(b"GET", b"/a?b=c", b"orders", list(fields))
        head.is_http_10 = old
        request = Request(OUTBOUND, "orders", cast("Client", Silent()), head, b"127.0.0.1", stream_id)
        return Observation(self.recorder, request, 1_795_348_800.5, None)

    def request(self, status: int, flags: Flags = (), *fields: tuple[bytes, bytes]) -> None:
        """A request from its head to the end of its answer."""
        made = self.observation(*fields)
        made.send_head(ResponseHead(status, []))
        made.finished(ENDPOINT, 1, 0.01, flags)
        made.send_end([])


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 4000, 4000), (0.25, 900, 1100), (0.0, 0, 0)])
def test_the_share_that_is_asked_for_is_written(share: float, least: int, most: int) -> None:
    case = Case(share)
    for _ in range(4000):
        case.request(200)
    assert least <= case.lines.written <= most


def test_failures_are_always_written() -> None:
    case = Case(0.0)
    case.request(500)
    case.request(200, (UC,))
    case.request(404)
    assert [(line["response_code"], line["response_flags"]) for line in case.lines.lines] == [(500, "-"), (200, "UC")]


def test_a_request_is_written_once_however_it_ends() -> None:
    for end in ("send_end", "abort", "close"):
        case = Case(1.0)
        made = case.observation()
        made.send_head(ResponseHead(200, []))
        made.send_data(b"12345")
        getattr(made, end)(*([[]] if end == "send_end" else []))
        made.abort()
        made.end()
        (line,) = case.lines.lines
        assert (line["path"], line["bytes_sent"], line["start_time"]) == ("/a", 5, "2026-11-22T12:00:00.500Z")


def test_an_answer_of_the_proxys_own_is_a_failure_by_its_status() -> None:
    case = Case(0.0)
    made = case.observation()
    made.finished(None, 1, 0.0, (UH,))
    made.send_local(LocalReply(UH, "no endpoint"))
    (line,) = case.lines.lines
    assert (line["response_code"], line["response_flags"], line["upstream_host"]) == (503, "UH", None)


@pytest.mark.parametrize(
    ("old", "stream_id", "protocol"), [(True, None, "HTTP/1.0"), (False, None, "HTTP/1.1"), (False, 1, "HTTP/2")]
)
def test_the_protocol_is_the_clients(old: bool, stream_id: int | None, protocol: str) -> None:
    case = Case(1.0)
    made = case.observation(stream_id=stream_id, old=old)
    made.send_end([])
    (line,) = case.lines.lines
    assert line["protocol"] == protocol


def test_connections_have_numbers_and_are_sampled_too() -> None:
    case = Case(0.0)
    for flags in ((), (UF,)):
        connection = case.recorder.connection(INBOUND)
        assert connection is not None
        connection.end("orders", flags, "the client closed")
    (line,) = case.lines.lines
    assert (line["connection_id"], line["response_flags"]) == (2, "UF")


def test_without_a_log_nothing_is_made() -> None:
    recorder = Recorder(Runtime(cast("Any", FakeLoop())), None, None, wall=lambda: 0.0)
    assert recorder.connection(INBOUND) is None
    assert not recorder.wants(failed=True)
