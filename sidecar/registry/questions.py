"""Answers what operators ask of this sidecar.

Questions come with what the sidecar reads of the registry anyway; nobody connects to it. An answer goes to the API.

Rules:
- A question is answered once. What this sidecar does not know, it is not asked for again: a newer release asks it.
- At most `MOST_UNDER_WAY` are worked on, and `REMEMBERED` are known as answered, so that questions cannot fill memory.
- Answers are spread over `SPREAD_SECONDS`, or a fleet would answer in one moment.
- An answer that the API does not take is lost: whoever asked sees who has not answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import Executor
from typing import Any, Final, Protocol

import msgspec

from sidecar.blocking import DaemonThreads, call
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import CallError

MOST_UNDER_WAY: Final = 4
REMEMBERED: Final = 64
SPREAD_SECONDS: Final = 1.0
LARGEST_ANSWER_BYTES: Final = 96 * 1024
"""What the API takes."""

log = logging.getLogger("tramo.questions")


class Question(msgspec.Struct):
    """One question, as the API writes it. `until` is when it is over, in seconds since 1970."""

    id: str
    subject: str
    until: float
    service: str = ""
    tasks: list[str] = []
    filters: dict[str, str] = {}


Send = Callable[[Any], Awaitable[None]]
Answerer = Callable[[Question, Send], Awaitable[None]]


class AnswerSink(Protocol):
    """Where answers go."""

    def answer(self, question: str, task_id: str, body: bytes) -> None:
        """See RegistryClient.answer."""


class Questions:
    """Takes questions and answers them by `answerers`, one for each subject."""

    def __init__(
        self,
        runtime: Runtime,
        task_id: str,
        services: Collection[str],
        sink: AnswerSink,
        answerers: Mapping[str, Answerer],
        executor: Executor | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._runtime = runtime
        self._task_id = task_id
        self._services = frozenset(services)
        self._sink = sink
        self._answerers = answerers
        self._wall = wall
        self._known: dict[str, None] = {}  # ids, the oldest first
        self._under_way = 0
        self._last = ""
        self._executor = executor or DaemonThreads("questions")

    def take(self, text: str) -> None:
        """Begin to answer what is new in the questions that stand; a text that cannot be read is none."""
        if not text or text == self._last:
            return
        self._last = text
        try:
            found = msgspec.json.decode(text, type=list[Question])
        except msgspec.DecodeError as error:
            log.debug("questions of another release: %s", error)
            return
        for question in found:
            if question.id not in self._known and self._is_asked(question) and self._under_way < MOST_UNDER_WAY:
                self._remember(question.id)
                self._under_way += 1
                self._runtime.spawn(self._answer(question), "answer")

    def _is_asked(self, question: Question) -> bool:
        if not self._task_id or question.subject not in self._answerers or question.until <= self._wall():
            return False
        if question.tasks:
            return any(self._task_id.startswith(each) for each in question.tasks)
        return not question.service or question.service in self._services

    def _remember(self, id: str) -> None:
        self._known[id] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    async def _answer(self, question: Question) -> None:
        try:
            await asyncio.sleep(self._runtime.random(16) / 65536.0 * SPREAD_SECONDS)
            await self._answerers[question.subject](question, lambda document: self._send(question, document))
            log.info("answered a question", extra={"question": question.id, "subject": question.subject})
        except (CallError, TimeoutError) as error:
            log.warning("a question is not answered: %s", error)
        except Exception:
            # Whatever it is: a question must not end the sidecar, nor keep its place for ever.
            log.exception("a question is not answered; this is a fault of the sidecar")
        finally:
            self._under_way -= 1

    async def _send(self, question: Question, document: Any) -> None:
        body = msgspec.json.encode(document)
        if len(body) > LARGEST_ANSWER_BYTES:
            body = msgspec.json.encode({"error": f"the answer has {len(body)} bytes; ask for one service"})
        await call(self._executor, self._sink.answer, question.id, self._task_id, body)
