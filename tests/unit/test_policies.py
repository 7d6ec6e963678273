"""A policy that the API takes is one that the sidecar takes, with the same values. Both planes read here."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import requests
from api.problems import Problem
from registry.domain.service import Declaration, ServiceRecord
from registry.domain.snapshot import service_document
from sidecar.core.routing.policy import Policy
from sidecar.core.snapshot import decode

SCHEMA = requests.schema("policy")
LEAST = 0.001  # seconds or percent; what is less is 0


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what a part of the schema allows, whole numbers as JSON may write them: 2 and 2.0."""
    match schema["type"]:
        case "object":
            return st.fixed_dictionaries(
                {}, optional={name: values(each) for name, each in schema["properties"].items()}
            )
        case "array":
            most = schema.get("maxItems", 6)
            return st.lists(values(schema["items"]), unique=True, min_size=schema.get("minItems", 0), max_size=most)
        case "boolean":
            return st.booleans()
        case "string" if "enum" in schema:
            return st.sampled_from(schema["enum"])
        case "string":
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "integer":
            whole = st.integers(schema["minimum"], schema["maximum"])
            return whole | whole.map(float)
    lowest, highest = schema["minimum"], schema["maximum"]
    whole = st.integers(max(1, int(lowest)), int(highest))
    smallest = st.just(lowest) | st.just(float(lowest))
    return smallest | whole | whole.map(float) | st.floats(max(lowest, LEAST), highest)


@given(values(SCHEMA))
def test_a_policy_that_the_api_takes_is_read_by_the_sidecar_as_it_was_meant(document: dict[str, Any]) -> None:
    taken = requests.policy(json.loads(json.dumps(document)))
    assert taken == document
    said = Declaration("orders:7", "http", ())
    service = service_document(ServiceRecord("orders", "127.254.0.2", (said,), policy=taken), (), 1)
    snapshot = {"schema": 1, "namespace": "shop.local", "revision": 1, "generated_at": "", "services": [service]}
    (record,) = decode(json.dumps(snapshot).encode(), "shop.local").services
    policy = msgspec.json.decode(record.policy, type=Policy)  # strict: an error is no default
    for group, fields in document.items():
        for field, value in fields.items():
            meant = tuple(value) if isinstance(value, list) else value
            assert getattr(getattr(policy, group), field) == meant, f"{group}.{field}"


def test_the_sidecar_knows_every_field_of_the_schema_and_no_other() -> None:
    known = {each.name: {field.name for field in msgspec.structs.fields(each.type)} for each in fields_of(Policy)}
    assert known == {name: set(group["properties"]) for name, group in SCHEMA["properties"].items()}


def fields_of(struct: Any) -> tuple[Any, ...]:
    return msgspec.structs.fields(struct)


@pytest.mark.parametrize(
    "policy",
    [
        {"timeouts": {"request_seconds": 1e-150}},
        {"timeouts": {"connect_seconds": 1e-150}},
        {"retries": {"budget_percent": 5e-324}},
        {"timeouts": {"idle_seconds": 1e300}},
        {"retries": {"count": 2.5}},
    ],
)
def test_numbers_have_bounds_that_the_table_and_the_sidecar_take(policy: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        requests.policy(policy)
    assert refused.value.status == 422
