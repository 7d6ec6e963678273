"""Events of an HTTP API in payload format 1.0, which Chalice serves. docs/aws.md says why there is no HTTP API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from api.app import handler


@dataclass(frozen=True, slots=True)
class Context:
    """What the handler uses of Lambda's context."""

    function_name: str = "api"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:api"
    aws_request_id: str = "r-1"


def event(method: str, resource: str, path: str, body: str | None = None, **parameters: str) -> dict[str, Any]:
    """Return an event as "Working with AWS Lambda proxy integrations for HTTP APIs" has it."""
    headers = {"content-type": "application/json", "host": "a1b2c3.execute-api.us-east-1.amazonaws.com"}
    return {
        "version": "1.0",
        "resource": resource,
        "path": f"/live{path}",
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3",
            "authorizer": {"claims": None, "scopes": None},
            "domainName": "a1b2c3.execute-api.us-east-1.amazonaws.com",
            "httpMethod": method,
            "identity": {"sourceIp": "192.0.2.1", "userArn": None},
            "path": f"/live{path}",
            "protocol": "HTTP/1.1",
            "requestId": "r-1",
            "resourceId": f"{method} {resource}",
            "resourcePath": resource,
            "stage": "live",
        },
        "pathParameters": parameters or None,
        "stageVariables": None,
        "body": body,
        "isBase64Encoded": False,
    }


POLICY = "/v1/namespaces/{namespace}/services/{service}/policy"
REQUESTS = [
    (event("GET", "/v1/health", "/v1/health"), 200),
    (
        event(
            *("PUT", POLICY, "/v1/namespaces/shop.local/services/orders/policy", "{"),
            namespace="shop.local",
            service="orders",
        ),
        400,
    ),
]


@pytest.mark.parametrize(("request_", "status"), REQUESTS, ids=["health", "policy"])
def test_payload_1_0_is_served_as_a_rest_api_s_event(request_: dict[str, Any], status: int) -> None:
    answer = handler(request_, Context())
    assert answer["statusCode"] == status, answer["body"]
    assert isinstance(json.loads(answer["body"]), dict)
    assert answer["headers"]["Tramo-Mesh"]
    assert not answer.get("isBase64Encoded", False)
