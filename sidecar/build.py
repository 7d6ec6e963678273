"""How this sidecar was built: with its hot modules compiled by mypyc, or as pure Python."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

COMPILED: Final = "compiled"
PURE: Final = "pure Python"
_WITNESS: Final = "sidecar.core.timers"
"""One of the modules that are compiled all together or not at all; without imports of its own."""


def kind() -> str:
    """`compiled` or `pure Python`, by where Python takes the hot modules from."""
    spec = find_spec(_WITNESS)
    return PURE if spec is None or spec.origin is None or spec.origin.endswith(".py") else COMPILED
