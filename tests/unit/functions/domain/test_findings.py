from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain import findings
from registry.domain.advice import MOST_ADVICE, read
from registry.domain.offer import Alias, DefinitionError
from registry.domain.owners import Claim
from registry.domain.reports import LONGEST_TEXT, LONGEST_WHERE, Level
from registry.domain.unknown_keys import UnknownKey
from tests.support.control_plane import building
from tests.support.control_plane.ecs import task_definition

NOW = 1_795_345_200.0
GOOD = [{"portName": "http", "discoveryName": "orders", "clientAliases": [{"port": 80}]}]


def codes(document: Any) -> list[str]:
    return [each.finding.code for each in read(document)[1].found]


def changed(**changes: Any) -> dict[str, Any]:
    """A good definition whose sidecar has these environment variables and labels."""
    document = task_definition(services=GOOD)
    document["containerDefinitions"][1].update(changes)
    return document


def test_codes_are_unique_and_in_order() -> None:
    found = [kind.code for kind in findings.KINDS]
    assert found == sorted(set(found))
    assert all(kind.meaning and kind.remedy.endswith(".") for kind in findings.KINDS)


def test_a_good_definition_has_no_findings() -> None:
    assert codes(task_definition(services=GOOD)) == []


def test_a_label_with_a_mistake_names_place_and_remedy() -> None:
    services = [{"portName": "htpp"}]
    _, advice = read(task_definition(services=services))
    (found,) = advice.found
    assert (found.resource, found.finding.code, found.finding.level) == ("taskdef/orders:7", "TRM0101", Level.ERROR)
    assert found.finding.where == "container app, label tramo.service-connect at $.services[0].portName"
    assert 'no port mapping is named "htpp"' in found.finding.what
    assert found.finding.remedy == "name the port mapping, or correct portName"
    assert advice.namespace == "shop.local", "where people look for it, though the label cannot be read as a whole"


def test_a_label_that_is_not_json_is_in_no_namespace() -> None:
    _, advice = read(task_definition(raw_label="{namespace: shop.local}"))
    assert advice.namespace is None
    assert [each.finding.code for each in advice.found] == ["TRM0101"]


def test_a_misspelled_label_is_found_where_its_tasks_should_be() -> None:
    document = task_definition(services=GOOD)
    labels = document["containerDefinitions"][0]["dockerLabels"]
    labels["tramo.service-conect"] = labels.pop("tramo.service-connect")
    parsed, advice = read(document)
    assert parsed is None
    assert advice.namespace == "shop.local"
    (found,) = advice.found
    assert (found.finding.code, found.finding.remedy) == ("TRM0102", "did you mean tramo.service-connect?")


def test_an_unknown_key_that_is_like_none_is_a_warning() -> None:
    document = task_definition(raw_label=json.dumps({"namespace": "shop.local", "services": GOOD, "xyz": 1}))
    (found,) = read(document)[1].found
    assert (found.finding.code, found.finding.level) == ("TRM0103", Level.WARNING)


def test_a_missing_sidecar_is_found_and_one_that_lacks_its_label_is_named() -> None:
    (found,) = read(task_definition(services=GOOD, sidecar=False))[1].found
    assert found.finding.code == "TRM0104"
    assert "tramo inject" in found.finding.remedy
    unlabelled = changed(dockerLabels={}, environment=[{"name": "TRAMO_API_URL", "value": "https://x"}])
    (found,) = read(unlabelled)[1].found
    assert "mark container tramo" in found.finding.remedy


def test_an_alias_on_the_apps_own_port_is_found_unless_calls_are_redirected() -> None:
    document = task_definition(services=[{"portName": "http", "clientAliases": [{"port": 8080, "dnsName": "orders"}]}])
    assert codes(document) == ["TRM0105"]
    assert codes({**document, "proxyConfiguration": {"type": "APPMESH", "containerName": "tramo"}}) == []


def test_a_proxy_configuration_of_another_container_redirects_nothing() -> None:
    document = task_definition(services=[{"portName": "http", "clientAliases": [{"port": 8080, "dnsName": "orders"}]}])
    document["containerDefinitions"].append({"name": "envoy"})
    assert codes({**document, "proxyConfiguration": {"type": "APPMESH", "containerName": "envoy"}}) == ["TRM0105"]


def test_only_tcp_ports_of_an_app_clash_with_an_alias() -> None:
    document = task_definition(services=GOOD)
    mappings = document["containerDefinitions"][0]["portMappings"]
    mappings.append({"containerPort": 80, "protocol": "udp"})
    assert codes(document) == []
    mappings.append({"containerPortRange": "70-90"})
    assert codes(document) == ["TRM0105", "TRM0105"], "the service has two names on port 80"


@pytest.mark.parametrize(
    ("port", "variables", "expected"),
    [
        (9901, {}, ["TRM0110"]),
        (15001, {}, ["TRM0110"]),
        (15002, {}, []),
        (15002, {"TRAMO_REDIRECT": "127.0.0.1:15002"}, ["TRM0110"]),
        (9901, {"TRAMO_ADMIN": "127.0.0.1:9902"}, []),
        (9902, {"TRAMO_ADMIN": "127.0.0.1:9902"}, ["TRM0110"]),
        (15001, {"TRAMO_FORWARD_PROXY": "off"}, []),
    ],
)
def test_the_sidecars_own_ports_are_no_ingress_port_and_none_of_an_app(
    port: int, variables: dict[str, str], expected: list[str]
) -> None:
    environment = [{"name": name, "value": value} for name, value in variables.items()]
    ingress = task_definition(services=[{**GOOD[0], "ingressPortOverride": port}])
    ingress["containerDefinitions"][1]["environment"] = environment
    assert codes(ingress) == expected
    app = changed(environment=environment)
    app["containerDefinitions"][0]["portMappings"].append({"containerPort": port})
    assert codes(app) == expected
    bridge = {**app, "networkMode": "bridge"}
    assert codes(bridge) == [], "each container has its own network"


def test_a_range_of_ports_with_one_of_the_sidecars_is_found() -> None:
    document = task_definition(services=GOOD)
    document["containerDefinitions"][0]["portMappings"].append({"containerPortRange": "15001-15200"})
    found = read(document)[1].found
    assert [(each.finding.code, each.finding.where) for each in found] == [
        ("TRM0105", "container app, port 15001"),
        ("TRM0105", "container app, port 15100"),
    ]


@pytest.mark.parametrize(("mode", "expected"), [("awsvpc", ["TRM0104"]), ("bridge", []), ("host", [])])
def test_a_sidecar_is_missed_only_where_it_shares_the_apps_network(mode: str, expected: list[str]) -> None:
    assert codes(task_definition(services=GOOD, sidecar=False, network_mode=mode)) == expected


def test_labels_of_another_form_are_found_and_not_read() -> None:
    document = task_definition(services=GOOD)
    document["containerDefinitions"][1]["dockerLabels"] = ["tramo.sidecar=true"]
    (found,) = read(document)[1].found
    assert (found.finding.code, found.finding.where) == ("TRM0101", "container tramo, dockerLabels")


def test_another_namespace_in_the_environment_is_found() -> None:
    assert codes(changed(environment=[{"name": "TRAMO_NAMESPACE", "value": "shop.locl"}])) == ["TRM0106"]
    assert codes(changed(environment=[{"name": "TRAMO_NAMESPACE", "value": "shop.local"}])) == []


@pytest.mark.parametrize(("mesh", "expected"), [("blue", ["TRM0109"]), ("Tramo", []), ("", [])])
def test_another_mesh_in_the_environment_is_found(mesh: str, expected: list[str]) -> None:
    assert codes(changed(environment=[{"name": "TRAMO_MESH", "value": mesh}])) == expected


def test_advice_has_a_bound() -> None:
    aliases = [{"port": 8080, "dnsName": f"o{number}"} for number in range(50)]
    assert len(codes(task_definition(services=[{"portName": "http", "clientAliases": aliases}]))) == MOST_ADVICE


@pytest.mark.parametrize(
    ("changes", "seconds", "expected"),
    [
        ({"stop_code": "EssentialContainerExited", "gone": True}, 1.0, ["TRM0108"]),
        ({"stop_code": "EssentialContainerExited", "gone": True}, findings.RECENT_SECONDS, []),
        ({"stop_code": "EssentialContainerExited", "gone": False}, 1.0, []),
        ({"stop_code": "UserInitiated", "gone": True}, 1.0, []),
        ({"stop_code": "EssentialContainerExited", "gone": True, "group": "family:job"}, 1.0, []),
    ],
)
def test_only_tasks_of_services_that_ended_by_themselves_of_late_are_found(
    changes: dict[str, Any], seconds: float, expected: list[str]
) -> None:
    facts: dict[str, Any] = {"group": "service:orders", "stopped_at": NOW - seconds}
    task = building.task("aa", **facts | changes)
    assert [each.finding.code for each in findings.of_tasks([task], NOW)] == expected


def test_conflicts_and_refused_aliases_of_a_service() -> None:
    declared = building.declaration("orders")
    alias = declared.aliases[0]
    record = building.service("orders", declared, holders={alias: "stock"}, namespace="shop.local")
    public = dataclasses.replace(declared, aliases=(Alias("api.example.com", 443),))
    record = dataclasses.replace(record, declarations=(declared, public))
    found = findings.of_services([record])
    assert [each.finding.code for each in found] == ["TRM0201", "TRM0203"]
    assert found[0].finding.what == "stock has orders:80 already and keeps it"


@given(st.text(max_size=700), st.text(max_size=700))
def test_no_text_is_longer_than_the_registry_keeps(first: str, second: str) -> None:
    for found in (
        findings.bad_label(DefinitionError(first, second, first, second, first)),
        findings.unknown_key(first, UnknownKey(first, second, first)),
        findings.conflict(first, Alias(second, 1), first),
        findings.refused_claim(Claim(first, second, first, second, 0.0)),
        findings.no_definition(first, second),
    ):
        assert 1 <= len(found.finding.where) <= LONGEST_WHERE
        assert 1 <= len(found.finding.what) <= LONGEST_TEXT
        assert 1 <= len(found.finding.remedy) <= LONGEST_TEXT
        assert len(found.key) < 400


def test_half_a_surrogate_pair_in_a_text_is_a_question_mark() -> None:
    made = findings.found(findings.UNKNOWN_KEY, "taskdef/orders:1", "$.\ud800", "key \ud800", "")
    assert (made.finding.where, made.finding.what) == ("$.?", "key ?")
    assert made.key
