"""What the caller wrote into its log, and what it means. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tally:
    """What the caller has seen since it began. `answers` are requests by version and task of orders."""

    sent: int = 0
    failed: int = 0
    answers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    def tasks(self, version: str) -> set[str]:
        """Return the tasks of a version that have answered."""
        return {task for found, task in self.answers if found == version}


def newest(messages: Iterable[str]) -> Tally:
    """Return the tally of the last line that is one; the log also has lines of the sidecar."""
    result = Tally()
    for message in messages:
        try:
            line = json.loads(message)
        except ValueError:
            continue
        if not isinstance(line, dict) or not {"sent", "failed", "answers", "errors"} <= line.keys():
            continue
        answers = {(each["version"], task): each["count"] for task, each in line["answers"].items()}
        result = Tally(line["sent"], line["failed"], answers, tuple(line["errors"]))
    return result


@dataclass(frozen=True, slots=True)
class Report:
    """The deployment under load: tallies before and after it, and how long ECS took."""

    before: Tally
    after: Tally
    seconds: float

    @property
    def failed(self) -> int:
        """How many requests failed while the tasks were replaced."""
        return self.after.failed - self.before.failed

    @property
    def has_passed(self) -> bool:
        """Whether no request failed and the new tasks had traffic."""
        return self.failed == 0 and bool(self.after.tasks("2"))

    def text(self) -> str:
        """Return it for people."""
        lines = [
            f"deployment                  {self.seconds:.0f} s until ECS called it complete",
            f"requests meanwhile          {self.after.sent - self.before.sent}",
            f"of which failed             {self.failed}",
            f"tasks of version 1 and 2    {len(self.after.tasks('1'))} and {len(self.after.tasks('2'))}",
        ]
        if self.before.failed:
            lines.append(f"failed before, at the start {self.before.failed}")
        lines += [f"  {each}" for each in self.after.errors if self.failed]
        verdict = "passed" if self.has_passed else "FAILED"
        return "\n".join([*lines, f"result                      {verdict}"]) + "\n"
