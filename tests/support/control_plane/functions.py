"""Functions that are not Lambda's: what the local event bus, stream and API call in tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.local.functions import FunctionError
from infra.local.template import FunctionSpec


def spec(**changes: Any) -> FunctionSpec:
    """Return a function named F that nothing calls."""
    values: dict[str, Any] = {
        "name": "F",
        "handler": "app.handler",
        "code": Path(),
        "timeout": 5.0,
        "memory": 128,
        "environment": {},
        "retries": 2,
        "keeps_failed": True,
        "patterns": (),
        "every": None,
        "stream": None,
        "routes": (),
    }
    return FunctionSpec(**{**values, **changes})


class FakeFunction:
    """Keeps what it was called with; fails the first so many times, then answers."""

    def __init__(self, spec: FunctionSpec, answer: Callable[[Any], Any] = lambda _: None, failures: int = 0) -> None:
        self.spec = spec
        self.events: list[Any] = []
        self._answer = answer
        self._failures = failures

    async def invoke(self, event: object) -> Any:
        """Answer, or fail."""
        self.events.append(event)
        if self._failures:
            self._failures -= 1
            raise FunctionError(self.spec.name, "ValueError", "on purpose")
        return self._answer(event)
