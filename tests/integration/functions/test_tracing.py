"""Traces of the functions: one subsegment for each call of DynamoDB, below the function's own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.control_plane import aws

ROOT: Final = Path(__file__).parents[3]
TRACE: Final = "1-67891233-abcdef012345678912345678"
FUNCTION: Final = "53995c3f42cd8ad8"
CALL: Final = """
import json, sys
from types import SimpleNamespace
from botocore.httpsession import URLLib3Session

calls, send = [], URLLib3Session.send
def counted(self, request):
    calls.append(request.headers["X-Amz-Target"].decode().rpartition(".")[2])
    return send(self, request)
URLLib3Session.send = counted  # what leaves the process, however it is made

from api.app import handler
context = SimpleNamespace(function_name="api", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="r")
answer = handler(json.load(sys.stdin), context)
print(json.dumps({"status": answer["statusCode"], "calls": calls}))
"""


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    """A UDP socket in place of the X-Ray daemon's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        found.setblocking(False)
        yield found


def received(daemon: socket.socket) -> list[dict[str, Any]]:
    """All segments that were sent; on loopback they are here once they are sent."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            header, _, body = daemon.recv(65_536).partition(b"\n")
        except BlockingIOError:
            return found
        assert json.loads(header) == {"format": "json", "version": 1}
        found.append(json.loads(body))


def call(dynamodb_endpoint: str, daemon: socket.socket, resource: str, **parameters: str) -> dict[str, Any]:
    """Call the API's handler in a process that looks like Lambda to the tracer."""
    event = {
        "resource": resource,
        "path": resource.format(**parameters),
        "httpMethod": "GET",
        "headers": {},
        "multiValueQueryStringParameters": None,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {"requestId": "r-1", "resourcePath": resource, "httpMethod": "GET"},
        "body": None,
        "isBase64Encoded": False,
    }
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_endpoint,
        "TRAMO_TABLE": aws.create_table(dynamodb_endpoint),
        "LAMBDA_TASK_ROOT": str(ROOT / "functions"),
        "AWS_XRAY_DAEMON_ADDRESS": "{}:{}".format(*daemon.getsockname()),
        "_X_AMZN_TRACE_ID": f"Root={TRACE};Parent={FUNCTION};Sampled=1",
        "PYTHONPATH": str(ROOT / "functions"),
    }
    del environment["POWERTOOLS_TRACE_DISABLED"]
    command = [sys.executable, "-c", CALL]
    done = subprocess.run(
        command, env=environment, input=json.dumps(event), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("resource", "parameters", "status"),
    [
        ("/v1/namespaces", {}, 200),
        ("/v1/namespaces/{namespace}/services/{service}", {"namespace": "shop.local", "service": "orders"}, 404),
        ("/v1/namespaces/{namespace}/snapshot", {"namespace": "shop.local"}, 404),
    ],
)
def test_one_subsegment_for_each_call_of_dynamodb(
    dynamodb_endpoint: str, daemon: socket.socket, resource: str, parameters: dict[str, str], status: int
) -> None:
    answer = call(dynamodb_endpoint, daemon, resource, **parameters)
    assert answer["status"] == status
    assert answer["calls"], "something was read"
    segments = received(daemon)
    assert {each["trace_id"] for each in segments} == {TRACE}
    (own,) = [each for each in segments if each["name"] == "## handler"]
    assert own["parent_id"] == FUNCTION
    calls = [each for each in segments if each["name"] == "dynamodb"]
    assert [each["aws"]["operation"] for each in calls] == answer["calls"]
    assert {each["parent_id"] for each in calls} == {own["id"]}
    assert not any(each.get("subsegments") for each in calls)
    assert len(segments) == len(calls) + 1
