from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.local.httpserver import Request
from infra.local.identity import USER, of_task
from infra.local.settings import ACCESS_KEY, SECRET_KEY
from infra.local.signature import SignatureError, verify

OTHER = of_task("role", "a" * 32)
FORGED = OTHER.token.replace("a" * 32, "b" * 32)


def signed(
    *,
    key: str = ACCESS_KEY,
    secret: str = SECRET_KEY,
    token: str | None = None,
    service: str = "execute-api",
    region: str = "us-east-1",
    method: str = "GET",
    path: str = "/live/v1/namespaces/a%20b/snapshot?since=4&services=x%2Cy",
    body: bytes = b"",
) -> Request:
    request = AWSRequest(method, f"http://127.0.0.1:9000{path}", data=body, headers={"X-Own": "a"})
    SigV4Auth(Credentials(key, secret, token), service, region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    pairs = tuple({**headers, "host": "127.0.0.1:9000", "accept": "unsigned"}.items())
    return Request(method, path, "/ignored", (), pairs, body, "127.0.0.1")


def now() -> datetime:
    return datetime.now(UTC)


def test_a_good_signature() -> None:
    assert verify(signed(), "us-east-1", now()) == USER
    assert verify(signed(method="POST", path="/live/x", body=b'{"a": 1}'), "us-east-1", now()) == USER


def test_a_task_signs_as_the_session_of_its_role() -> None:
    task = of_task("shop-task", "f" * 32)
    found = verify(signed(key=task.access_key, secret=task.secret_key, token=task.token), "us-east-1", now())
    assert found == task
    assert found.arn == f"arn:aws:sts::123456789012:assumed-role/shop-task/{'f' * 32}"


def changed(request: Request, **changes: str) -> Request:
    kept = [(name, value) for name, value in request.headers if name not in changes]
    return Request(
        request.method,
        request.target,
        request.path,
        request.query,
        (*kept, *((name, value) for name, value in changes.items() if value)),
        request.body,
        request.client,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed(signed(), authorization=""), "Missing Authentication Token"),
        (lambda: changed(signed(), authorization="Bearer x"), "Signature Version 4"),
        (lambda: signed(key="AKIDOTHER"), "security token"),
        (lambda: signed(secret="other"), "does not match"),
        (lambda: signed(token="r/t/0"), "security token"),
        (lambda: signed(key=OTHER.access_key, secret=OTHER.secret_key), "security token"),
        (lambda: signed(key=OTHER.access_key, secret=SECRET_KEY, token=OTHER.token), "does not match"),
        (lambda: signed(key=OTHER.access_key, secret=OTHER.secret_key, token=FORGED), "security token"),
        (lambda: signed(service="ecs"), "scoped to us-east-1/execute-api, not to us-east-1/ecs"),
        (lambda: signed(region="eu-west-1"), "not to eu-west-1"),
        (lambda: changed(signed(), **{"x-amz-date": ""}), "X-Amz-Date"),
        (lambda: changed(signed(), **{"x-own": "b"}), "does not match"),
        (lambda: changed(signed(), host="elsewhere"), "does not match"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_signature(make: Callable[[], Request], message: str) -> None:
    request = make()  # here, not when tests are collected: a signature lasts five minutes
    with pytest.raises(SignatureError, match=message):
        verify(request, "us-east-1", now())


def test_another_body_or_path_than_was_signed() -> None:
    good = signed(method="POST", path="/live/x", body=b"1")
    for target, body in (("/live/y", b"1"), ("/live/x", b"2")):
        with pytest.raises(SignatureError, match="does not match"):
            verify(Request("POST", target, "", (), good.headers, body, ""), "us-east-1", now())


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_signature_lasts_five_minutes(minutes: int) -> None:
    with pytest.raises(SignatureError, match="expired"):
        verify(signed(), "us-east-1", now() + timedelta(minutes=minutes))
