"""Lines of the access log: whatever clients send, a line stays one line and says it."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from sidecar.core.access_log import (
    MAX_TEXT,
    HttpLine,
    TcpLine,
    Timestamps,
    as_json,
    as_text,
    chosen,
    milliseconds,
    text_of,
)

NAMES = ("x-a", "x-b")


def http_line(**changes: Any) -> HttpLine:
    values: dict[str, Any] = {
        "start_time": "2026-11-22T12:00:00.000Z",
        "direction": "outbound",
        "method": "GET",
        "path": "/",
        "protocol": "HTTP/1.1",
        "response_code": 200,
        "response_flags": "-",
        "bytes_received": 1,
        "bytes_sent": 2,
        "duration": 3.5,
        "upstream_service_time": None,
        "forwarded_for": None,
        "user_agent": None,
        "request_id": "abc",
        "authority": "orders",
        "upstream_host": "10.0.0.1:80",
        "upstream_cluster": "orders",
        "upstream_endpoint": "a/http",
        "retries": 0,
        "downstream_address": "127.0.0.1",
        "trace_id": None,
    }
    return HttpLine(**{**values, **changes})


TCP_LINE = TcpLine(
    *("2026-11-22T12:00:00.000Z", "inbound", "TCP", "10.0.0.9", 4711, 5, 10, 1.25),
    *("127.0.0.1:5432", "ledger", None, "-", "the client closed", 7),
)


@given(st.binary(max_size=60), st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)))
def test_one_line_of_json_whatever_clients_send(raw: bytes, headers: dict[str, str]) -> None:
    path = text_of(raw) or ""
    written = as_json(http_line(path=path, user_agent=path, headers=headers))
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    document = json.loads(written)
    assert (document["path"], document["headers"]) == (path, headers)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_one_line_of_text_whatever_clients_send(path: str) -> None:
    written = as_text(http_line(path=path))
    assert written.count(b"\n") == 1
    before, after = b'2026-11-22T12:00:00.000Z outbound "GET" ', b" HTTP/1.1 200 - 1 2 3.5"
    assert written.startswith(before)
    quoted = written.removeprefix(before).partition(after)[0]
    assert quoted == b"-" if not path else json.loads(quoted) == path


def test_headers_are_no_field_unless_they_are_asked_for() -> None:
    assert http_line().headers is UNSET
    assert "headers" not in json.loads(as_json(http_line()))
    assert len(shlex.split(as_text(http_line()).decode())) == len(HttpLine.__struct_fields__) - 1
    assert json.loads(as_json(http_line(headers={})))["headers"] == {}, "asked for, and there were none"


def test_a_tcp_connection() -> None:
    assert as_text(TCP_LINE) == (
        b'2026-11-22T12:00:00.000Z inbound TCP 10.0.0.9 4711 5 10 1.25 127.0.0.1:5432 "ledger" - - '
        b'"the client closed" 7\n'
    )
    assert json.loads(as_json(TCP_LINE))["connection_id"] == 7


def test_fields_are_chosen_by_name_and_repeated_ones_joined() -> None:
    fields = [(b"x-a", b"1"), (b"cookie", b"secret"), (b"x-a", b"2"), (b"x-b", b"\xff")]
    names = frozenset((b"x-a", b"x-b", b"x-c"))
    assert chosen(fields, names) == {"x-a": "1, 2", "x-b": "\\xff"}
    assert chosen(fields, frozenset()) == {}


@given(st.lists(st.binary(max_size=3 * MAX_TEXT), max_size=5))
def test_what_clients_send_is_cut(values: list[bytes]) -> None:
    found = chosen([(b"x-a", value) for value in values], frozenset((b"x-a",)))
    assert all(len(value) <= 4 * MAX_TEXT for value in found.values()), "each byte is at most four characters"
    assert all(len(text_of(value) or "") <= 4 * MAX_TEXT for value in values)
    assert text_of(None) is None


@given(st.lists(st.integers(0, 4_000_000_000_000_000)))
def test_times_are_utc_with_milliseconds(microseconds: list[int]) -> None:
    timestamps = Timestamps()
    for wall in (each / 1e6 for each in [0, 1_795_348_800_123_400, *microseconds, *microseconds]):
        known = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
        assert timestamps.text(wall) == known.replace("+00:00", "Z")


def test_durations_are_milliseconds_to_a_microsecond() -> None:
    assert milliseconds(0.0123456789) == 12.346
