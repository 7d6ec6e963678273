"""The image cannot be built in every place the tests run, so what it names is checked here."""

from __future__ import annotations

import ast
import re
import shlex
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sidecar.__main__ import USAGE

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "sidecar" / "Dockerfile").read_text().replace("\\\n", " ")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions(name: str) -> list[str]:
    return [line[len(name) :].strip() for line in DOCKERFILE.splitlines() if line.startswith(f"{name} ")]


def pins(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / path).read_text(), re.MULTILINE))


def test_everything_that_is_copied_exists() -> None:
    copied = [source for line in instructions("COPY") if "--from" not in line for source in shlex.split(line)[:-1]]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_wheel_can_be_built_from_what_is_copied() -> None:
    copied = {Path(word) for line in instructions("COPY") for word in shlex.split(line)}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    hook = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["path"]
    for needed in map(Path, [*wheel, hook, PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]]):
        assert copied & {needed, *needed.parents}, needed


def test_commands_are_scripts_of_the_project() -> None:
    commands = re.findall(r'\["([a-z-]+)"', DOCKERFILE)
    assert commands
    assert set(commands) <= set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"].values())


def test_the_health_check_uses_an_option_that_exists() -> None:
    options = re.findall(r'"(--[a-z]+)"\]', DOCKERFILE)
    assert options == ["--ready"]
    assert all(option in USAGE for option in options)


def test_it_does_not_run_as_root() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", final, re.MULTILINE) == ["tramo"]


def test_the_locks_hold_every_dependency_at_the_tested_version() -> None:
    wanted = PROJECT["project"]["dependencies"]
    tested = pins("requirements-dev.txt")
    for path, needed in (
        ("sidecar/requirements.txt", wanted),
        ("sidecar/requirements-build.txt", [*wanted, *PROJECT["dependency-groups"]["build"]]),
    ):
        locked = pins(path)
        assert {name: locked[name] for name in locked if locked[name] != tested.get(name)} == {}
        assert {re.split(r"[<>=;\[ ]", line)[0] for line in needed} <= set(locked)


def test_what_compiles_is_what_an_isolated_build_installs() -> None:
    hook = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    assert set(PROJECT["dependency-groups"]["build"]) == {*PROJECT["build-system"]["requires"], *hook["dependencies"]}


def test_the_image_is_compiled_and_has_no_compiler() -> None:
    build, _, final = DOCKERFILE.rpartition("\nFROM ")
    assert "TRAMO_COMPILE=1" in build
    assert "gcc" in build
    assert "gcc" not in final
    assert re.findall(r"^COPY (\S+)", final, re.MULTILINE) == ["--from=build"]


def test_what_is_copied_is_of_the_sidecar() -> None:
    """The hook compiles the wheel and stays in the stage that builds."""
    copied = [source for line in instructions("COPY") if "--from" not in line for source in shlex.split(line)[:-1]]
    assert [each for each in copied if each.startswith(("infra", "functions"))] == ["infra/packaging/hatch_build.py"]
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["sidecar"]


def imported(folder: Path) -> set[str]:
    """The top-level modules of others that the files of a folder import."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - {folder.name}


def with_dependencies(names: set[str]) -> set[str]:
    """Distributions with all that they need, without their extras."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for line in requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.add(requirement.name)
    return found


def test_the_image_holds_what_the_sidecar_imports_and_nothing_else() -> None:
    distributions = packages_distributions()
    direct: set[str] = {canonicalize_name(distributions[module][0]) for module in imported(ROOT / "sidecar")}
    assert {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]} == direct
    assert set(pins("sidecar/requirements.txt")) == with_dependencies(direct)
