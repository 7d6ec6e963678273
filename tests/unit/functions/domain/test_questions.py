from __future__ import annotations

import json
from typing import Any

import pytest

from api.asking import FILTERS, LONGEST_FILTER
from registry.domain.questions import (
    MOST_AWAITED,
    MOST_BYTES,
    MOST_NAMED,
    MOST_OPEN,
    Question,
    Subject,
    TooManyQuestionsError,
    added,
    current,
    without,
)

NOW = 1_795_345_200.0


def question(number: int, until: float = NOW + 20, **more: object) -> Question:
    return Question(f"{number:016x}", Subject.STAT, until, **more)  # type: ignore[arg-type]


def test_questions_stand_until_they_are_over() -> None:
    text = added("", question(1), NOW)
    text = added(text, question(2, NOW + 60, service="orders"), NOW)
    (first, second) = json.loads(current(text, NOW + 5))
    assert (first["until"], second["until"], second["service"]) == (NOW + 20, NOW + 60, "orders")
    (left,) = json.loads(current(text, NOW + 30))
    assert left["id"] == question(2).id
    assert current(text, NOW + 60) == ""
    assert current("", NOW) == ""


def test_only_so_many_are_open_at_a_time() -> None:
    text = ""
    for number in range(MOST_OPEN):
        text = added(text, question(number), NOW)
    with pytest.raises(TooManyQuestionsError):
        added(text, question(9), NOW)
    assert len(json.loads(added(text, question(9, NOW + 99), NOW + 20))) == 1, "those that are over make room"


def test_the_open_questions_together_fit_into_a_header() -> None:
    filters = dict.fromkeys(FILTERS, "😀" * LONGEST_FILTER)
    largest: dict[str, Any] = {"service": "s" * 64, "tasks": ("a" * 64,) * MOST_NAMED, "filters": filters}
    text = added("", question(1, **largest), NOW)
    assert text.isascii()
    assert len(text) <= MOST_BYTES, "the largest question that the API takes fits alone"
    with pytest.raises(TooManyQuestionsError, match="fewer tasks and shorter filters"):
        added(text, question(2, **largest), NOW)
    assert len(json.loads(added(text, question(2), NOW))) == 2, "a small one still fits"


def test_one_that_is_answered_makes_room() -> None:
    text = ""
    for number in range(MOST_OPEN):
        text = added(text, question(number), NOW)
    left = without(text, question(2).id, NOW)
    assert [each["id"] for each in json.loads(left)] == [question(number).id for number in (0, 1, 3)]
    assert current(without(text, question(2).id, NOW + 20), NOW + 20) == ""
    assert len(json.loads(added(left, question(9), NOW))) == MOST_OPEN


def test_whose_answers_are_awaited() -> None:
    tasks = [f"{number:032x}" for number in range(MOST_AWAITED + 1)]
    assert question(1).awaited(tasks[:-1]) == set(tasks[:-1])
    assert question(1).awaited(tasks) == set(), "a large fleet is not waited for by name"
    assert Question("1", Subject.TAP, NOW).awaited(tasks[:2]) == set(), "a tap has no last answer"


def test_what_travels_is_small() -> None:
    text = ""
    for number in range(MOST_OPEN):
        named = tuple(f"{number:032x}" for number in range(20))
        text = added(text, question(number, service="s" * 64, tasks=named, filters={"path": "/" * 100}), NOW)
    assert len(current(text, NOW)) < 5_000, "of the 10 KB that API Gateway lets all headers of an answer have"
    assert current(text, NOW).isascii()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, True),
        ({"service": "orders"}, True),
        ({"service": "stock"}, False),
        ({"tasks": ("ab", "12")}, True),
        ({"tasks": ("12",)}, False),
        ({"tasks": ("ab",), "service": "stock"}, True),
    ],
)
def test_who_is_asked(asked: Any, expected: bool) -> None:
    assert question(1, **asked).is_for("abcd", frozenset({"orders"})) is expected
