"""What `sam build` packs: all that the functions import, and nothing of the development environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.control_plane import aws, lambda_runtime, sam

FUNCTIONS = sam.functions().values()
LIMIT_BYTES = 250 * 1024 * 1024  # Lambda's for an unpacked function


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_every_handler_can_be_imported_from_the_artefact(build: Path, function: sam.Function) -> None:
    module, _, name = function.handler.rpartition(".")
    environment = {**aws.ENVIRONMENT, **function.environment, "LAMBDA_TASK_ROOT": str(build / function.name)}
    finished = subprocess.run(
        [*lambda_runtime.isolated_python(), "-c", f"from {module} import {name}; assert callable({name})"],
        cwd=build / function.name,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout.decode()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_artefact_holds_the_sources_and_nothing_needless(build: Path, function: sam.Function) -> None:
    sources = sam.REPOSITORY / "functions"
    packed = build / function.name
    for path in sources.rglob("*"):
        if path.is_file() and not {"__pycache__", ".chalice"} & set(path.parts):
            assert (packed / path.relative_to(sources)).read_bytes() == path.read_bytes()
    assert not [name for name in ("tests", "sidecar", "infra", ".chalice") if (packed / name).exists()]
    assert not list((packed / "api").rglob(".chalice"))
    assert not [path for source in sources.iterdir() for path in (packed / source.name).rglob("*.pyc")]


def test_the_artefact_is_within_lambdas_limit(build: Path) -> None:
    for function in FUNCTIONS:
        size = sum(path.stat().st_size for path in (build / function.name).rglob("*") if path.is_file())
        assert size < LIMIT_BYTES / 2, function.name
