"""Keys of labels that nobody reads."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.unknown_keys import MOST_WARNINGS, UnknownKey, unknown_keys

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


def definition(*labels: dict[str, str]) -> dict[str, Any]:
    return {"containerDefinitions": [{"name": f"c{n}", "dockerLabels": each} for n, each in enumerate(labels)]}


def label(configuration: Any) -> dict[str, Any]:
    return definition({"tramo.service-connect": json.dumps(configuration)})


def test_a_label_that_is_nearly_ours_is_named() -> None:
    (found,) = unknown_keys(definition({"team": "a"}, {"tramo.service-conect": "{}", "tramo.sidecar": "true"}))
    assert found == UnknownKey("c1", "label tramo.service-conect", "tramo.service-connect")
    assert str(found) == (
        "container c1, label tramo.service-conect: this key is not known and does nothing; "
        "did you mean tramo.service-connect?"
    )


def test_unknown_fields_are_named_with_their_place() -> None:
    service = {
        "portName": "web",
        "clientAlias": [{"port": 80}],
        "clientAliases": [{"port": 80, "dnsname": "web"}],
        "timeout": {"idleTimeout": 1},
    }
    found = unknown_keys(label({"namespace": "a", "services": [service], "xyz": 1}))
    at = "label tramo.service-connect at $"
    assert [(each.path, each.meant) for each in found] == [
        (f"{at}.xyz", ""),
        (f"{at}.services[0].clientAlias", "clientAliases"),
        (f"{at}.services[0].timeout.idleTimeout", "idleTimeoutSeconds"),
        (f"{at}.services[0].clientAliases[0].dnsname", "dnsName"),
    ]


def test_the_fields_of_service_connect_and_ours_are_known() -> None:
    service = {
        "portName": "web",
        "discoveryName": "web",
        "ingressPortOverride": 16000,
        "clientAliases": [{"port": 80, "dnsName": "web", "testTrafficRules": {}}],
        "timeout": {"idleTimeoutSeconds": 1, "perRequestTimeoutSeconds": 1},
        "tls": {},
    }
    configuration = {
        "enabled": True, "namespace": "a", "services": [service], "logConfiguration": {}, "standalone": True,
        "mesh": "blue", "accessLogConfiguration": None,
    }  # fmt: skip
    assert unknown_keys(label(configuration)) == []


def test_service_connects_access_log_does_nothing_and_names_ours() -> None:
    (found,) = unknown_keys(label({"namespace": "a", "accessLogConfiguration": {"format": "JSON"}}))
    assert str(found) == (
        "container c0, label tramo.service-connect at $.accessLogConfiguration: the mesh does not read this field; "
        "set TRAMO_ACCESS_LOG of the sidecar's container to json or text"
    )


def test_what_is_no_text_has_no_keys() -> None:
    containers = [
        {"name": "a", "dockerLabels": ["tramo.sidecar"]},
        {"name": "b", "dockerLabels": {"tramo.service-connect": {"xyz": 1}, 7: "x"}},
    ]
    assert unknown_keys({"containerDefinitions": containers}) == []


def test_no_more_are_named_than_the_bound() -> None:
    assert len(unknown_keys(label({f"key{number}": 1 for number in range(99)}))) == MOST_WARNINGS


@given(JSON)
def test_any_json_can_be_looked_at(configuration: Any) -> None:
    for found in unknown_keys(label(configuration)):
        assert "tramo.service-connect" in str(found)


@given(st.text(max_size=40))
def test_what_is_no_json_has_no_keys(text: str) -> None:
    assert all(found.path.startswith("label") for found in unknown_keys(definition({"tramo.service-connect": text})))
