"""What a cold start need not load. By module and not by time: that depends on the machine and its load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[3] / "functions"

# Each was part of a cold start once, or is next to what is imported and large.
HEAVY = (
    "aws_lambda_powertools.utilities.batch",  # brings the data classes of all event sources
    "aws_lambda_powertools.utilities.parser",
    "aws_lambda_powertools.utilities.validation",  # only writes of policies are validated
    "boto3",  # botocore does what is needed
    "chalice.cli",
    "chalice.local",
    "fastjsonschema",
    "jsonschema",
    "multiprocessing",
    "pydantic",
    "s3transfer",
    "yaml",
)
SCRIPT = "import sys; import {}.app; print(*sys.modules, sep=chr(10))"


@pytest.mark.parametrize("function", ["registrar", "reconciler", "publisher", "api"])
def test_a_cold_start_loads_nothing_heavy_that_it_does_not_need(function: str) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(function)],
        env={**os.environ, "PYTHONPATH": str(FUNCTIONS)},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.split()
    assert f"{function}.app" in loaded
    assert [module for module in HEAVY if module in loaded] == []
