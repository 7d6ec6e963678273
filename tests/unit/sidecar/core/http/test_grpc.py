from __future__ import annotations

import pytest

from sidecar.core import errors
from sidecar.core.errors import LocalReply
from sidecar.core.flags import DPE, UH
from sidecar.core.http import grpc, grpc_status
from sidecar.core.http.messages import Fields


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], None),
        ([(b"grpc-message", b"0")], None),
        ([(b"grpc-status", b"0")], 0),
        ([(b"a", b"b"), (b"grpc-status", b"14")], 14),
        ([(b"grpc-status", b"16"), (b"grpc-status", b"0")], 16),
        ([(b"grpc-status", b"")], grpc_status.UNKNOWN),
        ([(b"grpc-status", b"-1")], grpc_status.UNKNOWN),
        ([(b"grpc-status", b"ok")], grpc_status.UNKNOWN),
        ([(b"grpc-status", b"1000")], grpc_status.UNKNOWN),
        ([(b"grpc-status", b"\xb2")], grpc_status.UNKNOWN),
    ],
)
def test_status(fields: Fields, status: int | None) -> None:
    assert grpc.status_of(fields) == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"15S", 15.0),
        (b"250m", 0.25),
        (b"5u", 5e-6),
        (b"99999999n", 0.099999999),
        (b"0S", 0.0),
        (b"99999999H", 99_999_999 * 3600.0),
        (b"", None),
        (b"S", None),
        (b"10", None),
        (b"10s", None),
        (b"10h", None),
        (b"-1S", None),
        (b"+1S", None),
        (b"1.5S", None),
        (b"1_0S", None),
        (b" 1S", None),
        (b"1 S", None),
        (b"123456789S", None),
        (b"\xb2S", None),
    ],
)
def test_timeouts(value: bytes, seconds: float | None) -> None:
    found = grpc.timeout_seconds(value)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (errors.NO_ROUTE, grpc_status.UNIMPLEMENTED),
        (errors.NO_HEALTHY_UPSTREAM, grpc_status.UNAVAILABLE),
        (errors.UPSTREAM_CONNECT_FAILURE, grpc_status.UNAVAILABLE),
        (errors.UPSTREAM_OVERFLOW, grpc_status.UNAVAILABLE),
        (errors.UPSTREAM_RESET, grpc_status.UNAVAILABLE),
        (errors.UPSTREAM_PROTOCOL_ERROR, grpc_status.UNAVAILABLE),
        (errors.REQUEST_TIMEOUT, grpc_status.DEADLINE_EXCEEDED),
        (errors.ATTEMPT_TIMEOUT, grpc_status.DEADLINE_EXCEEDED),
        (LocalReply(DPE, "bad", 400), grpc_status.INTERNAL),
        (LocalReply(DPE, "too large", 431), grpc_status.RESOURCE_EXHAUSTED),
        (LocalReply(DPE, "odd", 418), grpc_status.UNKNOWN),
    ],
)
def test_what_the_proxy_answers_is_a_grpc_answer_of_one_frame(reply: LocalReply, code: int) -> None:
    head = grpc.local_reply(reply)
    assert head.status == 200
    assert head.content_length == 0
    assert head.get(b"content-type") == b"application/grpc"
    assert grpc.status_of(head.fields) == code
    assert head.get(errors.FLAG_FIELD) == reply.flag.code.encode()
    assert head.get(errors.UNPROCESSED_FIELD) == (b"true" if reply.flag.unprocessed else None)
    assert head.get(b"grpc-message")


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("plain, with spaces ~", b"plain, with spaces ~"),
        ("100%", b"100%25"),
        ("two\nlines", b"two%0Alines"),
        ("größer", b"gr%C3%B6%C3%9Fer"),
        ("\x7f", b"%7F"),
    ],
)
def test_messages_are_percent_encoded(message: str, encoded: bytes) -> None:
    assert grpc.local_reply(LocalReply(UH, message)).get(b"grpc-message") == encoded


@pytest.mark.parametrize("code", [4, 13, 14, 15])
def test_codes_that_speak_against_the_endpoint(code: int) -> None:
    assert code in grpc.FAILURES


@pytest.mark.parametrize("code", [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 16])
def test_codes_that_speak_against_the_request(code: int) -> None:
    assert code not in grpc.FAILURES


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc+json", True),
        (b"application/grpc; charset=x", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web-text+proto", False),
        (b"application/grpcx", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_content_types(content_type: bytes, expected: bool) -> None:
    assert grpc.is_grpc(content_type) is expected


def test_a_client_is_told_when_to_come_again() -> None:
    assert grpc.local_reply(errors.OVERLOADED).get(b"grpc-retry-pushback-ms") == b"1000"
    assert grpc.local_reply(errors.NO_HEALTHY_UPSTREAM).get(b"grpc-retry-pushback-ms") is None
