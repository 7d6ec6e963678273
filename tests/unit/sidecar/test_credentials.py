"""The credentials that calls are signed with: where they are found, and that they are renewed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.credentials import Credentials
from botocore.utils import ContainerMetadataFetcher

from sidecar.credentials import CredentialsError, TaskCredentials
from tests.support.wire.answer_server import AnswerServer, Request, Response
from tests.support.wire.fake_http import KEYS, FakeHttp

FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    FULL_URI,
    RELATIVE_URI,
)


@pytest.fixture(autouse=True)
def of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials: not of this process, of this user, nor of this machine; and no waits between attempts."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)


@pytest.fixture
def endpoint() -> Iterator[FakeHttp]:
    with FakeHttp() as found:
        yield found


def answer(key: str, *, minutes: float = 360) -> bytes:
    """Return what the endpoint says of a role's credentials that are valid for so long."""
    expiration = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {"AccessKeyId": key, "SecretAccessKey": "secret", "Token": "token", "Expiration": expiration}
    return json.dumps(found).encode()


def key() -> str | None:
    return TaskCredentials().current().access_key


def test_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OURS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert TaskCredentials().current()[:3] == ("OURS", "secret", "token")


def test_a_key_without_its_secret_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OURS")
    with pytest.raises(CredentialsError, match=r"no AWS credentials: .*AWS_SECRET_ACCESS_KEY"):
        key()


def test_of_the_task_role(monkeypatch: pytest.MonkeyPatch, endpoint: FakeHttp) -> None:
    monkeypatch.setattr(ContainerMetadataFetcher, "IP_ADDRESS", endpoint.origin.removeprefix("http://"))
    monkeypatch.setenv(RELATIVE_URI, "/v2/credentials/1")
    endpoint.body = answer("ROLE")
    assert TaskCredentials().current()[:3] == ("ROLE", "secret", "token")
    assert [request.target for request in endpoint.requests] == ["/v2/credentials/1"]


def test_they_are_fetched_once_while_they_are_valid(monkeypatch: pytest.MonkeyPatch, endpoint: FakeHttp) -> None:
    monkeypatch.setenv(FULL_URI, f"{endpoint.origin}/role")
    endpoint.body = answer("ROLE")
    credentials = TaskCredentials()
    assert [credentials.current().access_key for _ in range(3)] == ["ROLE"] * 3
    assert len(endpoint.requests) == 1


def test_they_are_fetched_anew_before_they_expire(monkeypatch: pytest.MonkeyPatch, endpoint: FakeHttp) -> None:
    monkeypatch.setenv(FULL_URI, f"{endpoint.origin}/role")
    credentials = TaskCredentials()
    endpoint.body = answer("FIRST", minutes=5)
    assert credentials.current().access_key == "FIRST"
    endpoint.body = answer("SECOND")
    assert credentials.current().access_key == "SECOND"


def test_an_endpoint_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch, endpoint: FakeHttp) -> None:
    monkeypatch.setenv(FULL_URI, f"{endpoint.origin}/role")
    credentials = TaskCredentials()
    endpoint.status, endpoint.body = 503, b"later"
    with pytest.raises(CredentialsError, match=r"no AWS credentials: .*503"):
        credentials.current()
    endpoint.status, endpoint.body = 200, answer("FIRST", minutes=5)
    assert credentials.current().access_key == "FIRST"
    endpoint.status, endpoint.body = 503, b"later"
    with pytest.raises(CredentialsError, match=r"no AWS credentials: .*503"):
        credentials.current()
    endpoint.status, endpoint.body = 200, answer("SECOND")
    assert credentials.current().access_key == "SECOND"


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"{}", "AccessKeyId"), (b"[]", "list indices"), (answer("K").replace(b"Z", b"?"), "?"), (b"<p>", "parse JSON")],
)
def test_an_answer_amiss_is_said(monkeypatch: pytest.MonkeyPatch, endpoint: FakeHttp, body: bytes, said: str) -> None:
    monkeypatch.setenv(FULL_URI, f"{endpoint.origin}/role")
    endpoint.body = body
    with pytest.raises(CredentialsError) as raised:
        key()
    assert said in str(raised.value)


def test_an_endpoint_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FULL_URI, "http://example.com/role")
    with pytest.raises(CredentialsError, match=r"no AWS credentials: Unsupported host .example\.com."):
        key()


def test_of_nobody_it_says_what_to_do() -> None:
    with pytest.raises(CredentialsError, match=r"no AWS credentials: the task needs a task role"):
        key()


def test_they_are_looked_for_until_there_are_some() -> None:
    found: list[Credentials | None] = [None, KEYS]
    credentials = TaskCredentials(lambda: found.pop(0))
    with pytest.raises(CredentialsError):
        credentials.current()
    assert [credentials.current().access_key for _ in range(2)] == [KEYS.access_key] * 2


@pytest.mark.parametrize("by_name", [True, False])
def test_a_profile_comes_before_the_task_role(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_name: bool) -> None:
    monkeypatch.setenv(FULL_URI, "http://127.0.0.1:9/role")
    file = tmp_path / ("keys" if by_name else ".aws/credentials")
    file.parent.mkdir(exist_ok=True)
    file.write_text("[default]\naws_access_key_id = PROFILE\naws_secret_access_key = secret\n")
    if by_name:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert key() == "PROFILE"


def test_of_the_role_of_an_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    def instance(request: Request) -> Response:
        if request.target.endswith("/security-credentials/"):
            return Response(body=b"the-role")
        return Response(body=b"token" if request.method == "PUT" else answer("INSTANCE"))

    with AnswerServer(instance) as metadata:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.origin)
        assert key() == "INSTANCE"
