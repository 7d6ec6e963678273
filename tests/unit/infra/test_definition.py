from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local.definition import Condition, DefinitionError, HealthCheck, parse

SHOP = Path("infra/examples/shop")


def container(**changes: Any) -> dict[str, Any]:
    return {"name": "app", "image": "i", "command": ["run"], **changes}


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
        (document({"image": "i"}), "needs a name"),
        (document(container(), container()), "same name"),
        (document({"name": "a", "image": "nginx"}), "entryPoint or command"),
        (document(container(command="run")), "command must be a list"),
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
    ],
)
def test_what_ecs_would_refuse_is_refused(raw: dict[str, Any], message: str) -> None:
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
        assert [c.is_sidecar for c in read(raw).containers] == [False, True]
