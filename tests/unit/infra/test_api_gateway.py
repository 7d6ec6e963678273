from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.local.api_gateway import ApiGateway, Router, render
from infra.local.httpserver import Request, Response
from infra.local.settings import ACCESS_KEY, SECRET_KEY
from infra.local.template import Route
from tests.support.control_plane.functions import FakeFunction, spec

ROUTES = (
    Route("GET", "/v1/health", True),
    Route("GET", "/v1/namespaces/{namespace}/services/{service}", False),
    Route("GET", "/v1/namespaces/{namespace}/services/all", False),
    Route("PUT", "/v1/namespaces/{namespace}/services/{service}", False),
)


def request(
    method: str, target: str, headers: dict[str, str] | None = None, *, sign: bool = True, body: bytes = b""
) -> Request:
    path, _, query = target.partition("?")
    pairs = {"host": "h", **(headers or {})}
    if sign:
        made = AWSRequest(method, f"http://h{target}", data=body)
        SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "execute-api", "us-east-1").add_auth(made)
        pairs |= {name.lower(): value for name, value in made.headers.items()}
    parameters = tuple(tuple(pair.split("=", 1)) for pair in query.split("&") if pair)
    return Request(method, target, path, parameters, tuple(pairs.items()), body, "10.0.0.1")  # type: ignore[arg-type]


def call(sent: Request, answer: Any = None, failures: int = 0) -> tuple[Response, list[Any]]:
    function = FakeFunction(spec(routes=ROUTES), lambda _: answer or {"statusCode": 200, "body": "ok"}, failures)
    gateway = ApiGateway(function, stage="live", region="us-east-1", minimum_compression_size=100)
    return asyncio.run(gateway.handle(sent)), function.events


def test_routes() -> None:
    router = Router(ROUTES)
    found = router.find("GET", "/v1/namespaces/a%2Fb/services/orders")
    assert found is not None
    assert dict(found.parameters) == {"namespace": "a/b", "service": "orders"}
    fixed = router.find("GET", "/v1/namespaces/a/services/all")
    assert fixed is not None
    assert fixed.route.path.endswith("/all")
    assert router.find("POST", "/v1/health") is None
    assert router.find("GET", "/v1/namespaces/a/services/b/c") is None


def test_the_event_is_that_of_a_proxy_integration() -> None:
    target = "/live/v1/namespaces/shop.local/services/orders?a=1&a=2"
    answer, [event] = call(request("PUT", target, {"if-match": '"4"'}, body=b'{"x": 1}'))
    assert answer.status == 200
    assert event["resource"] == "/v1/namespaces/{namespace}/services/{service}"
    assert event["path"] == "/v1/namespaces/shop.local/services/orders"
    assert event["pathParameters"] == {"namespace": "shop.local", "service": "orders"}
    assert event["queryStringParameters"] == {"a": "2"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["headers"]["If-Match"] == '"4"'
    assert event["multiValueHeaders"]["If-Match"] == ['"4"']
    assert event["body"] == '{"x": 1}'
    context = event["requestContext"]
    assert context["resourcePath"] == event["resource"]
    assert (context["httpMethod"], context["stage"]) == ("PUT", "live")
    assert context["path"] == "/live" + event["path"]
    assert context["identity"]["accessKey"] == ACCESS_KEY
    assert context["identity"]["userArn"] == "arn:aws:iam::123456789012:user/local"
    assert context["identity"]["sourceIp"] == "10.0.0.1"


def test_what_is_open_needs_no_signature_and_the_rest_does() -> None:
    assert call(request("GET", "/live/v1/health", sign=False))[0].status == 200
    answer, events = call(request("GET", "/live/v1/namespaces/a/services/b", sign=False))
    assert (answer.status, json.loads(answer.body)) == (403, {"message": "Missing Authentication Token"})
    assert events == []


@pytest.mark.parametrize("target", ["/v1/health", "/live/v2/health", "/live", "/other/v1/health"])
def test_no_route(target: str) -> None:
    assert call(request("GET", target))[0].status == 403


@pytest.mark.parametrize("result", [{"statusCode": "200"}, {"body": "x"}, ["x"], "text"])
def test_a_result_that_is_no_answer(result: Any) -> None:
    answer, _ = call(request("GET", "/live/v1/health"), result)
    assert (answer.status, json.loads(answer.body)) == (502, {"message": "Internal server error"})


def test_a_function_that_fails() -> None:
    assert call(request("GET", "/live/v1/health"), failures=1)[0].status == 502


def test_large_answers_are_compressed_for_those_who_accept_it() -> None:
    large = {"statusCode": 200, "headers": {"ETag": '"1"'}, "body": "x" * 100}
    answer, _ = call(request("GET", "/live/v1/health", {"accept-encoding": "gzip, br"}), large)
    assert ("Content-Encoding", "gzip") in answer.headers
    assert gzip.decompress(answer.body) == b"x" * 100
    assert call(request("GET", "/live/v1/health"), large)[0].body == b"x" * 100
    small = {"statusCode": 200, "body": "x" * 99}
    assert call(request("GET", "/live/v1/health", {"accept-encoding": "gzip"}), small)[0].body == b"x" * 99


def test_headers_and_binary_bodies() -> None:
    result = {
        "statusCode": 304,
        "headers": {"ETag": '"1"', "Content-Length": "7"},
        "multiValueHeaders": {"A": ["1", "2"]},
        "body": base64.b64encode(b"\x00").decode(),
        "isBase64Encoded": True,
    }
    answer = render(result, accepts_gzip=True, minimum_compression_size=0)
    assert answer.headers[:3] == (("ETag", '"1"'), ("A", "1"), ("A", "2"))
    assert render(result, accepts_gzip=False, minimum_compression_size=0).body == b"\x00"


def test_away_and_back() -> None:
    async def main() -> None:
        gateway = ApiGateway(
            FakeFunction(spec(routes=ROUTES), lambda _: {"statusCode": 200, "body": "ok"}),
            stage="live",
            region="us-east-1",
            minimum_compression_size=None,
        )
        await gateway.back()
        url = gateway.url
        port = int(url.rpartition(":")[2].partition("/")[0])
        await gateway.away()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await gateway.back()
        assert gateway.url == url
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /live/v1/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"ok")
        writer.close()
        await writer.wait_closed()
        await gateway.away()

    asyncio.run(main())
