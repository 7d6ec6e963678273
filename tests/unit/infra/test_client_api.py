"""The client of the mesh's API against the local API Gateway, which checks its signature."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from infra.cli.services import allow, forget, list_endpoints, list_services, refused_claims
from infra.client.api import ApiError, MeshApi
from infra.client.signature import Credentials
from infra.local.api_gateway import ApiGateway
from infra.local.settings import LocalError
from infra.local.template import load
from tests.support.control_plane.functions import FakeFunction, spec

ENDPOINT = {"id": "t/orders", "address": "127.4.0.1", "port": 15100, "state": "ready"}


OWNER = "arn:aws:ecs:us-east-1:123456789012:service/shop/orders"
THIEF = "arn:aws:ecs:us-east-1:123456789012:service/sandbox/evil"
REFUSED = {"claimant": THIEF, "task_definition": "evil:1", "reason": f"the name belongs to {OWNER}", "at": "…"}


def service(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "protocol": "http",
        "vip": "127.254.0.2",
        "revision": 4,
        "aliases": [{"dns_name": name, "port": 80}],
        "endpoints": {"ready": 2, "draining": 1},
        "refused": [REFUSED] if name == "orders" else [],
    }


def answer(event: Any) -> dict[str, Any]:
    def ok(body: object) -> dict[str, Any]:
        return {"statusCode": 200, "body": json.dumps(body), "headers": {"Content-Type": "application/json"}}

    parameters = {name: unquote(value) for name, value in (event["pathParameters"] or {}).items()}
    match event["resource"]:
        case "/v1/namespaces":
            return ok({"namespaces": [{"name": "shop.local"}, {"name": "other.local"}, {"name": "clients.local"}]})
        case "/v1/namespaces/{namespace}/services" if parameters["namespace"] != "clients.local":
            if parameters["namespace"] != "shop.local":
                return ok({"services": [], "next": None})
            if (event["queryStringParameters"] or {}).get("next") == "cache":
                return ok({"services": [service("orders")], "next": None})
            return ok({"services": [service("cache")] * 30, "next": "cache"})
        case "/v1/namespaces/{namespace}/services/{service}/owners":
            if parameters == {"namespace": "shop.local", "service": "orders"}:
                tag = {"ETag": '"ab-4"'}
                if event["httpMethod"] == "PUT" and event["headers"].get("If-Match") != tag["ETag"]:
                    return {"statusCode": 412, "body": json.dumps({"detail": "somebody was quicker"})}
                body = event["body"]
                if body is not None and event["isBase64Encoded"]:
                    body = base64.b64decode(body)
                allowed = [] if not body else json.loads(body)["allowed"]
                answered = ok({"owners": [OWNER], "allowed": allowed, "refused": [REFUSED]})
                return {**answered, "headers": answered["headers"] | tag}
        case "/v1/namespaces/{namespace}/services/{service}" if event["httpMethod"] == "DELETE":
            if parameters == {"namespace": "shop.local", "service": "orders"}:
                return {"statusCode": 204, "body": "", "headers": {}}
        case "/v1/namespaces/{namespace}/services/{service}":
            if parameters == {"namespace": "shop.local", "service": "orders"}:
                return ok({**service("orders"), "endpoints": [ENDPOINT]})
    return {"statusCode": 404, "body": json.dumps({"title": "unknown-service", "detail": "there is no such service"})}


def run(use: Callable[[str], None]) -> None:
    async def main() -> None:
        routes = next(function.routes for function in load().functions if function.routes)
        gateway = ApiGateway(
            FakeFunction(spec(routes=routes), answer), stage="live", region="us-east-1", minimum_compression_size=100
        )
        await gateway.back()
        try:
            await asyncio.to_thread(use, gateway.url)
        finally:
            await gateway.away()

    asyncio.run(main())


def test_services_of_all_pages_and_namespaces() -> None:
    def use(url: str) -> None:
        api = MeshApi.local(url, "us-east-1")
        rows = list_services(api, api.namespaces())
        assert [row["name"] for row in rows] == ["cache"] * 30 + ["orders"]
        assert (rows[-1]["ready"], rows[-1]["endpoints"], rows[-1]["aliases"]) == (2, 3, ["orders:80"])

    run(use)


def test_a_refused_claim_is_shown_with_both_sides_and_allowed_by_the_operators_word() -> None:
    def use(url: str) -> None:
        api = MeshApi.local(url, "us-east-1")
        (line,) = refused_claims(list_services(api, api.namespaces()))
        assert line == (
            f"shop.local: {THIEF} (evil:1) may not offer orders: the name belongs to {OWNER}; "
            f"if it shall: tramo services allow orders {THIEF}"
        )
        (row,) = allow(api, api.namespaces(), "orders", THIEF)
        assert row == {"namespace": "shop.local", "name": "orders", "owners": [OWNER], "allowed": [THIEF]}
        with pytest.raises(ApiError, match="somebody was quicker"):
            api.allow("shop.local", "orders", [], '"ab-3"')
        with pytest.raises(LocalError, match="service 'none' is in no namespace"):
            allow(api, api.namespaces(), "none", THIEF)

    run(use)


def test_a_service_is_forgotten_wherever_it_is() -> None:
    def use(url: str) -> None:
        api = MeshApi.local(url, "us-east-1")
        (row,) = forget(api, api.namespaces(), "orders")
        assert row == {"namespace": "shop.local", "name": "orders", "owners": [OWNER], "allowed": []}
        with pytest.raises(LocalError, match="service 'none' is in no namespace"):
            forget(api, api.namespaces(), "none")

    run(use)


def test_endpoints_wherever_the_service_is() -> None:
    def use(url: str) -> None:
        api = MeshApi.local(url, "us-east-1")
        assert list_endpoints(api, api.namespaces(), "orders") == [{"namespace": "shop.local", **ENDPOINT}]
        with pytest.raises(LocalError, match="there is no service ordes; did you mean orders"):
            list_endpoints(api, api.namespaces(), "ordes")

    run(use)


def test_a_namespace_that_only_clients_have_joined_has_no_services() -> None:
    def use(url: str) -> None:
        assert list(MeshApi.local(url, "us-east-1").services("clients.local")) == []

    run(use)


def test_a_refusal_is_told() -> None:
    def use(url: str) -> None:
        with pytest.raises(ApiError, match="403: The security token") as caught:
            MeshApi(url, "us-east-1", Credentials("AKIDOTHER", "x")).namespaces()
        assert caught.value.status == 403

    run(use)


def test_nobody_there() -> None:
    with pytest.raises(ApiError, match=r"cannot be reached.*from its VPC only"):
        MeshApi.local("http://127.0.0.1:9/live", "us-east-1").namespaces()


def test_credentials_and_region_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ApiError, match="no AWS credentials"):
        MeshApi.aws("https://x.execute-api.eu-west-1.amazonaws.com/live", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    MeshApi.aws("https://x.execute-api.eu-west-1.amazonaws.com/live", None)
    with pytest.raises(ApiError, match="region"):
        MeshApi.aws("https://mesh.example.org/live", None)
    with pytest.raises(ApiError, match="https://"):
        MeshApi.local("ftp://x", "us-east-1")
