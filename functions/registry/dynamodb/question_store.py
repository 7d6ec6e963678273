"""Questions to sidecars and their answers in DynamoDB. IO; what may be asked is decided in `domain/questions.py`.

Open questions are an attribute of HEAD: whoever reads the snapshot's head reads them without another call. Publishers
write HEAD attribute by attribute and leave this one alone.
"""

# PynamoDB's maps have no annotations on some of their methods.
# mypy: allow-untyped-calls

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pynamodb.expressions.condition import Condition

from registry.domain.questions import KEPT_SECONDS, MOST_ANSWERS, Question, added, without
from registry.dynamodb.keys import HEAD, answer_key, namespace_key, question_key
from registry.dynamodb.models import AnswerItem
from registry.dynamodb.table import Table, change, maybe, update_if

ATTEMPTS: Final = 5
QUESTION: Final = "QUESTION"


class Taken(Enum):
    """What became of an answer."""

    NO = "no"
    YES = "yes"
    LAST = "last"  # nobody is left who shall answer


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

    def ask(self, namespace: str, question: Question, asked: Sequence[str], now: float) -> str | None:
        """Put a question, and return all that are open; None when the namespace has no snapshot with which to see it.

        `asked` are the tasks that shall answer. Raises TooManyQuestionsError and QuestionsBusyError.
        """
        model, item = self._table.heads, self._table.answers
        head = model(namespace_key(namespace), HEAD)
        expires = int(now) + KEPT_SECONDS
        meta = item(question_key(namespace, question.id), QUESTION)
        awaited = question.awaited(asked)
        place = [
            item.taken.set(0),
            item.awaited.set(len(awaited)),
            change(item.silent, set(awaited) or None),  # an empty set cannot be stored
            item.at.set(question.until),
            item.expires_at.set(expires),
        ]
        for _ in range(ATTEMPTS):
            try:
                known = model.get(namespace_key(namespace), HEAD, consistent_read=True)
            except model.DoesNotExist:
                return None
            before = maybe(known.questions)
            text = added(before or "", question, now)
            same: Condition = model.questions == before if before else model.questions.does_not_exist()
            # The place for answers is there before anybody can answer.
            meta.update(actions=place)
            if update_if(head, [model.questions.set(text)], same & model.revision.exists()):
                return text
        raise QuestionsBusyError(f"namespace {namespace}: others asked {ATTEMPTS} times meanwhile")

    def answer(self, namespace: str, question: str, task: str, text: str, now: float) -> Taken:
        """Keep an answer, unless the question is not there, is over, or has all the answers that it may have."""
        model = self._table.answers
        pk = question_key(namespace, question)
        is_open: Condition = model.expires_at.exists() & (model.at > now) & (model.taken < MOST_ANSWERS)
        meta = model(pk, QUESTION)
        if not update_if(meta, [model.taken.set(model.taken + 1), model.silent.delete({task})], is_open):
            return Taken.NO
        model(pk, answer_key(task, now)).update(
            actions=[
                model.data.set(gzip.compress(text.encode(), 6, mtime=0)),
                model.at.set(now),
                model.expires_at.set(int(now) + KEPT_SECONDS),
            ]
        )
        return Taken.LAST if meta.awaited and not meta.silent else Taken.YES

    def end(self, namespace: str, question: str, now: float) -> str | None:
        """Take a question away from where sidecars read; what was answered stays.

        Return the open questions that are left, None when there is nothing to do or others were faster each time: then
        it ends with its time.
        """
        model = self._table.heads
        for _ in range(ATTEMPTS):
            known = model.get(namespace_key(namespace), HEAD, consistent_read=True)
            before = maybe(known.questions) or ""
            if question not in before:
                return None
            text = without(before, question, now)
            if update_if(model(namespace_key(namespace), HEAD), [model.questions.set(text)], model.questions == before):
                return text
        return None

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
