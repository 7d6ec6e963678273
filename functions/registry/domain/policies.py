"""Policies as they are stored and published. Pure. What one may say is in `schemas/policy.json`."""

from __future__ import annotations

from typing import Any


def normalised(value: Any) -> Any:
    """Return a policy, or a part of it, with whole numbers as integers.

    In JSON Schema 2.0 is an integer; a strict reader takes it for another type than 2, and refuses the policy.
    """
    if isinstance(value, dict):
        return {name: normalised(each) for name, each in value.items()}
    if isinstance(value, list):
        return [normalised(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
