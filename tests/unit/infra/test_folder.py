from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local.folder import read
from infra.local.settings import LocalError
from tests.support.control_plane.local_cluster import container, definition

SHOP = Path("infra/examples/shop")


def write(directory: Path, **files: Any) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (directory / f"{name}.json").write_text(text)
    return directory


def service(name: str = "s", **changes: Any) -> dict[str, Any]:
    return {"serviceName": name, "taskDefinition": "app", **changes}


def plan(*services: Any, **changes: Any) -> dict[str, Any]:
    return {"cluster": "shop", "services": list(services), **changes}


def mistakes(directory: Path) -> str:
    with pytest.raises(LocalError) as caught:
        read(directory, "us-east-1")
    return str(caught.value)


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    write(tmp_path / "releases", later={"family": "later"})
    app, other = definition(), definition(family="other")
    found = read(write(tmp_path, services=plan(service()), b=other, a=app), "us-east-1")
    assert (found.cluster, found.definitions, found.services) == ("shop", (app, other), [service()])


def test_the_example_has_no_mistake() -> None:
    assert {each["serviceName"] for each in read(SHOP, "us-east-1").services} == {"cache", "stock", "orders", "web"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "services.json: No such file or directory"),
        ({"services": "{"}, "services.json: not JSON: Expecting"),
        ({"services": []}, "services.json: not a JSON object"),
        ({"services": {"cluster": "shop"}}, "services.json: 'services' must be a list"),
        ({"services": plan(), "package": {"name": "x"}}, "package.json: not a task definition"),
        ({"services": plan(clusters="x")}, "'clusters' is not known: did you mean cluster?"),
        (
            {"services": plan(service(desiredcount=2))},
            "services[0].desiredcount is not known: did you mean desiredCount?",
        ),
        ({"services": plan(service(desiredCount="2"))}, 'services[0].desiredCount must be a whole number, not "2"'),
        ({"services": plan(service(desiredCount=5001))}, "desiredCount must be 0 to 5,000"),
        ({"services": plan("s")}, "services[0] must be an object"),
        ({"services": plan(service(), service())}, "services[1].serviceName 's' is that of another service"),
        ({"services": plan(service(taskDefinition="ap"))}, "'ap' is not in this folder: did you mean app?"),
        ({"services": plan(service(loadBalancers=[{"containerName": "app"}]))}, "there is no load balancer"),
        ({"services": plan(), "other": definition()}, "other.json: family 'app' is that of another file"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_path(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    assert message in mistakes(write(tmp_path, app=definition(), **files))


def test_all_mistakes_of_a_folder_are_reported_at_once(tmp_path: Path) -> None:
    broken = definition(container(portMappings=[{"containerPort": 99999}]))
    said = mistakes(write(tmp_path, services=plan(service(desiredCount=-1)), app=broken, more="[")).splitlines()
    assert said[0] == "3 mistakes:"
    assert said[1].endswith(
        "app.json: containerDefinitions[0].portMappings[0].containerPort must be 0 to 65535, not 99999"
    )
    assert "more.json" in said[2]
    assert "desiredCount" in said[3]
