from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.bounds import (
    ALIASES_PER_SERVICE,
    LABEL_BYTES,
    LABEL_DEPTH,
    NAMESPACE_CHARACTERS,
    SERVICES_PER_TASK,
)
from registry.domain.definition import parse
from registry.domain.offer import Alias, Definition, DefinitionError, Timeouts
from tests.support.control_plane.ecs import label, task_definition


def parsed(**arguments: Any) -> Definition:
    definition = parse(task_definition(**arguments))
    assert definition is not None
    return definition


def mistake(definition: dict[str, Any]) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        parse(definition)
    return caught.value


def test_what_a_definition_with_a_sidecar_offers() -> None:
    definition = parsed()
    assert (definition.name, definition.namespace, definition.network_mode) == ("orders:7", "shop.local", "awsvpc")
    assert definition.has_sidecar
    (offer,) = definition.offers
    assert (offer.service, offer.port_name, offer.protocol) == ("orders", "http", "http")
    assert (offer.container, offer.port, offer.container_port) == ("tramo", 15100, 8080)
    assert offer.aliases == (Alias("orders", 80), Alias("orders.shop.local", 80))


def test_the_gates_health_check_counts_for_nothing() -> None:
    check = {"command": ["CMD", "true"], "interval": 10, "retries": 3, "timeout": 5}
    containers = [
        {"name": "gate", "healthCheck": check | {"startPeriod": 300}, "dockerLabels": {"tramo.gate": "true"}},
        {"name": "helper", "healthCheck": check, "essential": False},
    ]
    alone, checked = task_definition(), task_definition(health_check=check)
    alone["containerDefinitions"] += containers
    checked["containerDefinitions"] += containers
    found = parse(alone)
    assert found is not None
    assert (found.health_checked, found.health_wait_seconds) == ((), None)
    found = parse(checked)
    assert found is not None
    assert (found.health_checked, found.health_wait_seconds) == (("app",), 45.0)


def test_a_gate_label_that_is_neither_true_nor_false_is_a_mistake() -> None:
    definition = task_definition()
    check = {"command": ["CMD", "true"]}
    definition["containerDefinitions"].append(
        {"name": "gate", "healthCheck": check, "dockerLabels": {"tramo.gate": "yes"}}
    )
    assert "label tramo.gate" in str(mistake(definition))


def test_without_a_sidecar_the_container_port_is_published() -> None:
    (offer,) = parsed(sidecar=False, services=[{"portName": "http", "ingressPortOverride": 16000}]).offers
    assert (offer.container, offer.port) == ("app", 8080)


def test_ingress_ports_count_up_from_15100_by_place() -> None:
    offers = parsed(
        services=[
            {"portName": "http", "discoveryName": "a"},
            {"portName": "http", "discoveryName": "b", "ingressPortOverride": 16000},
            {"portName": "http", "discoveryName": "c"},
        ]
    ).offers
    assert [offer.port for offer in offers] == [15100, 16000, 15102]


def test_defaults_of_names_and_ports() -> None:
    (offer,) = parsed(services=[{"portName": "http"}], namespace="Shop").offers
    assert offer.service == "http"
    assert offer.aliases == (Alias("http", 8080), Alias("http.shop", 8080))


def test_several_aliases_and_an_explicit_name() -> None:
    aliases = [{"port": 80}, {"port": 8081, "dnsName": "legacy.example"}, {"port": 80}]
    (offer,) = parsed(services=[{"portName": "http", "clientAliases": aliases}]).offers
    assert offer.aliases == (Alias("http", 80), Alias("http.shop.local", 80), Alias("legacy.example", 8081))


def test_a_client_offers_nothing() -> None:
    assert parsed(services=None).offers == ()
    assert parsed(services=[]).offers == ()


def test_without_label_or_switched_off_it_is_not_ours() -> None:
    definition = task_definition()
    definition["containerDefinitions"][0]["dockerLabels"] = {"other": "label"}
    assert parse(definition) is None
    definition["containerDefinitions"][0].pop("dockerLabels")
    assert parse(definition) is None
    assert parse({"taskDefinitionArn": "arn:x/y:1"}) is None
    assert parse(task_definition(raw_label='{"enabled": false}')) is None


@pytest.mark.parametrize("field", ["enabled", "standalone"])
@pytest.mark.parametrize("value", ["false", "true", "no", 0, 1, None, [], {}])
def test_a_switch_is_true_or_false_and_nothing_else(field: str, value: Any) -> None:
    raw = json.dumps({"namespace": "shop.local", "services": [], field: value})
    error = mistake(task_definition(raw_label=raw))
    assert (error.path, error.remedy) == (
        f"label tramo.service-connect at $.{field}",
        "write true or false, without quotes",
    )


def test_only_a_label_that_says_so_is_standalone() -> None:
    assert not parsed().standalone
    raw = json.dumps({"namespace": "shop.local", "standalone": True})
    found = parse(task_definition(raw_label=raw))
    assert found is not None
    assert found.standalone


def test_a_definition_belongs_to_the_mesh_of_its_label_or_to_the_default_one() -> None:
    own, blue = task_definition(), task_definition(raw_label=json.dumps({"namespace": "shop.local", "mesh": "blue"}))
    for definition, mesh, other in ((own, "Tramo", "blue"), (blue, "blue", "Tramo")):
        assert parse(definition, mesh) is not None
        assert parse(definition, other) is None
        assert parse(definition) is not None, "of whatever mesh"


def test_mistakes_in_the_label_of_another_mesh_are_not_ours() -> None:
    raw = json.dumps({"namespace": "no good", "mesh": "blue"})
    assert parse(task_definition(raw_label=raw), "Tramo") is None
    with pytest.raises(DefinitionError):
        parse(task_definition(raw_label=raw), "blue")


@pytest.mark.parametrize("mesh", ["", "AWS/ECS", "-a", "a b", "m" * 64, 1, None, ["blue"]])
def test_what_is_no_name_of_a_mesh_is_a_mistake(mesh: Any) -> None:
    error = mistake(task_definition(raw_label=json.dumps({"namespace": "shop.local", "mesh": mesh})))
    assert error.path == "label tramo.service-connect at $.mesh"
    assert "parameter Mesh" in error.remedy


@pytest.mark.parametrize("name", ["localhost", "169.254.170.2", "..", ".", "orders.", "metadata.google.internal"])
def test_a_name_that_no_service_may_have_is_a_mistake(name: str) -> None:
    services = [{"portName": "http", "clientAliases": [{"port": 80}, {"port": 80, "dnsName": name}]}]
    error = mistake(task_definition(services=services))
    assert error.path == "label tramo.service-connect at $.services[0].clientAliases[1].dnsName"
    assert json.dumps(name) in error.mistake


def test_the_label_may_stand_on_the_sidecar() -> None:
    definition = task_definition()
    app, sidecar = definition["containerDefinitions"]
    sidecar["dockerLabels"] |= app.pop("dockerLabels")
    found = parse(definition)
    assert found is not None
    assert found.offers[0].port == 15100


@pytest.mark.parametrize(
    ("app_protocol", "expected"), [("http", "http"), ("http2", "http2"), ("grpc", "grpc"), (None, "tcp")]
)
def test_protocols(app_protocol: str | None, expected: str) -> None:
    assert parsed(app_protocol=app_protocol).offers[0].protocol == expected


def test_the_network_mode_is_bridge_when_unsaid() -> None:
    assert parsed(network_mode=None).network_mode == "bridge"


def test_the_labels_timeouts_are_kept() -> None:
    timeout = {"perRequestTimeoutSeconds": 0, "idleTimeoutSeconds": 60}
    (offer,) = parsed(services=[{"portName": "http", "timeout": timeout}]).offers
    assert offer.timeouts == Timeouts(request_seconds=0, idle_seconds=60)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (None, None),
        ({"command": ["CMD", "true"]}, 105.0),
        ({"command": ["CMD", "true"], "interval": 5, "timeout": 2, "retries": 4, "startPeriod": 10}, 38.0),
        ({"command": ["CMD", "true"], "interval": 300, "timeout": 60, "retries": 10}, 480.0),
        ({"command": ["CMD", "true"], "interval": "Interval", "startPeriod": "10"}, 115.0),
    ],
)
def test_the_wait_for_health(check: dict[str, Any] | None, expected: float | None) -> None:
    assert parsed(health_check=check).health_wait_seconds == expected


def test_only_essential_containers_health_counts() -> None:
    definition = task_definition(health_check={"command": ["CMD", "true"]})
    definition["containerDefinitions"][0]["essential"] = False
    found = parse(definition)
    assert found is not None
    assert found.health_wait_seconds is None


BAD_LABELS: list[tuple[str, str, str]] = [
    ("{", "$", "it is not JSON"),
    ("[]", "$", "a list instead of an object"),
    ("null", "$", "null instead of an object"),
    (json.dumps({"services": []}), "$.namespace", "null is not allowed"),
    (json.dumps({"namespace": "arn:aws:servicediscovery:x"}), "$.namespace", "not its ARN"),
    (json.dumps({"namespace": "a/b"}), "$.namespace", "not allowed"),
    (json.dumps({"namespace": "n", "services": {}}), "$.services", "an object instead of a list"),
    (json.dumps({"namespace": "n", "services": ["x"]}), "$.services[0]", "a text instead of an object"),
    (label([{}]), "$.services[0].portName", "null is not allowed"),
    (label([{"portName": "htp"}]), "$.services[0].portName", 'no port mapping is named "htp" (there are: http)'),
    (label([{"portName": "http", "discoveryName": "Orders"}]), "$.services[0].discoveryName", "lower-case"),
    (label([{"portName": "http", "discoveryName": "-a"}]), "$.services[0].discoveryName", "not starting with -"),
    (label([{"portName": "http", "discoveryName": "a" * 65}]), "$.services[0].discoveryName", "1 to 64"),
    (label([{"portName": "http", "discoveryName": ""}]), "$.services[0].discoveryName", "not allowed"),
    (label([{"portName": "http"}, {"portName": "http"}]), "$.services[1].discoveryName", "offered twice"),
    (label([{"portName": "http", "clientAliases": "x"}]), "$.services[0].clientAliases", "a text instead"),
    (label([{"portName": "http", "clientAliases": [{}]}]), "$.services[0].clientAliases[0].port", "1 to 65535"),
    (
        label([{"portName": "http", "clientAliases": [{"port": True}]}]),
        "$.services[0].clientAliases[0].port",
        "true is not allowed",
    ),
    (
        label([{"portName": "http", "clientAliases": [{"port": 80, "dnsName": "a b"}]}]),
        "$.services[0].clientAliases[0].dnsName",
        "1 to 127",
    ),
    (label([{"portName": "http"}], namespace="n" * 130), "$.services[0].clientAliases[0].dnsName", "1 to 127"),
    (label([{"portName": "http", "ingressPortOverride": 0}]), "$.services[0].ingressPortOverride", "1 to 65535"),
    (
        label([{"portName": "http", "ingressPortOverride": 8080}]),
        "$.services[0].ingressPortOverride",
        "container app has it",
    ),
    (
        label(
            [
                {"portName": "http", "discoveryName": "a", "ingressPortOverride": 15101},
                {"portName": "http", "discoveryName": "b"},
            ]
        ),
        "$.services[1].ingressPortOverride",
        "another service's ingress port",
    ),
    (label([{"portName": "http", "tls": {}}]), "$.services[0].tls", "TLS between tasks is not supported"),
    (label([{"portName": "http", "timeout": 5}]), "$.services[0].timeout", "a number instead of an object"),
    (
        label([{"portName": "http", "timeout": {"idleTimeoutSeconds": -1}}]),
        "$.services[0].timeout.idleTimeoutSeconds",
        "0 to 86400",
    ),
]


@pytest.mark.parametrize(("raw", "path", "words"), BAD_LABELS)
def test_a_mistake_in_the_label_is_named(raw: str, path: str, words: str) -> None:
    error = mistake(task_definition(raw_label=raw))
    assert error.task_definition == "orders:7"
    assert error.container == "app"
    assert error.path == f"label tramo.service-connect at {path}"
    assert words in str(error)
    assert str(error).startswith("task definition orders:7, container app, label tramo.service-connect at $")
    assert error.remedy


def test_a_label_that_is_an_object_and_not_its_text_is_a_mistake() -> None:
    definition = task_definition()
    definition["containerDefinitions"][0]["dockerLabels"]["tramo.service-connect"] = {"namespace": "shop.local"}
    error = mistake(definition)
    assert (error.path, error.mistake) == ("label tramo.service-connect at $", "an object instead of a text")
    assert "as a string" in error.remedy


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("dockerLabels", ["tramo.sidecar=true"], "a list instead of an object"),
        ("portMappings", {"containerPort": 8080}, "an object instead of a list"),
        ("portMappings", [8080], "it has a number where an object should be"),
        ("environment", {"TRAMO_API_URL": "x"}, "an object instead of a list"),
        ("healthCheck", "curl", "a text instead of an object"),
    ],
)
def test_a_field_that_has_not_the_form_of_the_api_is_a_mistake(field: str, value: Any, words: str) -> None:
    definition = task_definition()
    definition["containerDefinitions"][1][field] = value
    error = mistake(definition)
    assert (error.container, error.path, error.mistake) == ("tramo", field, words)


@pytest.mark.parametrize("name", [True, 7, ["http"], {"a": 1}])
def test_a_port_mapping_whose_name_is_no_text_has_no_name(name: Any) -> None:
    definition = task_definition()
    definition["containerDefinitions"][0]["portMappings"][0]["name"] = name
    assert "there are: none is named" in str(mistake(definition))


def with_mapping(**mapping: Any) -> dict[str, Any]:
    definition = task_definition()
    definition["containerDefinitions"][0]["portMappings"].append(mapping)
    return definition


@pytest.mark.parametrize("mapping", [{"containerPort": 15100}, {"containerPort": 15100, "protocol": "tcp"}])
def test_an_app_on_the_ingress_port_is_a_mistake(mapping: dict[str, Any]) -> None:
    assert "the sidecar cannot listen on port 15100, container app has it" in str(mistake(with_mapping(**mapping)))


@pytest.mark.parametrize(
    "mapping", [{"containerPort": 15100, "protocol": "udp"}, {"containerPortRange": "15000-15200"}]
)
def test_udp_and_ranges_of_ports_leave_the_ingress_port_to_the_sidecar(mapping: dict[str, Any]) -> None:
    found = parse(with_mapping(**mapping))
    assert found is not None
    assert found.offers[0].port == 15100


def test_two_labels_are_one_too_many() -> None:
    definition = task_definition()
    app, sidecar = definition["containerDefinitions"]
    sidecar["dockerLabels"] |= app["dockerLabels"]
    assert "app and tramo" in str(mistake(definition))


def test_two_sidecars_are_one_too_many() -> None:
    definition = task_definition()
    definition["containerDefinitions"][0]["dockerLabels"]["tramo.sidecar"] = "true"
    assert "more than one container is marked" in str(mistake(definition))


def test_the_sidecar_label_is_true_or_false() -> None:
    definition = task_definition()
    definition["containerDefinitions"][1]["dockerLabels"]["tramo.sidecar"] = "yes"
    assert "neither true nor false" in str(mistake(definition))
    definition["containerDefinitions"][1]["dockerLabels"]["tramo.sidecar"] = "false"
    found = parse(definition)
    assert found is not None
    assert not found.has_sidecar


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": "udp"}, "cannot be proxied"),
        ({"appProtocol": "amqp"}, "is not known"),
        ({"containerPort": None}, "containerPort"),
    ],
)
def test_port_mappings_that_cannot_be_offered(change: dict[str, Any], words: str) -> None:
    definition = task_definition()
    definition["containerDefinitions"][0]["portMappings"][0].update(change)
    assert words in str(mistake(definition))


def test_a_task_without_network_cannot_serve() -> None:
    assert "networkMode none has no ports" in str(mistake(task_definition(network_mode="none")))
    assert parsed(network_mode="none", services=None).offers == ()


def aliases(count: int) -> list[dict[str, Any]]:
    return [{"port": 80, "dnsName": f"a{number}"} for number in range(count)]


def deep(depth: int) -> str:
    """Return a label that is nested so deep, in a field that nobody reads."""
    return '{"namespace": "shop.local", "unknown": ' + (depth - 1) * "[" + (depth - 1) * "]" + "}"


@pytest.mark.parametrize(
    ("arguments", "path", "mistake"),
    [
        ({"raw_label": deep(1000)}, "$", "it is nested 1000 deep"),
        ({"raw_label": deep(LABEL_DEPTH + 1)}, "$", "it is nested 17 deep"),
        ({"raw_label": json.dumps({"namespace": "x", "y": "é" * LABEL_BYTES})}, "$", "it has 196635 bytes"),
        ({"namespace": "n" * (NAMESPACE_CHARACTERS + 1)}, "$.namespace", '"' + 98 * "n" + "… is not allowed"),
        (
            {"services": [{"portName": "http", "discoveryName": f"s{each}"} for each in range(SERVICES_PER_TASK + 1)]},
            "$.services",
            "it has 21 entries",
        ),
        (
            {"services": [{"portName": "http", "clientAliases": aliases(ALIASES_PER_SERVICE + 1)}]},
            "$.services[0].clientAliases",
            "it has 51 entries",
        ),
        (
            {"services": [{"portName": "http", "clientAliases": [*aliases(ALIASES_PER_SERVICE - 1), {"port": 1}]}]},
            "$.services[0].clientAliases",
            "they make 51 pairs of name and port",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) and len(each) < 40 else "",
)
def test_what_breaks_a_bound_is_named_with_a_remedy(arguments: dict[str, Any], path: str, mistake: str) -> None:
    error = mistake_of(arguments)
    assert error.path == f"label tramo.service-connect at {path}"
    assert error.mistake == mistake
    assert error.remedy


def mistake_of(arguments: dict[str, Any]) -> DefinitionError:
    return mistake(task_definition(**arguments))


def test_what_keeps_to_the_bounds_is_taken() -> None:
    assert parse(task_definition(raw_label=deep(LABEL_DEPTH))) is not None
    assert parsed(namespace="n" * 100).namespace == "n" * 100
    found = parsed(services=[{"portName": "http", "clientAliases": aliases(ALIASES_PER_SERVICE)}])
    assert len(found.offers[0].aliases) == ALIASES_PER_SERVICE


def test_brackets_in_texts_do_not_count_as_depth() -> None:
    text = json.dumps({"namespace": "shop.local", "unknown": '\\"[' * 100})
    assert parse(task_definition(raw_label=text)) is not None


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["http", "shop.local"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["namespace", "services", "portName", "discoveryName", "clientAliases", "port", "dnsName", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(st.one_of(JSON_VALUES.map(json.dumps), st.text(), st.text(alphabet='[]{}",:1ae\\')))
def test_any_label_is_read_or_refused(text: str) -> None:
    with suppress(DefinitionError):
        parse(task_definition(raw_label=text or " "))
