"""What the how-to pages tell people to type and to write: the tool takes it, and the registry accepts it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest

from infra.cli import main as cli
from infra.inject import Settings, inject
from infra.local import folder
from infra.local.settings import LocalError
from registry.domain.definition import parse
from registry.domain.offer import Definition
from tests.support.control_plane.schemas import check

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
HOW_TO: Final = [
    ROOT / "docs" / name
    for name in ("install.md", "join.md", "migrate.md", "network.md", "policies.md", "services.md", "troubleshoot.md")
]


def commands(path: Path) -> list[str]:
    """Return the commands of `tramo` in a page's console blocks, without comments and what the shell does."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", path.read_text(), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [
        line.strip().removeprefix("$ ").removeprefix(".venv/bin/") for line in lines if line.strip().startswith("$ ")
    ]
    return [line for line in found if line.startswith("tramo ")]


def json_blocks(name: str) -> list[Any]:
    text = (ROOT / "docs" / name).read_text()
    blocks = re.findall(r"^ *```json\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [json.loads(block if block.lstrip()[0] in "{[" else f"{{{block}}}") for block in blocks]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_is_one_that_the_tool_takes(path: Path) -> None:
    for line in commands(path):
        line = line.replace("<ApiUrl>", "https://api.example/live")
        words = shlex.split(re.sub(r" [>|].*$", "", line), comments=True)
        cli.make_parser().parse_args(words[1:])


def test_every_how_to_has_commands() -> None:
    assert [path.name for path in HOW_TO if not commands(path)] == ["network.md"]


def test_the_task_definition_of_the_page_joins() -> None:
    task, block, label = json_blocks("join.md")
    settings = Settings("registry/tramo-sidecar", "https://api.example/live")
    finished = inject(task, settings, block)
    assert [each["name"] for each in finished["containerDefinitions"]] == ["orders", "sidecar", "gate"]
    (offer,) = parsed(finished).offers
    assert [(each.dns_name, each.port) for each in offer.aliases] == [("orders", 80)]
    assert parsed(inject(task, settings, {"namespace": "shop.local"})).offers == ()
    bridge = {**task, "networkMode": "bridge", "containerDefinitions": [{**task["containerDefinitions"][0], **label}]}
    assert [each.service for each in parsed(bridge).offers] == ["orders"]


def test_the_folder_of_the_page_can_be_brought_up(tmp_path: Path) -> None:
    services, task, block = json_blocks("services.md")
    (tmp_path / "services.json").write_text(json.dumps(services))
    (tmp_path / "web.json").write_text(json.dumps(task))
    assert folder.read(tmp_path, "us-east-1").cluster == "shop"
    finished = inject(task, Settings("tramo", "http://unused"), block)
    (tmp_path / "web.json").write_text(json.dumps(finished))
    assert [each["family"] for each in folder.read(tmp_path, "us-east-1").definitions] == ["web"]


def test_the_fields_that_the_page_says_are_refused_are(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "services.md").read_text()
    services, task, _ = json_blocks("services.md")
    (tmp_path / "web.json").write_text(json.dumps(task))
    for field, value in (
        ("loadBalancers", [{"containerName": "app", "containerPort": 8080}]),
        ("serviceRegistries", [{"registryArn": "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-1"}]),
        ("serviceConnectConfiguration", {"enabled": True}),
        ("schedulingStrategy", "DAEMON"),
    ):
        assert f"`{field}`" in text
        changed = {**services, "services": [{**services["services"][0], field: value}]}
        (tmp_path / "services.json").write_text(json.dumps(changed))
        with pytest.raises(LocalError, match=field):
            folder.read(tmp_path, "us-east-1")


def parsed(task: dict[str, Any]) -> Definition:
    definition = parse({**task, "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/orders:1"})
    assert definition is not None
    return definition


def test_every_policy_of_the_page_is_accepted() -> None:
    policies = [each for each in json_blocks("policies.md") if "Effect" not in each]
    assert len(policies) == 4
    for each in policies:
        check("policy", each)
