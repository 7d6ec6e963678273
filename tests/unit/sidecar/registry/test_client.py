"""The API's client against a server that answers as written down."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from botocore.exceptions import CredentialRetrievalError

from sidecar.aws_calls import MAX_SENT_BYTES
from sidecar.core.findings import app_refuses
from sidecar.registry.client import CallError, NamespaceUnknownError, RegistryClient
from tests.support.wire.fake_http import FakeHttp, given_credentials


class FakeApi(FakeHttp):
    """The API behind a stage."""

    @property
    def url(self) -> str:
        return f"{self.origin}/prod"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as found:
        yield found


def client(url: str) -> RegistryClient:
    return RegistryClient(url, "shop.local", "eu-west-1", given_credentials())


def test_a_snapshot(api: FakeApi) -> None:
    api.fields = {"ETag": '"42"', "Tramo-Poll-Seconds": "7.5"}
    answer = client(api.url).fetch("", None)
    assert (answer.body, answer.etag, answer.poll_seconds) == (b"{}", '"42"', 7.5)
    method, path, fields, _ = api.requests[0]
    assert (method, path) == ("GET", "/prod/v1/namespaces/shop.local/snapshot")
    assert fields["accept-encoding"] == "gzip"
    assert "if-none-match" not in fields


@pytest.mark.parametrize("status", [200, 404])
def test_the_mesh_that_an_answer_names_is_told(api: FakeApi, status: int) -> None:
    api.status, api.fields = status, {"Tramo-Mesh": "blue"}
    told: list[str] = []
    of_blue = RegistryClient(api.url, "shop.local", "eu-west-1", given_credentials(), told.append)
    with suppress(NamespaceUnknownError):
        of_blue.fetch("", None)
    of_blue.report_health("aa", "UNKNOWN", "", False, [])
    assert told == ["blue", "blue"]


def test_requests_are_signed_for_the_api(api: FakeApi) -> None:
    client(api.url).fetch('"a1-42"', "a1-42")
    _, path, fields, _ = api.requests[0]
    assert path.endswith("/snapshot?since=a1-42")
    assert fields["if-none-match"] == '"a1-42"'
    assert fields["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert "/eu-west-1/execute-api/aws4_request" in fields["authorization"]
    assert fields["x-amz-security-token"] == "token"


def test_nothing_new(api: FakeApi) -> None:
    api.status = 304
    api.fields = {"Tramo-Poll-Seconds": "9"}
    answer = client(api.url).fetch('"a1-42"', "a1-42")
    assert (answer.body, answer.etag, answer.poll_seconds) == (None, '"a1-42"', 9.0)


def test_gzip(api: FakeApi) -> None:
    api.fields = {"Content-Encoding": "gzip"}
    api.body = gzip.compress(b'{"a": 1}')
    assert client(api.url).fetch("", None).body == b'{"a": 1}'
    for broken in (b"no gzip at all", gzip.compress(b'{"a": 1}')[:-1]):
        api.body = broken
        with pytest.raises(CallError, match="gzip"):
            client(api.url).fetch("", None)


def test_an_answer_that_would_fill_the_memory_is_not_read(api: FakeApi) -> None:
    api.body = bytes(MAX_SENT_BYTES + 1)
    found = client(api.url)
    with pytest.raises(CallError, match="longer than"):
        found.fetch("", None)
    api.fields = {"Content-Encoding": "gzip"}
    api.body = gzip.compress(bytes(64 << 20))
    assert len(api.body) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(CallError, match="longer than"):
            found.fetch("", None)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    api.body = gzip.compress(b"{}")
    assert found.fetch("", None).body == b"{}", "and the next one is"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), ("0", 0.1), ("-1", 0.1), ("1e9", 3600.0), ("nan", None), ("inf", None), ("x", None), ("", None)],
)
def test_only_sensible_intervals_are_taken(api: FakeApi, value: str, seconds: float | None) -> None:
    api.fields = {"Tramo-Poll-Seconds": value}
    assert client(api.url).fetch("", None).poll_seconds == seconds


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "AWS_REGION"), (403, "SidecarPolicyArn"), (500, "Api function's log")]
)
def test_refusals_say_what_to_look_at(api: FakeApi, status: int, hint: str) -> None:
    api.status = status
    with pytest.raises(CallError, match=hint):
        client(api.url).fetch("", None)


def test_an_api_that_the_vpc_hides_is_told_from_a_role_that_may_not_call(api: FakeApi) -> None:
    api.status, api.fields = 403, {"x-amzn-ErrorType": "ForbiddenException"}
    with pytest.raises(CallError, match=r"private DNS.*VpcEndpointIds"):
        client(api.url).fetch("", None)
    api.fields = {"x-amzn-ErrorType": "AccessDeniedException"}
    with pytest.raises(CallError, match="SidecarPolicyArn"):
        client(api.url).fetch("", None)


def test_an_unknown_namespace_is_told_apart(api: FakeApi) -> None:
    api.status = 404
    with pytest.raises(NamespaceUnknownError):
        client(api.url).fetch("", None)


def test_an_api_that_is_not_there() -> None:
    with pytest.raises(CallError, match=r"cannot be reached.*it needs NAT, or the stack VpcEndpointIds"):
        client("http://127.0.0.1:1").fetch("", None)


def test_findings_go_with_the_health(api: FakeApi) -> None:
    finding = app_refuses("orders", "127.0.0.1", 8080)
    assert client(api.url).report_health("a1", "HEALTHY", "", False, [finding])
    assert json.loads(api.requests[0][3]) == {"status": "HEALTHY", "findings": [finding.document()]}
    assert set(finding.document()) == {"code", "level", "where", "what", "remedy"}


def test_an_api_that_takes_no_findings_hears_of_the_health(api: FakeApi) -> None:
    api.status = 422
    with pytest.raises(CallError):
        client(api.url).report_health("a1", "HEALTHY", "", False, [])
    assert [json.loads(body) for _, _, _, body in api.requests] == [
        {"status": "HEALTHY", "findings": []},
        {"status": "HEALTHY"},
    ]


@pytest.mark.parametrize("credentials", [None, CredentialRetrievalError(provider="role", error_msg="away")])
def test_without_credentials(api: FakeApi, credentials: Exception | None) -> None:
    found = RegistryClient(api.url, "shop.local", "eu-west-1", given_credentials(credentials))
    with pytest.raises(CallError, match="no AWS credentials"):
        found.fetch("", None)
    assert api.requests == []


def test_health_reports(api: FakeApi) -> None:
    assert client(api.url).report_health("a1/b", "HEALTHY", "2026-11-22T12:00:00Z", False)
    method, path, fields, body = api.requests[0]
    assert (method, path) == ("POST", "/prod/v1/namespaces/shop.local/tasks/a1%2Fb/health")
    assert json.loads(body) == {"status": "HEALTHY", "observed_at": "2026-11-22T12:00:00Z"}
    assert fields["content-type"] == "application/json"
    client(api.url).report_health("a1", "UNHEALTHY", "", True)
    assert json.loads(api.requests[1][3]) == {"status": "UNHEALTHY", "desired_status": "STOPPED"}
    api.status = 404
    assert not client(api.url).report_health("a1", "HEALTHY", "", False)
    api.status = 500
    with pytest.raises(CallError):
        client(api.url).report_health("a1", "HEALTHY", "", False)
