"""Two wheels: the sidecar, compiled where it can be, and the `tramo` command. Each needs only what it declares."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
BINARIES = Path(sys.executable).parent
COMPILED = REPOSITORY / ".tools" / "sidecar"
"""`make test` installs the compiled sidecar there: compiling takes too long to be done by a test."""
SECONDS = 120


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TRAMO_", "PYTHON"))}
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def done(*command: str | Path, **variables: str) -> str:
    finished = run(*command, **variables)
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def build(target: str, directory: Path, project: str = ".", **variables: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", directory)
    return run("env", "--chdir", project, *command, **variables)


def sources(package: str, *left_out: str) -> set[str]:
    found = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / package).rglob("*.py")}
    return {path for path in found if not path.startswith(left_out)}


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel of pure Python, built as a machine without a C compiler does by default."""
    directory = tmp_path_factory.mktemp("wheel")
    finished = build("wheel", directory, CC="/missing/cc")
    assert finished.returncode == 0, finished.stdout
    assert "a pure Python wheel, not a compiled one: there is no C compiler /missing/cc" in finished.stdout
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of the `tramo` command."""
    directory = tmp_path_factory.mktemp("command")
    finished = build("wheel", directory, "infra")
    assert finished.returncode == 0, finished.stdout
    (made,) = directory.iterdir()
    return made


@pytest.fixture
def compiled() -> Path:
    """Return the environment of the compiled sidecar."""
    if not (COMPILED / "installed").exists():
        pytest.skip("`make test` compiles the sidecar into .tools/sidecar")
    return COMPILED


@pytest.fixture(scope="module")
def installed(wheel: Path, command: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin directory of a new environment with both wheels, dependencies as locked."""
    environment = tmp_path_factory.mktemp("environment")
    done(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    done(BINARIES / "uv", "pip", "install", "--python", python, "-c", "requirements-dev.txt", wheel, command)
    return environment / "bin"


def test_the_sidecars_wheel_holds_the_sidecar_alone(wheel: Path) -> None:
    names = contents(wheel)
    scripts = {name for name in names if ".data/scripts/" in name}
    assert [Path(name).name for name in scripts] == ["tramo-sidecar"]
    modules = {name for name in names - scripts if ".dist-info/" not in name and name.endswith(".py")}
    assert modules == sources("sidecar")
    others = {name for name in names - scripts - modules if ".dist-info/" not in name}
    assert {Path(name).parts[0] for name in others} == {"sidecar"}


def test_the_commands_wheel_holds_the_package_infra(command: Path) -> None:
    names = contents(command)
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"infra"}
    assert {name for name in names if name.endswith(".py")} == sources("infra", "infra/packaging/")
    page = {f"infra/console/page/{path.name}" for path in (REPOSITORY / "infra/console/page").iterdir()}
    assert names >= {"infra/dashboards/sections.json", *page}, "what tramo console shows"


def test_the_console_needs_no_checkout(installed: Path) -> None:
    code = "from infra.cli.console import sections; print(*(each.title for each in sections()), sep=', ')"
    printed = done(installed / "python", "-P", "-c", code)
    assert "Services, One service, Sidecars, Control plane" in printed


def test_a_pure_wheel_is_for_every_machine(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


def test_to_demand_compiling_without_a_compiler_is_an_error(tmp_path: Path) -> None:
    finished = build("wheel", tmp_path, TRAMO_COMPILE="1", CC="/missing/cc")
    assert finished.returncode != 0
    assert "TRAMO_COMPILE=1, but there is no C compiler /missing/cc (on Debian: apt-get install gcc" in finished.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_wish_is_an_error(tmp_path: Path) -> None:
    finished = build("wheel", tmp_path, TRAMO_COMPILE="yes")
    assert finished.returncode != 0
    assert "TRAMO_COMPILE=yes: it is one of auto, 0, 1" in finished.stdout


def test_the_sdist_holds_what_builds_the_wheel(tmp_path: Path) -> None:
    finished = build("sdist", tmp_path / "made")
    assert finished.returncode == 0, finished.stdout
    (made,) = (tmp_path / "made").iterdir()
    finished = run("tar", "-xzf", made, "-C", tmp_path)
    assert finished.returncode == 0, finished.stdout
    (source,) = (path for path in tmp_path.iterdir() if path.name != "made")
    arguments = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "wheels")
    done("env", "--chdir", source, *arguments, TRAMO_COMPILE="0")
    assert len(list((tmp_path / "wheels").glob("*-py3-none-any.whl"))) == 1


def test_the_compiled_wheel_is_for_this_machine(compiled: Path) -> None:
    (made,) = (compiled / "dist").iterdir()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert made.name.endswith(f"-{python}-{python}-linux_{platform.machine()}.whl")


def test_the_compiled_sidecar_says_that_it_is(compiled: Path) -> None:
    assert done(compiled / "bin" / "tramo-sidecar", "--version").endswith("(compiled)\n")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    (packages,) = (compiled / "lib").glob("python3*/site-packages")
    for module in ("core/http/http1_requests", "core/http/http2", "proxy/exchange/exchange", "proxy/downstream/http1"):
        assert (packages / "sidecar" / f"{module}{suffix}").exists()


def test_the_tramo_command(installed: Path) -> None:
    assert "usage: tramo" in done(installed / "tramo", "--help")
    assert done(installed / "tramo", "--version").strip()


def test_the_sidecar_says_what_it_misses(installed: Path) -> None:
    finished = run(installed / "tramo-sidecar")
    assert finished.returncode == 2
    assert "TRAMO_API_URL is not set" in finished.stdout
