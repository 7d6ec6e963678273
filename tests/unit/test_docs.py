"""The documentation against the code: generated parts, links, and the names that pages speak of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.packaging import docs
from sidecar.admin.pages import ACTIONS, PAGES, Pages
from sidecar.core.access_log import HttpLine, TcpLine
from sidecar.core.routing import policy

ROOT = Path(__file__).parents[2]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_generated_parts_are_fresh(path: Path) -> None:
    assert docs.render(path.read_text()) == path.read_text(), "run `make docs`"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"`make ([a-z -]+)|^\$ make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE)
    assert {target for inline, shown in named for target in (inline or shown).split()} <= targets


def test_every_file_that_contributors_are_led_to_exists() -> None:
    paths = re.findall(r"`((?:functions|sidecar|infra|tests|docs)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_admin_page_is_listed() -> None:
    served = set(re.findall(r'"(/[a-z]*)":', Path(Pages.__module__.replace(".", "/") + ".py").read_text()))
    assert served == set(PAGES) | set(ACTIONS)


def test_the_table_of_defaults_is_the_policy() -> None:
    rows = re.findall(
        r"^\| `(\w+)\.(\w+)` \| ([^|,]+(?:, `\w+`)*)", (ROOT / "docs" / "resilience.md").read_text(), re.MULTILINE
    )
    told = {(group, field): value.replace("`", "").strip() for group, field, value in rows}
    real = {
        (group, field): getattr(getattr(policy.DEFAULT, group), field)
        for group in policy.DEFAULT.__struct_fields__
        for field in getattr(policy.DEFAULT, group).__struct_fields__
    }
    assert set(told) == set(real)
    for key, value in real.items():
        assert told[key] == _shown(value), key


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if value == "":
        return "empty"
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(
    "path", [each for each in TEXTS if each.name in ("aws.md", "upgrade.md")], ids=lambda path: path.name
)
def test_every_test_that_a_page_rests_on_exists(path: Path) -> None:
    named = re.findall(r"`(?:tests/)?((?:unit|integration|e2e)/[\w/]+\.py)(?:::(\w+))?`", path.read_text())
    assert named
    for file, name in named:
        assert f"def {name}" in (ROOT / "tests" / file).read_text(), (file, name)


def test_every_field_of_the_access_log_is_described() -> None:
    rows = docs.log_fields().splitlines()[2:]
    assert len(rows) == len({*HttpLine.__struct_fields__, *TcpLine.__struct_fields__})
    assert not [row for row in rows if row.endswith("|  |")]
