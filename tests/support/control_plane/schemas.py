"""Judging documents by the registry's JSON Schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / "functions" / "registry" / "schemas"
GOLDEN_SNAPSHOTS = sorted((ROOT / "tests" / "golden" / "snapshots").glob("*.json"))


@cache
def _validator(name: str) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check(name: str, document: Any) -> None:
    """Raise what is wrong with a document by the schema snapshot or policy."""
    _validator(name).validate(document)


def is_valid(name: str, document: Any) -> bool:
    """Return whether a document is valid by the schema snapshot or policy."""
    return bool(_validator(name).is_valid(document))
