"""Reading a sidecar's report of its task. What is wrong becomes a Problem that names the field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from api.problems import Problem
from registry.domain.reports import LONGEST_TEXT, LONGEST_WHERE, MOST_FINDINGS, Finding, Health, Level, TaskReport

HEALTH_STATUSES: Final = ("HEALTHY", "UNHEALTHY", "UNKNOWN")
DESIRED_STATUSES: Final = ("RUNNING", "STOPPED")
CODE_PATTERN: Final = re.compile(r"TRM[0-9]{4}")

# Clocks of tasks and functions differ a little. A report from further ahead would win over all that follow.
LARGEST_CLOCK_DIFFERENCE_SECONDS: Final = 5.0

# field of a finding -> the most characters it may have
TEXTS: Final[Mapping[str, int]] = {"where": LONGEST_WHERE, "what": LONGEST_TEXT, "remedy": LONGEST_TEXT}


def task_report(document: Any, now: float) -> TaskReport:
    """Return what a report says."""
    if not isinstance(document, dict):
        raise _problem("an object with a status was expected", "$")
    status = _one_of(document.get("status"), HEALTH_STATUSES, "$.status")
    desired = document.get("desired_status")
    return TaskReport(
        at=now,
        health=None if status == "UNKNOWN" else Health(status),
        health_at=_observed_at(document.get("observed_at"), now),
        is_stopping=desired is not None and _one_of(desired, DESIRED_STATUSES, "$.desired_status") == "STOPPED",
        findings=_findings(document.get("findings")),
    )


def _observed_at(observed: Any, now: float) -> float:
    if observed is None:
        return now
    try:
        moment = datetime.fromisoformat(observed)
        if moment.tzinfo is None:
            raise ValueError("it has no time zone")
    except (TypeError, ValueError) as error:
        detail = f"observed_at {json.dumps(observed)} is no ISO 8601 time with a zone: {error}"
        raise _problem(detail, "$.observed_at") from error
    return min(moment.timestamp(), now + LARGEST_CLOCK_DIFFERENCE_SECONDS)


def _findings(found: Any) -> tuple[Finding, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > MOST_FINDINGS:
        raise _problem(f"a list of at most {MOST_FINDINGS} findings was expected", "$.findings")
    return tuple(_finding(each, f"$.findings[{number}]") for number, each in enumerate(found))


def _finding(found: Any, place: str) -> Finding:
    if not isinstance(found, dict):
        raise _problem("a finding is an object with code, level, where, what and remedy", place)
    code = found.get("code")
    if not isinstance(code, str) or not CODE_PATTERN.fullmatch(code):
        raise _problem(f"code {_shown(code)} is not allowed; use TRM and four digits", f"{place}.code")
    level = _one_of(found.get("level"), tuple(each.value for each in Level), f"{place}.level")
    return Finding(code, Level(level), *(_text(found.get(name), TEXTS[name], f"{place}.{name}") for name in TEXTS))


def _text(value: Any, longest: int, place: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise _problem(f"a text of 1 to {longest} characters was expected", place)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _problem("half of a surrogate pair is no character", place)
    return value


def _one_of(value: Any, allowed: tuple[str, ...], place: str) -> str:
    if value not in allowed:
        name = place.rpartition(".")[2]
        raise _problem(f"{name} {_shown(value)} is not allowed; use one of {', '.join(allowed)}", place)
    return str(value)


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]


def _problem(detail: str, place: str) -> Problem:
    return Problem(422, "bad-health-report", detail, place)
