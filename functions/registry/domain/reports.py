"""What a sidecar reports of its task. Pure.

A report says up to three things, and each one stands for itself:

1. The task's health, as ECS holds it, and since when.
2. That ECS wants the task to stop (`DesiredStatus` of the task metadata). ECS never takes that back.
3. The findings: mistakes that the sidecar sees in its task, such as two listeners on one port. A report replaces
   all that the one before it found; None says nothing about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_FINDINGS: Final = 16  # of a task; with the texts' bounds an item of DynamoDB grows by 10 KB at most
LONGEST_WHERE: Final = 120
LONGEST_TEXT: Final = 240


class Health(StrEnum):
    """A report about a task's essential containers. UNKNOWN is no report."""

    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


class Level(StrEnum):
    """How bad a finding is. With an error something does not work."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake that a sidecar sees: `where` it is, `what` it is, and the `remedy`."""

    code: str
    level: Level
    where: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One report, made at `at` (epoch seconds), about a health that has held since `health_at`."""

    at: float
    health: Health | None = None
    health_at: float = 0.0
    is_stopping: bool = False
    findings: tuple[Finding, ...] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the report says nothing."""
        return self.health is None and not self.is_stopping and self.findings is None
