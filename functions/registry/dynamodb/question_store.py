"""Questions to sidecars and their answers in DynamoDB. IO; what may be asked is decided in `domain/questions.py`.

Open questions are an attribute of HEAD: whoever reads the snapshot's head reads them without another call. Publishers
write HEAD attribute by attribute and leave this one alone.
"""

# PynamoDB's maps have no annotations on some of their methods.
# mypy: allow-untyped-calls

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Final

from pynamodb.expressions.condition import Condition

from registry.domain.questions import KEPT_SECONDS, MOST_ANSWERS, Question, added
from registry.dynamodb.keys import HEAD, answer_key, namespace_key, question_key
from registry.dynamodb.models import AnswerItem
from registry.dynamodb.table import Table, maybe, update_if

ATTEMPTS: Final = 5
QUESTION: Final = "QUESTION"


class QuestionsBusyError(Exception):
    """Others asked at the same time, each time."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a task has answered: JSON."""

    task: str
    at: float
    text: str


class QuestionStore:
    """Reads and writes QUESTION# items, and the questions on HEAD."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def ask(self, namespace: str, question: Question, now: float) -> str | None:
        """Put a question, and return all that are open; None when the namespace has no snapshot with which to see it.

        Raises TooManyQuestionsError and QuestionsBusyError.
        """
        model, item = self._table.heads, self._table.answers
        head = model(namespace_key(namespace), HEAD)
        expires = int(now) + KEPT_SECONDS
        meta = item(question_key(namespace, question.id), QUESTION)
        for _ in range(ATTEMPTS):
            try:
                known = model.get(namespace_key(namespace), HEAD, consistent_read=True)
            except model.DoesNotExist:
                return None
            before = maybe(known.questions)
            text = added(before or "", question, now)
            same: Condition = model.questions == before if before else model.questions.does_not_exist()
            # The place for answers is there before anybody can answer.
            meta.update(actions=[item.taken.set(0), item.at.set(question.until), item.expires_at.set(expires)])
            if update_if(head, [model.questions.set(text)], same & model.revision.exists()):
                return text
        raise QuestionsBusyError(f"namespace {namespace}: others asked {ATTEMPTS} times meanwhile")

    def answer(self, namespace: str, question: str, task: str, text: str, now: float) -> bool:
        """Keep an answer; False when the question is not there, is over, or has all the answers that it may have."""
        model = self._table.answers
        pk = question_key(namespace, question)
        is_open: Condition = model.expires_at.exists() & (model.at > now) & (model.taken < MOST_ANSWERS)
        if not update_if(model(pk, QUESTION), [model.taken.set(model.taken + 1)], is_open):
            return False
        model(pk, answer_key(task, now)).update(
            actions=[
                model.data.set(gzip.compress(text.encode(), 6, mtime=0)),
                model.at.set(now),
                model.expires_at.set(int(now) + KEPT_SECONDS),
            ]
        )
        return True

    def answers(
        self, namespace: str, question: str, limit: int, after: str, now: float
    ) -> tuple[list[StoredAnswer], str | None] | None:
        """Return at most so many answers behind a place, and the place to go on from; None for no such question."""
        model = self._table.answers
        pk = question_key(namespace, question)
        try:
            meta = model.get(pk, QUESTION)
        except model.DoesNotExist:
            return None
        if meta.expires_at <= now:
            return None
        condition = model.sk.between(f"ANSWER#{after}", "ANSWER#~")
        found: list[StoredAnswer] = []
        last = after
        for item in model.query(pk, condition, limit=limit + 2):
            place = item.sk.removeprefix("ANSWER#")
            if place == after:
                continue
            if len(found) == limit:
                return found, last
            found.append(_stored(item))
            last = place
        return found, None


def _stored(item: AnswerItem) -> StoredAnswer:
    task = item.sk.split("#")[1]
    return StoredAnswer(task, float(item.at), gzip.decompress(maybe(item.data) or b"").decode())
