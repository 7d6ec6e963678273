"""The set-up: what it does when something is missing, with stand-ins for apt-get and npm."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
NEED = REPOSITORY / "infra" / "packaging" / "need.sh"
DYNAMODB_LOCAL = REPOSITORY / "infra" / "packaging" / "dynamodb_local.sh"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory that comes first on PATH."""
    directory = tmp_path / "programs"
    directory.mkdir()
    return directory


def program(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def run(programs: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, "PATH": f"{programs}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )


def test_what_works_is_left_alone(programs: Path) -> None:
    program(programs, "apt-get", "echo apt-get was called; exit 1")
    finished = run(programs, NEED, "coreutils", "true")
    assert (finished.returncode, finished.stdout) == (0, "")


def test_root_gets_the_package(programs: Path) -> None:
    program(programs, "id", "echo 0")
    program(programs, "apt-get", f'test "$1" = update || ln -s /bin/true {programs}/frobnicate')
    finished = run(programs, NEED, "frob", "frobnicate", "--version")
    assert (finished.returncode, finished.stdout) == (0, "setup: Debian package frob\n")


def test_everyone_else_is_told_what_to_install(programs: Path) -> None:
    program(programs, "id", "echo 1000")
    program(programs, "apt-get", "echo apt-get was called; exit 1")
    finished = run(programs, NEED, "frob", "frobnicate")
    assert finished.returncode == 1
    assert "`frobnicate` does not work here" in finished.stdout
    assert "apt-get install frob" in finished.stdout


def test_a_package_that_does_not_help_is_an_error(programs: Path) -> None:
    program(programs, "id", "echo 0")
    program(programs, "apt-get", "exit 0")
    finished = run(programs, NEED, "frob", "frobnicate")
    assert finished.returncode == 1
    assert "although frob is installed" in finished.stdout


def test_another_dynamodb_local_than_the_tested_one_is_refused(programs: Path, tmp_path: Path) -> None:
    program(programs, "npm", 'echo no archive > "$(echo "$3" | tr @ -).tgz"')
    finished = run(programs, DYNAMODB_LOCAL, tmp_path / "dynamodb-local")
    assert finished.returncode == 1
    assert "its checksum differs; nothing installed" in finished.stdout
    assert not (tmp_path / "dynamodb-local").exists()


def test_npms_own_words_are_shown(programs: Path, tmp_path: Path) -> None:
    program(programs, "npm", "echo npm error code E404 >&2; exit 1")
    finished = run(programs, DYNAMODB_LOCAL, tmp_path / "dynamodb-local")
    assert finished.returncode == 1
    assert "E404" in finished.stdout


def test_every_target_is_in_the_help() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    helped = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    lines = dict(line.split(None, 1) for line in helped.splitlines())
    assert lines.keys() == set(phony[1].split())
    assert all(lines.values())
