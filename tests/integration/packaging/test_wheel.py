"""The wheel holds the sidecar and the `tramo` command, and needs nothing but what it declares."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
BINARIES = Path(sys.executable).parent
SECONDS = 120


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TRAMO_", "PYTHON"))}
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def done(*command: str | Path) -> str:
    finished = run(*command)
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    done(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory)
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin directory of a new environment with the wheel, dependencies as locked."""
    environment = tmp_path_factory.mktemp("environment")
    done(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    done(BINARIES / "uv", "pip", "install", "--python", python, "--constraint", "requirements-dev.txt", wheel)
    return environment / "bin"


def test_the_wheel_holds_two_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"sidecar", "infra"}
    sources = (path for package in ("sidecar", "infra") for path in (REPOSITORY / package).rglob("*.py"))
    assert set(names) >= {str(path.relative_to(REPOSITORY)) for path in sources}


def test_the_tramo_command(installed: Path) -> None:
    assert "usage: tramo" in done(installed / "tramo", "--help")
    assert done(installed / "tramo", "--version").strip()


def test_the_sidecar_says_what_it_misses(installed: Path) -> None:
    finished = run(installed / "tramo-sidecar")
    assert finished.returncode == 2
    assert "TRAMO_NAMESPACE is not set" in finished.stdout
