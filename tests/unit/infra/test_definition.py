from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local.definition import Condition, DefinitionError, HealthCheck, ProxyConfiguration, parse

SHOP = Path("infra/examples/shop")


def container(**changes: Any) -> dict[str, Any]:
    return {"name": "app", "image": "i", "memory": 64, "command": ["run"], **changes}


def document(*containers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "family": "f",
        "networkMode": "awsvpc",
        "containerDefinitions": list(containers) or [container()],
        **changes,
    }


def read(raw: dict[str, Any]) -> Any:
    return parse(raw, revision=3, region="us-east-1")


def test_defaults_are_those_of_ecs() -> None:
    definition = read(document())
    assert definition.name == "f:3"
    assert definition.arn == "arn:aws:ecs:us-east-1:123456789012:task-definition/f:3"
    [only] = definition.containers
    assert (only.essential, only.depends_on, only.health_check, only.stop_timeout) == (True, (), None, None)
    assert not only.is_sidecar


def test_what_is_read_of_a_container() -> None:
    sidecar = {
        "name": "sidecar",
        "image": "i",
        "memory": 64,
        "dockerLabels": {"tramo.sidecar": "true"},
        "healthCheck": {"command": ["CMD-SHELL", "probe || exit 1"], "interval": 5, "startPeriod": 20},
    }
    app = container(
        entryPoint=["python"],
        command=["-m", "app"],
        environment=[{"name": "A", "value": "1"}, {"name": "B"}],
        dependsOn=[{"containerName": "sidecar", "condition": "HEALTHY"}],
        stopTimeout=10,
    )
    first, second = read(document(app, sidecar)).containers
    assert first.command == ("python", "-m", "app")
    assert first.environment == {"A": "1", "B": ""}
    assert first.depends_on == (("sidecar", Condition.HEALTHY),)
    assert first.stop_timeout == 10
    assert second.is_sidecar
    assert second.health_check == HealthCheck(("/bin/sh", "-c", "probe || exit 1"), 5, 5, 3, 20)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "family"),
        (document(family="a b"), "family"),
        (document(containerDefinitions=[]), "1 to 10"),
        (document(networkMode="bridge"), "awsvpc"),
        (document({"image": "i", "memory": 64}), "name must be"),
        (document(container(), container()), "same name"),
        (document({"name": "a", "image": "nginx", "memory": 64}), "entryPoint or command"),
        (document(container(command="run")), 'command must be a list, not "run"'),
        (document(container(essential="yes")), "essential"),
        (document(container(essential=False)), "at least one container must be essential"),
        (document(container(environment={"A": "1"})), "environment"),
        (document(container(dockerLabels={"a": 1})), "dockerLabels"),
        (document(container(secrets=[{"name": "S", "valueFrom": "x"}])), "secrets"),
        (document(container(stopTimeout=500)), "stopTimeout must be 0 to 120"),
        (document(container(healthCheck={"command": ["probe"]})), "CMD or CMD-SHELL"),
        (document(container(healthCheck={"command": ["CMD"]})), "names no command"),
        (document(container(healthCheck={"command": ["CMD", "x"], "interval": 1})), "interval must be 5 to 300"),
        (document(container(dependsOn=[{"containerName": "x", "condition": "READY"}])), "START, COMPLETE"),
        (document(container(dependsOn=[{"containerName": "x", "condition": "START"}])), "not in the definition"),
        (document(container(dependsOn=[{"containerName": "app", "condition": "START"}])), "circle: app"),
        (
            document(container(), container(name="b", dependsOn=[{"containerName": "app", "condition": "HEALTHY"}])),
            "has no healthCheck",
        ),
        (
            document(container(), container(name="b", dependsOn=[{"containerName": "app", "condition": "SUCCESS"}])),
            "essential",
        ),
        (document(container(user="www-data")), "in numbers"),
        (document(container(systemControls=[{"namespace": "kernel.shmmax", "value": "1"}])), "systemControls"),
        (document(container(portMappings=[{"containerPort": 8080, "appProtocol": "tcp"}])), "http, http2, grpc"),
    ],
)
def test_what_ecs_would_refuse_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        read(raw)


@pytest.mark.parametrize("user", ["0", "0:1337", "1000:1000"])
def test_a_user_is_read(user: str) -> None:
    [only] = read(document(container(user=user))).containers
    assert only.user == user


def proxy(**properties: str) -> dict[str, Any]:
    pairs = [{"name": name, "value": value} for name, value in properties.items()]
    return document(proxyConfiguration={"type": "APPMESH", "containerName": "app", "properties": pairs})


def test_a_read_only_container_and_its_kernel_parameters_are_read() -> None:
    control = {"namespace": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    [only] = read(document(container(readonlyRootFilesystem=True, systemControls=[control]))).containers
    assert (only.read_only, only.system_controls) == (True, (("net.ipv4.ip_unprivileged_port_start", "0"),))


def test_the_proxy_configuration_is_read() -> None:
    given = proxy(
        ProxyIngressPort="15000",
        AppPorts="8080, 9090",
        ProxyEgressPort="15001",
        IgnoredGID="1337",
        EgressIgnoredPorts="22",
        EgressIgnoredIPs="0.0.0.0/1,10.0.0.0/8",
        IgnoredUID="",
    )
    assert read(given).proxy == ProxyConfiguration(
        egress_port=15001,
        ingress_port=15000,
        app_ports=(8080, 9090),
        ignored_gid=1337,
        ignored_ports=(22,),
        ignored_networks=("0.0.0.0/1", "10.0.0.0/8"),
    )
    assert read(document()).proxy is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (proxy(IgnoredGID="1"), "ProxyEgressPort is missing"),
        (proxy(ProxyEgressPort="15001"), "IgnoredUID or IgnoredGID"),
        (proxy(ProxyEgressPort="15001", IgnoredGID="1", AppPorts="80"), "AppPorts needs ProxyIngressPort"),
        (proxy(ProxyEgressPort="0", IgnoredGID="1"), "ProxyEgressPort must be 1 to 65535, not '0'"),
        (proxy(ProxyEgressPort="15001", IgnoredGID="x"), "IgnoredGID must be"),
        (proxy(ProxyEgressPort="15001", IgnoredGID="1", EgressIgnoredIPs="10.0.0.1/8"), "EgressIgnoredIPs"),
        (proxy(ProxyEgressport="15001", IgnoredGID="1"), "ProxyEgressport is none of"),
        (document(proxyConfiguration={"containerName": "other"}), "containerName 'other' is not in the definition"),
        (document(proxyConfiguration={"containerName": "app", "type": "ENVOY"}), "must be APPMESH"),
    ],
)
def test_a_proxy_configuration_that_the_plugin_would_refuse_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        read(raw)


def test_no_health_check_is_said_by_none() -> None:
    [only] = read(document(container(healthCheck={"command": ["NONE"]}))).containers
    assert only.health_check is None


@pytest.mark.parametrize("path", [*SHOP.glob("*.json"), *SHOP.glob("releases/*.json")], ids=lambda p: p.stem)
def test_the_example_is_read(path: Path) -> None:
    raw = json.loads(path.read_text())
    if path.name == "services.json":
        assert {service["taskDefinition"] for service in raw["services"]} <= {p.stem for p in SHOP.glob("*.json")}
    else:
        assert [c.is_sidecar for c in read(raw).containers][:2] == [False, True]
