"""The call PutMetricData: what is sent is what AWS's own SDK sends, and what each answer means."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config

from sidecar.credentials import TaskCredentials
from sidecar.telemetry.put_metric_data import ATTEMPTS, NotTakenError, PutMetricData, RefusedError
from tests.support.wire.fake_http import FakeHttp, given_credentials

DATUM: dict[str, Any] = {
    "MetricName": "RequestCount",
    "Unit": "Count",
    "Timestamp": 1_795_000_000,
    "Dimensions": [{"Name": "DiscoveryName", "Value": "web"}],
    "Values": [5.0, 0.25],
    "Counts": [1.0, 3.0],
}


@pytest.fixture
def cloudwatch() -> Iterator[FakeHttp]:
    with FakeHttp() as found:
        yield found


class Put:
    """The call, without its waits."""

    def __init__(self, url: str, credentials: TaskCredentials | None = None) -> None:
        self.waits: list[float] = []
        self.put = PutMetricData("eu-west-1", credentials or given_credentials(), url, self.waits.append)

    def __call__(self, *data: dict[str, Any]) -> None:
        self.put("Tramo", list(data))


@pytest.mark.parametrize("count", [1, 200])
def test_the_sdk_of_aws_sends_the_same(cloudwatch: FakeHttp, count: int) -> None:
    client: Any = boto3.client(
        "cloudwatch",
        region_name="eu-west-1",
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        aws_session_token="token",
        endpoint_url=cloudwatch.origin,
        config=Config(retries={"total_max_attempts": 1}),
    )
    moment = datetime.fromtimestamp(DATUM["Timestamp"], UTC)
    client.put_metric_data(Namespace="Tramo", MetricData=[DATUM | {"Timestamp": moment}] * count)
    Put(cloudwatch.origin)(*[DATUM] * count)
    (_, its_path, its_fields, its_body), (method, path, fields, body) = cloudwatch.requests
    assert (method, path) == ("POST", its_path)
    for name in ("content-type", "x-amz-target", "content-encoding", "x-amz-security-token"):
        assert fields.get(name) == its_fields.get(name), name
    scope = "/eu-west-1/monitoring/aws4_request"
    assert scope in fields["authorization"]
    assert scope in its_fields["authorization"]
    if fields.get("content-encoding") == "gzip":
        body, its_body = gzip.decompress(body), gzip.decompress(its_body)
    assert ("content-encoding" in fields) == (len(body) >= 10_240)
    assert json.loads(body) == json.loads(its_body)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "monitoring.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "monitoring.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "monitoring.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_usual_address_is_that_of_the_sdk(region: str, host: str) -> None:
    client: Any = boto3.client("cloudwatch", region_name=region)
    assert client.meta.endpoint_url == f"https://{host}"
    assert PutMetricData(region, given_credentials()).url == f"https://{host}/"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "com.amazonaws.cloudwatch#InvalidParameterValueException"),
        (400, "ValidationError"),
        (413, "RequestEntityTooLarge"),
        (413, ""),
    ],
)
def test_what_is_wrong_with_the_values_is_final(cloudwatch: FakeHttp, status: int, code: str) -> None:
    cloudwatch.status, cloudwatch.body = status, json.dumps({"__type": code, "message": "Values: no"}).encode()
    with pytest.raises(RefusedError, match=f"answered {status} .*: Values: no"):
        Put(cloudwatch.origin)(DATUM)
    assert len(cloudwatch.requests) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_json_does_not_have_is_final(cloudwatch: FakeHttp, value: float) -> None:
    with pytest.raises(RefusedError, match="not a number that JSON has"):
        Put(cloudwatch.origin)(DATUM | {"Values": [value]})
    assert cloudwatch.requests == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalServiceFault"), (503, ""), (429, ""), (400, "Throttling"), (400, "ThrottlingException")],
)
def test_what_may_succeed_soon_is_tried_again(cloudwatch: FakeHttp, status: int, code: str) -> None:
    cloudwatch.status, cloudwatch.body = status, json.dumps({"__type": code}).encode()
    put = Put(cloudwatch.origin)
    with pytest.raises(NotTakenError, match=f"answered {status} ") as raised:
        put(DATUM)
    assert not isinstance(raised.value, RefusedError)
    assert len(cloudwatch.requests) == ATTEMPTS
    assert [0.25 <= wait / number <= 0.5 for number, wait in enumerate(put.waits, 1)] == [True, True]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"__type": "AccessDenied", "Message": "not allowed"}', "AccessDenied .*not allowed; .*SidecarPolicyArn"),
        (b'{"__type": "ExpiredToken"}', "ExpiredToken"),
        (b"<html>a proxy's page</html>", "without a code .*a proxy's page"),
        (b"[]", "without a code"),
    ],
)
def test_what_another_attempt_does_not_change_waits_for_the_next_interval(
    cloudwatch: FakeHttp, body: bytes, said: str
) -> None:
    cloudwatch.status, cloudwatch.body = 403, body
    with pytest.raises(NotTakenError, match=said) as raised:
        Put(cloudwatch.origin)(DATUM)
    assert not isinstance(raised.value, RefusedError)
    assert len(cloudwatch.requests) == 1


def test_nobody_there_is_tried_again_and_said(cloudwatch: FakeHttp) -> None:
    put = Put("http://127.0.0.1:9")
    with pytest.raises(NotTakenError, match=r"http://127.0.0.1:9/ cannot be reached"):
        put(DATUM)
    assert len(put.waits) == ATTEMPTS - 1


def test_without_credentials_it_says_what_to_do(cloudwatch: FakeHttp) -> None:
    with pytest.raises(NotTakenError, match="the task needs a task role"):
        Put(cloudwatch.origin, given_credentials(None))(DATUM)
    assert cloudwatch.requests == []
