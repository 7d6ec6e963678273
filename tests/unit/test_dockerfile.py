"""The image cannot be built in every place the tests run, so what it names is checked here."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

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
    for needed in map(Path, [*wheel, PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]]):
        assert copied & {needed, *needed.parents}, needed


def test_commands_are_scripts_of_the_project() -> None:
    scripts = PROJECT["project"]["scripts"]
    commands = re.findall(r'\["([a-z-]+)"', DOCKERFILE)
    assert commands
    assert set(commands) <= {
        *scripts,
        *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"].values(),
    }


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
