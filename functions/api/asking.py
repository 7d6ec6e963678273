"""Questions to sidecars as the API takes them, and their answers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from typing import Any, Final

from api import requests
from api.problems import Problem
from registry.domain.offer import NAME_PATTERN
from registry.domain.questions import (
    LONGEST_SECONDS,
    MOST_ANSWERS,
    MOST_NAMED,
    Question,
    Subject,
    TooManyQuestionsError,
)
from registry.domain.snapshot import Document, iso
from registry.dynamodb.feed_store import FeedStore
from registry.dynamodb.question_store import QuestionsBusyError, Taken
from registry.dynamodb.store import Store

DEFAULT_SECONDS: Final = 20  # two intervals of reading, and the time to answer
PAGE: Final = 25  # answers; of the largest ones these are 2.4 MB
FILTERS: Final = ("method", "path", "authority", "to", "window")
"""Which requests are looked at; `window` are the seconds that counts are of."""
LONGEST_FILTER: Final = 100
BRINGINGS: Final = 10
"""Of the questions to the feed: so often others may ask, or end a question, while they are written."""


def question(document: Any, now: float) -> Question:
    """Return a question from a request's body."""
    if not isinstance(document, dict):
        raise _problem("an object with a subject was expected", "$")
    unknown = sorted(document.keys() - {"subject", "service", "tasks", "seconds", "filters"})
    if unknown:
        raise _problem(f"{unknown[0][:40]} is not a field of a question", f"$.{unknown[0][:40]}")
    subject = document.get("subject")
    if subject not in [each.value for each in Subject]:  # a list: what cannot be hashed is no subject either
        raise _problem(f"use one of {', '.join(Subject)}", "$.subject")
    seconds = document.get("seconds", DEFAULT_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= LONGEST_SECONDS:
        raise _problem(f"a number from 1 to {LONGEST_SECONDS} was expected", "$.seconds")
    tasks = document.get("tasks", [])
    if not isinstance(tasks, list) or len(tasks) > MOST_NAMED:
        raise _problem(f"a list of at most {MOST_NAMED} ids of tasks was expected", "$.tasks")
    for number, each in enumerate(tasks):
        if not isinstance(each, str) or not requests.TASK_ID_PATTERN.fullmatch(each):
            raise _problem("an id of a task, or its beginning, was expected", f"$.tasks[{number}]")
    service = document.get("service", "")
    if not isinstance(service, str) or (service and not NAME_PATTERN.fullmatch(service)):
        raise _problem("the name of a service was expected", "$.service")
    return Question(secrets.token_hex(8), Subject(subject), now + seconds, service, tuple(tasks), _filters(document))


def _filters(document: dict[str, Any]) -> dict[str, str] | None:
    filters = document.get("filters")
    if filters is None:
        return None
    if not isinstance(filters, dict) or not filters.keys() <= set(FILTERS):
        raise _problem(f"an object with some of {', '.join(FILTERS)} was expected", "$.filters")
    for name, value in filters.items():
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_FILTER:
            raise _problem(f"a text of 1 to {LONGEST_FILTER} characters was expected", f"$.filters.{name}")
    return dict(filters)


def ask(store: Store, feed: FeedStore | None, namespace: str, question: Question, now: float) -> Document:
    """Put a question where sidecars read, and say who shall answer."""
    asked = sorted(
        record.task_id
        for record in store.tasks.all(namespace, consistent=False)
        if not record.gone and question.is_for(record.task_id, _services(record.endpoints))
    )
    try:
        text = store.questions.ask(namespace, question, asked, now)
        if text is None:
            raise Problem(404, "unknown-namespace", f"no task has joined namespace {namespace} yet", "namespace")
    except (TooManyQuestionsError, QuestionsBusyError) as error:
        raise _busy(str(error)) from error
    if feed is not None:
        _bring(store, feed, namespace, text)
    return {
        "id": question.id,
        "subject": question.subject.value,
        "service": question.service,
        "until": iso(question.until),
        "asked": asked[:MOST_ANSWERS],
    }


def _services(endpoints: Collection[Any]) -> frozenset[str]:
    return frozenset(each.service for each in endpoints)


def answer(
    store: Store, feed: FeedStore | None, namespace: str, question: str, task: str, text: str, now: float
) -> None:
    """Keep an answer; the last one ends its question. Raises Problem."""
    taken = store.questions.answer(namespace, question, task, text, now)
    if taken is Taken.NO:
        raise unknown_question(question)
    if taken is Taken.LAST:
        left = store.questions.end(namespace, question, now)
        if left is not None and feed is not None:
            _bring(store, feed, namespace, left)


def _bring(store: Store, feed: FeedStore, namespace: str, text: str) -> None:
    """Write the open questions to the feed, until HEAD still has them afterwards. Raises Problem.

    Of two who write at the same time the slower one may write the older text, so each looks again when it is done.
    """
    for _ in range(BRINGINGS):
        feed.ask(namespace, text)
        head = store.snapshots.head(namespace, consistent=True)
        if head is None or head.questions == text:
            return
        text = head.questions
    raise _busy(f"namespace {namespace}: others asked {BRINGINGS} times meanwhile; some sidecars may not be asked")


def _busy(detail: str) -> Problem:
    return Problem(429, "busy", detail, headers={"Retry-After": "10"})


def answers(store: Store, namespace: str, question: str, after: str, now: float) -> Document:
    """Return a page of answers."""
    found = store.questions.answers(namespace, question, PAGE, after, now)
    if found is None:
        raise unknown_question(question)
    page, following = found
    return {
        "answers": [{"task": each.task, "at": iso(each.at), "answer": json.loads(each.text)} for each in page],
        "next": following,
    }


def unknown_question(question: str) -> Problem:
    """Return the problem of a question that is not there any more."""
    return Problem(404, "unknown-question", f"question {question} is over, or was never asked", "question")


def _problem(detail: str, place: str) -> Problem:
    return Problem(422, "bad-question", detail, place)
