"""The REST API: its routes are Chalice's, and only the health check is open."""

from __future__ import annotations

import re
from typing import Any

from api.app import app
from tests.support.control_plane import sam

OPEN = {("GET", "/v1/health")}


def events() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the API events of the template by method and path."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, event in sam.read()["Resources"]["Api"]["Properties"]["Events"].items():
        assert event["Type"] == "Api", name
        properties = event["Properties"]
        route = (properties["Method"], properties["Path"])
        assert route not in found, f"{name}: {route} is there twice"
        assert properties["RestApiId"] == {"Ref": "RestApi"}
        found[route] = properties
    return found


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the operations that the transform makes of them, by method and path."""
    paths = sam.resources("AWS::ApiGateway::RestApi")["RestApi"]["Body"]["paths"]
    return {
        (method.upper(), path): operation for path, methods in paths.items() for method, operation in methods.items()
    }


def test_the_routes_are_chalices() -> None:
    routes = {(method, path) for path, methods in app.routes.items() for method in methods}
    assert events().keys() == routes
    assert operations().keys() == routes


def test_every_route_but_the_health_check_needs_a_signature() -> None:
    for route, operation in operations().items():
        (requirement,) = operation["security"]
        assert list(requirement) == (["NONE"] if route in OPEN else ["AWS_IAM"]), route


def test_chalice_says_the_same_of_its_routes() -> None:
    guarded = {
        (method, path)
        for path, methods in app.routes.items()
        for method, entry in methods.items()
        if entry.authorizer is not None
    }
    assert guarded == events().keys() - OPEN


def test_the_gateway_calls_the_function_as_itself() -> None:
    for route, operation in operations().items():
        integration = operation["x-amazon-apigateway-integration"]
        assert integration["type"] == "aws_proxy", route
        assert "credentials" not in integration, route


def test_long_answers_are_compressed() -> None:
    assert sam.resources("AWS::ApiGateway::RestApi")["RestApi"]["MinimumCompressionSize"] == 1024


def test_the_function_may_answer_in_base64() -> None:
    body = sam.resources("AWS::ApiGateway::RestApi")["RestApi"]
    assert body["BinaryMediaTypes"] == ["*~1*"]  # CloudFormation's way to write */*


def test_there_is_one_stage_untraced_and_open_and_repeated_routes_have_limits() -> None:
    (stage,) = sam.resources("AWS::ApiGateway::Stage").values()
    assert stage["StageName"] == "live"
    assert not stage.get("TracingEnabled", False), "polls would be traced, for money"
    every, limited, reports = stage["MethodSettings"]
    assert every == {"HttpMethod": "*", "ResourcePath": "/*", "MetricsEnabled": True}, "metrics of each route by itself"
    assert (limited["HttpMethod"], re.sub("^/~1|~1", "/", limited["ResourcePath"])) in OPEN
    assert limited["ThrottlingRateLimit"] > 0
    route = (reports["HttpMethod"], re.sub("^/~1|~1", "/", reports["ResourcePath"]))
    assert route == ("POST", "/v1/namespaces/{namespace}/tasks/{task}/health")
    assert 0 < reports["ThrottlingRateLimit"] < 10_000, "API Gateway's quota of the whole account"
    assert limited["ThrottlingBurstLimit"] > 0


def test_the_url_for_sidecars_has_the_stage() -> None:
    _, own, (_, private, public) = unconditional(sam.expand()["Outputs"]["ApiUrl"]["Value"])
    assert own == {"Fn::Sub": "https://${DomainName}"}
    assert private["Fn::Sub"][0] == ("https://${RestApi}-${Endpoint}.execute-api.${AWS::Region}.${AWS::URLSuffix}/live")
    assert public == {"Fn::Sub": "https://${RestApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/live"}


def unconditional(value: Any) -> Any:
    """Return the parts of nested `Fn::If`: condition, value if it holds, value if not."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [unconditional(each) for each in value["Fn::If"]]
    return value
