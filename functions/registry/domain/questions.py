"""Questions to sidecars: what may be asked, of whom, and how much. Pure.

Nobody can connect to a sidecar from outside its task. So a question stands where every sidecar reads anyway, beside the
head of the namespace's snapshot and in the feed, until its time is over; those that it is for answer to the API.

Rules:
1. A question asks for something that the sidecar knows. It changes nothing.
2. It is for all tasks of a namespace, for those that offer a service, or for some that it names by their ids.
3. It ends when all that it is for have answered, and makes room for the next one; else when its time is over.
4. Everything has a bound: questions at a time, their life, answers and their size. So asking cannot harm a mesh.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

MOST_OPEN: Final = 4  # of a namespace; all of them travel in one header of an answer
MOST_BYTES: Final = 8 * 1024
"""Of all open questions of a namespace, as ASCII: API Gateway lets all headers of an answer have 10 KB together."""
MOST_NAMED: Final = 20  # tasks that a question names
LONGEST_SECONDS: Final = 60
MOST_AWAITED: Final = 100  # tasks whose answers are awaited by name, so that a question ends with the last of them
MOST_ANSWERS: Final = 500  # to one question: a page of a fleet, and what a person can look at
LARGEST_ANSWER_BYTES: Final = 96 * 1024
KEPT_SECONDS: Final = 600  # of an answer


class Subject(StrEnum):
    """What can be asked for: pages of the sidecar's admin port, its traffic of late, and single requests."""

    STAT = "stat"
    CLUSTERS = "clusters"
    CONFIG = "config"
    READY = "ready"
    STATS = "stats"
    TAP = "tap"


class TooManyQuestionsError(Exception):
    """So many questions, or such large ones, are open that one more must wait."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `until` is when it is over; an empty service and no tasks mean everybody."""

    id: str
    subject: Subject
    until: float
    service: str = ""
    tasks: tuple[str, ...] = ()
    filters: Mapping[str, str] | None = None

    def awaited(self, asked: Sequence[str]) -> frozenset[str]:
        """Return the tasks with whose answers the question ends; none when it ends with its time.

        A tap goes on as long as it may. And the names of a large fleet would be written anew with each answer.
        """
        return frozenset() if self.subject is Subject.TAP or len(asked) > MOST_AWAITED else frozenset(asked)

    def is_for(self, task_id: str, services: frozenset[str]) -> bool:
        """Return whether a task with these services shall answer."""
        if self.tasks:
            return any(task_id.startswith(each) for each in self.tasks)
        return not self.service or self.service in services


def added(text: str, question: Question, now: float) -> str:
    """Return the open questions of a namespace, as they are stored, with another one. Raises TooManyQuestionsError."""
    known = _open(text, now)
    if len(known) >= MOST_OPEN:
        raise TooManyQuestionsError(
            f"{len(known)} questions are open; the next one can be asked when one of them is over"
        )
    text = _write([*known, question])
    if len(text) > MOST_BYTES:
        raise TooManyQuestionsError(
            f"with this one the open questions would have {len(text)} bytes, and may have {MOST_BYTES}; "
            "ask it when another one is over, or with fewer tasks and shorter filters"
        )
    return text


def without(text: str, question: str, now: float) -> str:
    """Return the open questions of a namespace, as they are stored, without one of them."""
    return _write([each for each in _open(text, now) if each.id != question])


def current(text: str, now: float) -> str:
    """Return the questions that are open now, for sidecars; empty for none."""
    known = _open(text, now)
    return _write(known) if known else ""


def _open(text: str, now: float) -> list[Question]:
    return [each for each in _read(text) if each.until > now]


def _write(questions: list[Question]) -> str:
    documents = [{name: value for name, value in asdict(each).items() if value} for each in questions]
    return json.dumps(documents, separators=(",", ":"))


def _read(text: str) -> list[Question]:
    if not text:
        return []
    found: list[dict[str, Any]] = json.loads(text)
    return [
        Question(
            each["id"],
            Subject(each["subject"]),
            float(each["until"]),
            each.get("service", ""),
            tuple(each.get("tasks", ())),
            each.get("filters"),
        )
        for each in found
    ]
