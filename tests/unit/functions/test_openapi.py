from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import app
from api.openapi import describe


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return describe(app.routes)


def test_the_description_is_valid_openapi(description: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(description).validate()


def test_every_route_is_described(description: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, each in description["paths"].items() for method in each}
    assert described == {(method, path) for path, each in app.routes.items() for method in each}


def test_operations_have_names_summaries_and_their_paths_parameters(description: dict[str, Any]) -> None:
    names = []
    for path, methods in description["paths"].items():
        for operation in methods.values():
            names.append(operation["operationId"])
            assert operation["summary"].endswith(".")
            in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
    assert len(names) == len(set(names))


def test_only_health_is_open_to_all(description: dict[str, Any]) -> None:
    open_paths = [
        path
        for path, methods in description["paths"].items()
        for operation in methods.values()
        if operation["security"] == []
    ]
    assert open_paths == ["/v1/health"]


def test_the_snapshots_schema_came_along(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    assert schemas["Snapshot"]["properties"]["services"]["items"] == {"$ref": "#/components/schemas/service"}
    assert "$defs" not in schemas["Snapshot"]
