"""What `tramo inject` refuses and warns about, by one task definition with one thing wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.inject import Settings, inject
from infra.inject_rules import InjectError, warnings

LISTEN: Final = Settings("example.com/tramo-sidecar:1", "https://a1.execute-api.eu-west-1.amazonaws.com/live")
REDIRECT: Final = replace(LISTEN, redirect=True)
CALLS_ONLY: Final = {"namespace": "shop.local"}
Json = dict[str, Any]


def orders(*others: Json, app: Json | None = None, **changes: Any) -> Json:
    """A task that offers one service: changes of the app's container, other containers, changes of the task."""
    container = {
        "name": "orders",
        "image": "orders",
        "essential": True,
        "portMappings": [{"name": "orders", "containerPort": 8080, "appProtocol": "http"}],
        **(app or {}),
    }
    return {
        "family": "orders",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "512",
        "memory": "1024",
        "containerDefinitions": [container, *others],
        **changes,
    }


def mapped(**also: Any) -> Json:
    """The task with another port mapping of the app."""
    return orders(app={"portMappings": [{"name": "orders", "containerPort": 8080}, also]})


def offer(ingress: int | None = None, alias: int = 80, **also: Any) -> Json:
    """The task's Service Connect block."""
    service: Json = {"portName": "orders", "clientAliases": [{"port": alias, "dnsName": "orders"}]}
    if ingress is not None:
        service["ingressPortOverride"] = ingress
    return {"namespace": "shop.local", "services": [service], **also}


def refusal(document: Json, block: Json | None, settings: Settings = LISTEN) -> str:
    with pytest.raises(InjectError) as caught:
        inject(document, settings, block)
    return str(caught.value)


@pytest.mark.parametrize(
    ("port", "settings", "says"),
    [
        (9901, LISTEN, "is that of the sidecar's admin pages"),
        (15001, REDIRECT, "is that of the sidecar's forward proxy"),
        (15002, REDIRECT, "is that of the sidecar's listener for redirected calls"),
        (8081, LISTEN, "is that of the alias orders:8081, on which the sidecar listens for calls"),
        (80, LISTEN, "is the usual port of aliases"),
    ],
)
def test_an_ingress_port_on_which_something_listens_is_refused(port: int, settings: Settings, says: str) -> None:
    found = refusal(orders(), offer(port, alias=8081), settings)
    assert found.startswith(f"service orders: the ingress port {port} ")
    assert says in found
    assert "write another port into ingressPortOverride" in found


def test_a_port_is_free_where_nothing_listens_in_this_mode() -> None:
    inject(orders(), LISTEN, offer(15002))
    inject(orders(), REDIRECT, offer(8081, alias=8081))
    inject(orders(), REDIRECT, offer(80))


@pytest.mark.parametrize(
    ("port", "settings", "block"),
    [(9901, LISTEN, offer()), (15001, LISTEN, CALLS_ONLY), (15002, REDIRECT, offer())],
)
def test_an_app_on_a_port_of_the_sidecars_own_is_refused(port: int, settings: Settings, block: Json) -> None:
    found = refusal(mapped(containerPort=port), block, settings)
    assert found.startswith(f"container orders: port {port} in portMappings is that of the sidecar's ")
    assert "let the app listen on another port" in found
    inject(mapped(containerPort=port, protocol="udp"), settings, block)


def test_the_sidecars_own_ports_are_those_that_its_variables_say() -> None:
    once = inject(orders(), LISTEN, offer())
    once["containerDefinitions"][1]["environment"] += [
        {"name": "TRAMO_ADMIN", "value": "127.0.0.1:9999"},
        {"name": "TRAMO_FORWARD_PROXY", "value": "off"},
    ]
    inject(once, LISTEN, offer(9901))
    inject(once, LISTEN, offer(15001))
    assert "admin pages" in refusal(once, offer(9999))


def test_only_tcp_ports_and_all_of_a_range_clash_with_an_alias() -> None:
    inject(mapped(containerPort=80, protocol="udp"), LISTEN, offer())
    inject(mapped(containerPortRange="70-90", protocol="udp"), LISTEN, offer())
    assert "orders:80 is on the port of container orders" in refusal(mapped(containerPortRange="70-90"), offer())
    assert "sidecar's forward proxy" in refusal(mapped(containerPortRange="15000-15200"), CALLS_ONLY)
    assert "a port of container orders" in refusal(mapped(containerPortRange="15100-15110"), offer())
    assert "such as 5000-5010" in refusal(mapped(containerPortRange="5000"), offer())


def test_the_port_that_is_suggested_for_an_alias_is_free() -> None:
    assert "such as 80, or" in refusal(orders(), offer(alias=8080))
    assert "such as 8081, or" in refusal(mapped(containerPort=80), offer())


@pytest.mark.parametrize("settings", [LISTEN, REDIRECT], ids=["listen", "redirect"])
def test_the_proxy_of_another_container_must_go_first(settings: Settings) -> None:
    other = orders(proxyConfiguration={"type": "APPMESH", "containerName": "envoy", "properties": []})
    found = refusal(other, offer(), settings)
    assert "proxyConfiguration belongs to container envoy" in found
    assert "remove it and the container first (docs/migrate.md)" in found


def test_windows_is_refused() -> None:
    document = orders(runtimePlatform={"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"})
    assert "operatingSystemFamily is WINDOWS_SERVER_2022_CORE; the sidecar runs on Linux" in refusal(document, offer())
    inject(orders(runtimePlatform={"cpuArchitecture": "ARM64"}), LISTEN, offer())


def test_sidecar_and_gate_count_for_the_most_containers_that_ecs_takes() -> None:
    others = [{"name": f"other-{number}", "image": "other"} for number in range(8)]
    assert "with sidecar and gate the task has 11 containers, and ECS takes 10; remove 1" in refusal(
        orders(*others), offer()
    )
    assert len(inject(orders(*others[:7]), LISTEN, offer())["containerDefinitions"]) == 10


def test_sizes_in_units_are_counted_and_what_is_reserved_counts_instead_of_the_limit() -> None:
    small = {"cpu": 256, "memory": 512}
    assert "cpu of the task is 256 CPU units, and its containers ask for 328" in refusal(
        orders(app=small, cpu=".25 vCPU", memory="0.5 GB"), offer()
    )
    assert "memory of the task is 512 MiB, and its containers ask for 656" in refusal(
        orders(app={"memory": 512}, cpu=".25 vCPU", memory="0.5 GB"), offer()
    )
    assert "cpu is 'much', which is no amount; write CPU units as a number" in refusal(orders(cpu="much"), offer())
    inject(orders(app={"memory": 2048, "memoryReservation": 1024}, memory="2048"), LISTEN, offer())


def test_what_ecs_does_not_register_is_refused_in_its_words() -> None:
    assert "No Fargate configuration exists for given values: 300 CPU, 700 memory" in refusal(
        orders(cpu="300", memory="700"), offer()
    )
    assert "family is missing" in refusal({k: v for k, v in orders().items() if k != "family"}, offer())
    assert "containerDefinitions[0].image is missing" in refusal(orders(app={"image": ""}), offer())
    assert "two containers are named orders" in refusal(orders({"name": "orders", "image": "b"}), offer())


def test_a_field_that_is_newer_than_this_version_is_a_warning() -> None:
    finished = inject(orders(newField=1, famly="x"), LISTEN, offer())
    assert finished["newField"] == 1
    assert any("famly is not known: did you mean family?" in each for each in warnings(finished))


def test_two_labels_are_refused_unless_a_block_takes_their_place() -> None:
    labels = {"tramo.service-connect": json.dumps(CALLS_ONLY)}
    document = orders({"name": "worker", "image": "b", "dockerLabels": labels}, app={"dockerLabels": labels})
    assert "the label tramo.service-connect stands on orders and worker; keep it on one" in refusal(document, None)
    inject(document, LISTEN, offer())


@pytest.mark.parametrize("by_label", [False, True])
def test_a_block_that_turns_service_connect_off_is_named(by_label: bool) -> None:
    off = {"enabled": False}
    labels = {"dockerLabels": {"tramo.service-connect": json.dumps(off)}} if by_label else {}
    found = refusal(orders(app=labels), None if by_label else off)
    assert "the Service Connect block turns Service Connect off" in found


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ({"dockerLabels": {"tramo.service-connect": CALLS_ONLY}}, "JSON in a label is written as a string"),
        ({"dockerLabels": [{"key": "a"}]}, "containerDefinitions[0].dockerLabels must be an object"),
        ({"dockerLabels": {"tramo.sidecar": True}}, "dockerLabels.tramo.sidecar must be a string, not true"),
        ({"cpu": "256"}, 'containerDefinitions[0].cpu must be a whole number, not "256"'),
        ({"portMappings": {"containerPort": 80}}, "containerDefinitions[0].portMappings must be a list"),
        ({"dependsOn": ["init"]}, 'containerDefinitions[0].dependsOn[0] must be an object, not "init"'),
        ({"environment": None}, "containerDefinitions[0].environment must be a list, not null"),
        ({"ulimits": [{}] * 9}, "; and "),
        ({"command": "x" * 1000}, f'command must be a list, not "{"x" * 200}…"'),
    ],
)
def test_a_field_of_another_shape_is_named_with_its_place(app: Json, says: str) -> None:
    found = refusal(orders(app=app), offer())
    assert found.startswith("ECS would refuse it: containerDefinitions[0].")
    assert says in found


def test_access_log_settings_of_service_connect_are_named() -> None:
    (warning,) = warnings(inject(orders(), LISTEN, offer(accessLogConfiguration={"format": "JSON"})))
    assert "at $.accessLogConfiguration" in warning
    assert "set TRAMO_ACCESS_LOG of the sidecar's container to json or text" in warning


def test_an_app_on_port_80_of_a_task_that_calls_is_a_warning_in_listen_mode() -> None:
    nginx = orders(app={"portMappings": [{"containerPort": 80}]})
    (warning,) = warnings(inject(nginx, LISTEN, CALLS_ONLY))
    assert warning.startswith("container orders has port 80, on which the sidecar listens for calls of services")
    assert "use --redirect, or let the app listen on another port" in warning
    assert warnings(inject(nginx, REDIRECT, CALLS_ONLY)) == []
    ports = [{"name": "orders", "containerPort": 80, "appProtocol": "http"}]
    elsewhere = offer(services=[{"portName": "orders", "clientAliases": [{"port": 8080, "dnsName": "orders"}]}])
    assert len(warnings(inject(orders(app={"portMappings": ports}), LISTEN, elsewhere))) == 1
    assert warnings(inject(orders(), LISTEN, CALLS_ONLY)) == warnings(inject(orders(), LISTEN, offer())) == []


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field and item below a value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


FINISHED: Final = inject(orders({"name": "init", "image": "init", "essential": False}), REDIRECT, offer())
LEAVES: Final = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING: Final = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=50)
@given(st.sampled_from(list(places(FINISHED))), ANYTHING)
def test_a_definition_with_anything_in_one_place_is_finished_or_refused(path: tuple[Any, ...], value: Any) -> None:
    document = deepcopy(FINISHED)
    holder: Any = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with suppress(InjectError):
        warnings(inject(document, Settings()))
