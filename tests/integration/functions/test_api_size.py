"""Answers above what Lambda lets through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api import answers
from tests.support.control_plane.gateway import answer

LAMBDA_LIMIT = 6 * 1024 * 1024


def result(size: int, body: str | None = None) -> dict[str, Any]:
    text = body if body is not None else json.dumps({"services": "x" * size})
    return {"statusCode": 200, "headers": {"Content-Type": "application/json", "ETag": '"7"'}, "body": text}


def finished(size: int, accept: str | None, body: str | None = None) -> dict[str, Any]:
    headers = {} if accept is None else {"accept-Encoding": accept}
    return answers.finish({"headers": headers}, result(size, body))


def test_small_answers_are_left_alone() -> None:
    assert finished(1000, "gzip") == result(1000)


@pytest.mark.parametrize("accept", ["gzip", "br, GZIP;q=0.5"])
def test_large_answers_are_compressed(accept: str) -> None:
    sent = finished(7_000_000, accept)
    assert len(json.dumps(sent)) < LAMBDA_LIMIT
    assert sent["isBase64Encoded"] is True
    assert sent["headers"] == {
        "Content-Type": "application/json",
        "ETag": '"7"',
        "Content-Encoding": "gzip",
        "Vary": "Accept-Encoding",
    }
    assert len(answer(sent).json_body["services"]) == 7_000_000


def test_the_last_large_answer_is_compressed_once() -> None:
    assert finished(2_000_000, "gzip")["body"] is finished(2_000_000, "gzip")["body"]
    assert answer(finished(2_000_001, "gzip")).body != answer(finished(2_000_000, "gzip")).body


@pytest.mark.parametrize("accept", [None, "identity", "br"])
def test_a_client_without_gzip_is_told_so(accept: str | None) -> None:
    assert finished(2_000_000, accept) == result(2_000_000)
    refused = answer(finished(5_000_000, accept))
    assert (refused.status_code, refused.json_body["field"]) == (406, "Accept-Encoding")


def test_what_is_too_large_even_so_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST_ENCODED_BYTES", 1000)
    refused = answer(finished(2_000_000, "gzip"))
    assert (refused.status_code, refused.json_body["field"]) == (413, "services")


def test_what_is_left_plain_stays_below_the_limit_when_escaped() -> None:
    """The worst a snapshot can be: quotes everywhere, which JSON in JSON doubles."""
    service = {"name": "a", "policy": {}, "aliases": [{"dns_name": "a", "port": 1}] * 2}
    body = json.dumps([service] * 38_000, separators=(",", ":"))
    assert answers.COMPRESSED_FROM_BYTES < len(body) < answers.LARGEST_PLAIN_BYTES
    assert len(json.dumps(finished(0, None, body))) < LAMBDA_LIMIT
