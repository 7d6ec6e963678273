"""docs/security.md against the code: every test that it names exists, every limit is the real one."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ")]
TESTS = re.findall(r"\| `([\w/.]+\.py)::(\w+)(?:\[([^\]]+)\])?` \|$", TEXT, re.MULTILINE)
LIMITS = re.findall(r"^\| `([\w.]+)\.([A-Z_]+)` \| ([\d.]+) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("file", "name", "case"), TESTS, ids=lambda value: str(value)[-40:])
def test_the_test_exists(file: str, name: str, case: str) -> None:
    source = (ROOT / "tests" / file).read_text()
    assert f"def {name}(" in source
    assert not case or f'"{case}":' in source, "no such case"


@pytest.mark.parametrize(("module", "name", "value"), LIMITS, ids=lambda value: str(value)[-40:])
def test_the_limit_is_the_real_one(module: str, name: str, value: str) -> None:
    assert getattr(import_module(f"sidecar.{module}"), name) == float(value)


def test_every_row_names_a_test_or_a_limit() -> None:
    heads = [row for row in ROWS if row.endswith(("| test |", "| value |", "| MiB |", "in MiB |"))]
    figures = [row for row in ROWS if re.search(r"\| (≤ )?[\d.]+ \|$", row) and "`" not in row]
    assert len(TESTS) + len(LIMITS) == len(ROWS) - len(heads) - len(figures)
    assert len(TESTS) > 60
