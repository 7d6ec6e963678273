"""What is said of the build is so: all modules that the wheel's build compiles are compiled, or none."""

from __future__ import annotations

import os
import tomllib
from importlib import import_module
from pathlib import Path

import sidecar
from sidecar import build

ROOT = Path(__file__).parents[3]
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"][
    "custom"
]


def origins(directory: Path) -> dict[str, str | None]:
    """Return the suffix of the file that each module is taken from."""
    names = [
        path.relative_to(directory).as_posix()
        for package in HOOK["packages"]
        for path in sorted((directory / package).glob("*.py"))
        if path.name != "__init__.py"
    ]
    modules = {name: import_module(name.removesuffix(".py").replace("/", ".")) for name in names}
    return {name: Path(module.__file__ or "").suffix for name, module in modules.items()}


def test_the_tests_run_on_the_build_that_is_asked_for() -> None:
    """`make test-compiled` asks for the compiled one; without a word it is the source."""
    assert build.kind() == os.environ.get("TRAMO_EXPECTED_BUILD", build.PURE)


def test_all_modules_are_of_the_build_that_is_said() -> None:
    found = origins(Path(sidecar.__file__).parent.parent)
    assert len(found) > 30
    compiled = {name for name, suffix in found.items() if suffix == ".so"}
    assert compiled == (set(found) - set(HOOK["except"]) if build.kind() == build.COMPILED else set())
    assert {found[name] for name in HOOK["except"]} == {".py"}
