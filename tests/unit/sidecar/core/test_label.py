"""The label as the sidecar reads it, and its comparison with the variables."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.unknown_keys import unknown_keys as unknown_to_the_registrar
from sidecar.core.label import Label, compared, read, unknown_keys

TEXT = json.dumps(
    {
        "namespace": "shop.local",
        "services": [
            {"portName": "orders", "clientAliases": [{"port": 80}]},
            {"portName": "grpc", "discoveryName": "events", "ingressPortOverride": 9999},
            {"portName": "third"},
        ],
    }
)
SERVICES = {"orders": 15100, "events": 9999, "third": 15102}


def test_a_label_has_a_namespace_and_ingress_ports() -> None:
    assert read(TEXT) == Label("shop.local", SERVICES)
    assert read('{"namespace": "a"}') == Label("a", {})
    assert read('{"namespace": "a", "mesh": "blue"}') == Label("a", {}, "blue")


def test_what_cannot_be_read_or_is_turned_off_says_nothing() -> None:
    for text in ("", "{", "[]", '{"namespace": 1}', '{"enabled": false, "namespace": "a"}', "[" * 100_000):
        assert read(text) is None


@given(st.text(max_size=60))
def test_any_text_is_a_label_or_none(text: str) -> None:
    assert read(text) is None or isinstance(read(text), Label)


def test_variables_that_fit_the_label_are_no_finding() -> None:
    assert compared(Label("shop.local", SERVICES), "shop.local", dict(SERVICES)) == []


def test_each_difference_is_named() -> None:
    found = compared(Label("shop.local", SERVICES), "shop", {"orders": 15101, "events": 9999, "other": 15100})
    assert [(each.code, each.where) for each in found] == [
        ("TRM0308", "TRAMO_NAMESPACE"),
        ("TRM0302", "TRAMO_INBOUND, orders"),
        ("TRM0302", "TRAMO_INBOUND, third"),
        ("TRM0302", "TRAMO_INBOUND, other"),
    ]
    assert found[1].what == "TRAMO_INBOUND has orders=15101, the label tramo.service-connect says orders=15100"


@pytest.mark.parametrize(
    ("label", "variable", "codes"),
    [("", "", []), ("", "Tramo", []), ("blue", "", []), ("blue", "blue", []), ("", "blue", ["TRM0313"])],
)
def test_another_mesh_in_the_environment_is_named(label: str, variable: str, codes: list[str]) -> None:
    found = compared(Label("shop.local", {}, label), "shop.local", {}, variable)
    assert [each.code for each in found] == codes


def test_a_label_like_one_of_ours_is_named() -> None:
    (found,) = unknown_keys("app", "tramo.service-conect", "{}")
    assert (found.code, found.level, found.where) == ("TRM0310", "warning", "container app, label tramo.service-conect")
    assert found.remedy == "did you mean tramo.service-connect?"
    assert list(unknown_keys("app", "tramo.sidecar", "true")) == []
    assert list(unknown_keys("app", "team", "shop")) == []


KEYS = st.sampled_from(
    [
        "namespace",
        "service",
        "services",
        "standalone",
        "portName",
        "clientAlias",
        "clientAliases",
        "dnsName",
        "port",
        "timeout",
        "idleTimeoutSeconds",
        "idleTimeout",
        "tls",
        "enabled",
        "logConfiguration",
        "x",
    ]
)
CONFIGURATIONS = st.recursive(
    st.none() | st.integers(0, 9), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(CONFIGURATIONS)
def test_sidecar_and_registrar_know_the_same_fields(configuration: object) -> None:
    text = json.dumps(configuration)
    task = {"containerDefinitions": [{"name": "app", "dockerLabels": {"tramo.service-connect": text}}]}
    found = [each.where for each in unknown_keys("app", "tramo.service-connect", text)]
    assert found[:16] == [f"container app, {each.path}" for each in unknown_to_the_registrar(task)]
