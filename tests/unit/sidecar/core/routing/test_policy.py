"""The knobs: their defaults are Service Connect's, and the API's schema knows them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.core.routing.policy import (
    ALL_FAILURES,
    DEFAULT,
    LOCAL_APP,
    CircuitBreaker,
    Http,
    Policy,
    Retries,
    of_local_app,
)
from tests.support.control_plane.schemas import check

SCHEMA = Path(__file__).parents[5] / "functions" / "registry" / "schemas" / "policy.json"


def test_defaults_are_those_of_service_connect() -> None:
    assert (DEFAULT.retries.count, DEFAULT.timeouts.request_seconds, DEFAULT.timeouts.idle_seconds) == (2, 15.0, 300.0)
    outliers = DEFAULT.outlier_detection
    assert (outliers.consecutive_failures, outliers.interval_seconds) == (5, 30.0)
    assert (outliers.base_ejection_seconds, outliers.max_ejection_seconds) == (30.0, 300.0)


def test_the_app_of_this_task_is_never_asked_twice_for_an_answer() -> None:
    assert not {"502", "503", "504"} & set(LOCAL_APP.retries.on)
    assert LOCAL_APP.timeouts.request_seconds == 0.0


def test_the_app_of_this_task_takes_whatever_its_callers_may_send() -> None:
    policy = Policy(
        circuit_breaker=CircuitBreaker(5000, 0, 1), http=Http(accept_http_10=True), retries=Retries(count=9)
    )
    found = of_local_app(policy)
    assert found.circuit_breaker == DEFAULT.circuit_breaker
    assert found.http == policy.http
    assert (found.retries, found.timeouts) == (LOCAL_APP.retries, LOCAL_APP.timeouts), "the callers' affair"
    assert of_local_app(DEFAULT) == LOCAL_APP


@pytest.mark.parametrize("retries", [Retries(count=0), Retries(on=("connect_failure", "503"))])
def test_what_shall_not_be_sent_twice_is_not_sent_twice_to_the_app_either(retries: Retries) -> None:
    assert of_local_app(Policy(retries=retries)).retries.on == ("connect_failure", "refused_stream")
    assert "reset" in of_local_app(DEFAULT).retries.on


def test_the_api_and_the_sidecar_know_the_same_fields() -> None:
    """What one lacks could be stored and do nothing, or be read and never be stored."""
    schema = json.loads(SCHEMA.read_text())
    taken = {(group, field) for group, rule in schema["properties"].items() for field in rule["properties"]}
    read = {
        (group, field) for group in DEFAULT.__struct_fields__ for field in getattr(DEFAULT, group).__struct_fields__
    }
    assert taken == read


def test_the_api_takes_every_default() -> None:
    check("policy", json.loads(msgspec.json.encode(DEFAULT)))


def test_what_the_api_takes_the_sidecar_understands() -> None:
    """Every field of the control plane's schema has the same type here, and is within the same bounds."""
    schema = json.loads(SCHEMA.read_text())
    for section, fields in schema["properties"].items():
        for name, rule in fields["properties"].items():
            for value in _samples(rule):
                document = json.dumps({section: {name: value}}).encode()
                policy = msgspec.json.decode(document, type=Policy)
                found = getattr(getattr(policy, section), name)
                assert (list(found) if isinstance(found, tuple) else found) == value


def _samples(rule: dict[str, Any]) -> list[Any]:
    if "enum" in rule:
        return list(rule["enum"])
    if rule["type"] == "boolean":
        return [True, False]
    if rule["type"] == "string":
        return ["/", "/health?deep=1"] if "/" in rule["pattern"] else ["", "shop.Orders"]
    if rule["type"] == "array" and rule["items"]["type"] == "integer":
        return [[rule["items"]["minimum"]], [204, rule["items"]["maximum"]]]
    if rule["type"] == "array":
        assert set(rule["items"]["enum"]) == set(ALL_FAILURES)
        return [[], list(rule["items"]["enum"])]
    return [rule["minimum"], rule["maximum"]]


@pytest.mark.parametrize(
    "document",
    [
        b'{"retries": {"count": -1}}',
        b'{"retries": {"budget_percent": 101}}',
        b'{"timeouts": {"request_seconds": -0.1}}',
        b'{"timeouts": {"connect_seconds": 1e9}}',
        b'{"load_balancing": {"algorithm": "best"}}',
        b'{"outlier_detection": {"max_ejection_percent": 200}}',
        b'{"circuit_breaker": {"max_requests": 1.5}}',
        b'{"health_check": {"protocol": "udp"}}',
        b'{"health_check": {"path": "health"}}',
        b'{"health_check": {"path": "/a b"}}',
        b'{"health_check": {"path": "/\\r\\nx: y"}}',
        b'{"health_check": {"path": "/\\n"}}',
        b'{"health_check": {"statuses": []}}',
        b'{"health_check": {"statuses": [101]}}',
        b'{"health_check": {"interval_seconds": 0}}',
        b'{"health_check": {"grpc_service": "a b"}}',
    ],
)
def test_senseless_values_are_refused(document: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(document, type=Policy)
