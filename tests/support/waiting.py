"""Waiting for a condition with a deadline: the only way in which tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 4
"""How many times as long a condition may take on a busy machine. A deadline ends what hangs; it measures nothing."""


def until(condition: Callable[[], T], seconds: float, what: str, interval: float = 0.02) -> T:
    """Return the condition's first true value. Raises TimeoutError that says what was waited for.

    `seconds` is ample on a quiet machine.
    """
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {seconds * PATIENCE} s for {what}")
        time.sleep(interval)
