"""What `sam build` packs: all that the functions import, and nothing of the development environment."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.control_plane import aws, lambda_runtime, sam

FUNCTIONS = sam.functions().values()
MOST_BYTES = 25 * 1024 * 1024
"""Half as much again as it has. Lambda takes 250 MB, but each megabyte is read at a cold start."""
COMMAND_LINE = {"pip", "setuptools", "wheel", "inquirer", "blessed", "click", "boto3", "yaml"}


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
    for path in sources.glob("*/**/*"):
        if path.is_file() and not {"__pycache__", ".chalice"} & set(path.parts):
            assert (packed / path.relative_to(sources)).read_bytes() == path.read_bytes()
    assert not [name for name in ("tests", "sidecar", "infra", ".chalice") if (packed / name).exists()]
    assert not list((packed / "api").rglob(".chalice"))
    assert not [path for source in sources.iterdir() for path in (packed / source.name).rglob("*.pyc")]


def test_the_artefact_is_small_and_without_chalices_command_line(build: Path) -> None:
    for function in FUNCTIONS:
        packed = build / function.name
        assert not COMMAND_LINE & {path.name for path in packed.iterdir()}
        assert sum(path.stat().st_size for path in packed.rglob("*") if path.is_file()) < MOST_BYTES, function.name


def test_the_artefact_serves_either_processor(build: Path) -> None:
    assert not [path for path in build.rglob("*") if path.suffix in (".so", ".pyd", ".dylib")]


def test_botocore_has_the_description_of_each_service_that_functions_call_and_of_no_other(build: Path) -> None:
    calls = (path.read_text() for path in (sam.REPOSITORY / "functions").rglob("*.py"))
    called = {name for text in calls for name in re.findall(r'_client\("([a-z0-9-]+)"', text)}
    found = {path.name for path in (build / "Api" / "botocore" / "data").iterdir() if path.is_dir()}
    assert found == called | {"dynamodb", "sts", "xray"}  # PynamoDB's, the credentials', and the X-Ray SDK's
