"""Compile the proxy with mypyc when its wheel is built.

TRAMO_COMPILE says what to do:

- `auto`, the default: compile where a C compiler with Python's headers and mypy are, else make a pure Python wheel
- `1`: compile, and fail where one of them is missing
- `0`: a pure Python wheel

Where it compiles, an error in the types or in the C code is an error: it must not turn into a slow wheel. The Python
files stay in the wheel beside the compiled ones, for tracebacks. An editable install is always pure, and nothing is
left in the source tree.

`python -m infra.packaging.hatch_build` translates the modules to C and throws the C away: mypyc refuses code that mypy
takes, and says so in 10 s, without the minute of the C compiler.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sysconfig
import tempfile
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WISHES: Final = ("auto", "0", "1")
GROUP: Final = "sidecar.compiled"
"""One shared library for all modules, `sidecar/compiled__mypyc`: calls between them are C calls."""
OPTIONS: Final = ("--strict", "--follow-imports=silent", "--ignore-missing-imports", f"--cache-dir={os.devnull}")


class CompileError(Exception):
    """The wheel cannot be compiled; the message says why and what to do."""


def missing(environment: Mapping[str, str]) -> str | None:
    """Return what compiling lacks here, or None when all is there."""
    for module in ("mypyc", "setuptools"):
        if find_spec(module) is None:
            return f"the Python package {'mypy' if module == 'mypyc' else module} is not installed"
    compiler = shlex.split(environment.get("CC") or str(sysconfig.get_config_var("CC") or "cc"))[0]
    if shutil.which(compiler, path=environment.get("PATH")) is None:
        return f"there is no C compiler {compiler} (on Debian: apt-get install gcc libc6-dev)"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").exists():
        return f"Python's headers are not in {headers} (on Debian: apt-get install python3-dev)"
    return None


def modules(root: Path, packages: list[str], left_out: list[str]) -> list[str]:
    """Return the paths, from the root, of the modules of these packages without those left out."""
    found = [path for package in packages for path in sorted((root / package).glob("*.py"))]
    names = [path.relative_to(root).as_posix() for path in found if path.name != "__init__.py"]
    return [name for name in names if name not in left_out]


def translate(names: list[str], out: Path) -> list[Any]:
    """Translate modules, paths from the current directory, to C; return the extensions. Exits when mypyc refuses."""
    from mypyc.build import mypycify

    return mypycify([*OPTIONS, *names], opt_level="3", debug_level="0", group_name=GROUP, target_dir=str(out / "c"))


def compile_modules(root: Path, names: list[str], out: Path) -> list[Path]:
    """Compile modules below root; return the extension files, written below `out / "lib"`."""
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    here = Path.cwd()
    os.chdir(root)  # mypyc names modules by their paths from here
    try:
        extensions = translate(names, out)
        command = build_ext(Distribution({"name": "sidecar", "ext_modules": extensions}))
        command.build_lib = str(out / "lib")
        command.build_temp = str(out / "tmp")
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(here)
    return sorted((out / "lib").rglob("*.so"))


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled modules into the wheel."""

    _temporary: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, if that is wanted and possible. `version` is `editable` for an editable install.

        Raises CompileError when TRAMO_COMPILE is wrong, or demands what cannot be done.
        """
        wish = os.environ.get("TRAMO_COMPILE", "auto")
        if wish not in WISHES:
            raise CompileError(f"TRAMO_COMPILE={wish}: it is one of {', '.join(WISHES)}")
        if self.target_name != "wheel" or version == "editable" or wish == "0":
            return
        lacking = missing(os.environ)
        if lacking is not None:
            if wish == "1":
                raise CompileError(f"TRAMO_COMPILE=1, but {lacking}")
            self.app.display_warning(f"a pure Python wheel, not a compiled one: {lacking}")
            return
        self._temporary = tempfile.TemporaryDirectory(prefix="tramo-compile-")
        out = Path(self._temporary.name)
        names = modules(Path(self.root), self.config["packages"], self.config["except"])
        for path in compile_modules(Path(self.root), names, out):
            build_data["force_include"][str(path)] = path.relative_to(out / "lib").as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True  # such as cp311-cp311-linux_x86_64

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what compiling left."""
        if self._temporary is not None:
            self._temporary.cleanup()


def check(root: Path) -> None:
    """Say with an exit code of 1 which of the modules mypyc refuses."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    with tempfile.TemporaryDirectory(prefix="tramo-check-") as out:
        translate(modules(root, hook["packages"], hook["except"]), Path(out))


if __name__ == "__main__":
    check(Path())
