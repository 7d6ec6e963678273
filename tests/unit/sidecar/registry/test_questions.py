"""Questions of operators: which ones this sidecar answers, once each, and what an answer may be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import CallError
from sidecar.registry.questions import LARGEST_ANSWER_BYTES, MOST_UNDER_WAY, REMEMBERED, Question, Questions, Send

TASK = "abcd1234"


class Sink:
    """Takes answers."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str, Any]] = []
        self.error: Exception | None = None

    def answer(self, question: str, task_id: str, body: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.answers.append((question, task_id, json.loads(body)))


async def hello(question: Question, send: Send) -> None:
    await send({"hello": question.service})


def text(*questions: dict[str, Any]) -> str:
    return json.dumps([{"subject": "stat", "until": 100.0, **each} for each in questions])


def run(work: Callable[[Questions, Sink, Runtime], Awaitable[None]], **answerers: Any) -> Sink:
    sink = Sink()

    async def main() -> None:
        runtime = Runtime(asyncio.get_running_loop(), clock=lambda: 0.0)
        await work(
            Questions(runtime, TASK, ["orders"], sink, answerers or {"stat": hello}, wall=lambda: 99.0), sink, runtime
        )

    asyncio.run(main())
    return sink


async def settled(questions: Questions) -> None:
    async with asyncio.timeout(20):
        while questions._under_way:  # noqa: ASYNC110 - there is nothing to wait for but that
            await asyncio.sleep(0.001)


def test_a_question_is_answered_once_however_often_it_is_read() -> None:
    async def work(questions: Questions, *_: Any) -> None:
        for more in ("", " ", "  "):
            questions.take(text({"id": "1", "service": "orders"}) + more)
            await settled(questions)

    assert run(work).answers == [("1", TASK, {"hello": "orders"})]


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ({}, 1),
        ({"service": "stock"}, 0),
        ({"tasks": ["abcd"]}, 1),
        ({"tasks": ["12"], "service": "orders"}, 0),
        ({"subject": "of a newer release"}, 0),
        ({"until": 99.0}, 0),
    ],
)
def test_only_what_this_task_is_asked_is_answered(asked: dict[str, Any], answers: int) -> None:
    async def work(questions: Questions, *_: Any) -> None:
        questions.take(text({"id": "1", **asked}))
        await settled(questions)

    assert len(run(work).answers) == answers


@pytest.mark.parametrize("wrong", ["[", "{}", '[{"id": 1}]', "null"])
def test_what_cannot_be_read_is_no_question(wrong: str) -> None:
    async def work(questions: Questions, *_: Any) -> None:
        questions.take(wrong)
        await settled(questions)

    assert run(work).answers == []


def test_an_answer_that_is_too_large_says_so() -> None:
    async def large(_: Question, send: Send) -> None:
        await send({"x": "y" * LARGEST_ANSWER_BYTES})

    async def work(questions: Questions, *_: Any) -> None:
        questions.take(text({"id": "1"}))
        await settled(questions)

    ((_, _, document),) = run(work, stat=large).answers
    assert "ask for one service" in document["error"]


def test_neither_a_refusal_nor_a_fault_ends_the_answering(caplog: pytest.LogCaptureFixture) -> None:
    async def faulty(question: Question, send: Send) -> None:
        if question.id == "1":
            raise ValueError("for a test")
        await send({})

    async def work(questions: Questions, sink: Sink, _: Runtime) -> None:
        questions.take(text({"id": "1"}))
        await settled(questions)
        sink.error = CallError("refused")
        questions.take(text({"id": "2"}))
        await settled(questions)
        sink.error = None
        questions.take(text({"id": "3"}))
        await settled(questions)

    assert [each[0] for each in run(work, stat=faulty).answers] == ["3"]
    assert "this is a fault of the sidecar" in caplog.text
    assert "refused" in caplog.text


def test_few_are_answered_at_a_time_and_few_are_remembered() -> None:
    waiting = asyncio.Event()

    async def slow(_: Question, send: Send) -> None:
        await waiting.wait()
        await send({})

    async def work(questions: Questions, *_: Any) -> None:
        questions.take(text(*({"id": str(number)} for number in range(MOST_UNDER_WAY + 3))))
        assert questions._under_way == MOST_UNDER_WAY
        waiting.set()
        await settled(questions)
        for number in range(REMEMBERED + 9):
            questions.take(text({"id": f"later {number}"}))
            await settled(questions)
        assert len(questions._known) == REMEMBERED

    assert len(run(work, stat=slow).answers) == MOST_UNDER_WAY + REMEMBERED + 9
