"""Questions to sidecars and their answers, through the API's handler."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.domain.questions import LARGEST_ANSWER_BYTES, MOST_OPEN
from tests.integration.functions.conftest import Deployed
from tests.integration.functions.test_api import Api, problem
from tests.support.control_plane.gateway import Gateway, session


@pytest.fixture
def api(deployed: Deployed) -> Api:
    from api.app import app, store

    return Api(Gateway(deployed.api, deployed.context, app.routes), store)


def ask(api: Api, **question: Any) -> dict[str, Any]:
    response = api.call("POST", "questions", {"subject": "stat", **question})
    assert response.status_code == 201, response.body
    found: dict[str, Any] = response.json_body
    return found


def answer(api: Api, question: str, task: str, document: Any, caller: str | None = None) -> Any:
    return api.call("POST", f"questions/{question}/answers/{task}", document, caller or session(task))


def open_questions(api: Api) -> list[str]:
    return [each["id"] for each in json.loads(api.get("snapshot").headers["tramo-questions"])]


def test_a_question_reaches_who_reads_the_snapshot_and_answers_come_back(api: Api) -> None:
    assert "tramo-questions" not in api.get("snapshot").headers
    asked = ask(api, service="orders")
    assert asked["asked"] == ["aa", "bb"]
    first = api.get("snapshot")
    (read,) = json.loads(first.headers["tramo-questions"])
    assert (read["id"], read["subject"], read["service"]) == (asked["id"], "stat", "orders")
    again = api.get("snapshot", if_none_match=first.headers["etag"])
    assert (again.status_code, again.headers["tramo-questions"]) == (304, first.headers["tramo-questions"])
    assert answer(api, asked["id"], "aa", {"requests": 1}).status_code == 200
    assert answer(api, asked["id"], "aa", {"requests": 2}).status_code == 200
    answer(api, asked["id"], "bb", {"requests": 3})
    found = api.get(f"questions/{asked['id']}").json_body
    assert [(each["task"], each["answer"]["requests"]) for each in found["answers"]] == [
        ("aa", 1),
        ("aa", 2),
        ("bb", 3),
    ]
    assert found["next"] is None


def test_a_question_changes_nothing_of_the_snapshot(api: Api) -> None:
    before = api.get("snapshot")
    ask(api)
    after = api.get("snapshot")
    assert (after.body, after.headers["etag"]) == (before.body, before.headers["etag"])
    api.task("cc")
    assert "tramo-questions" in api.get("snapshot").headers, "a publication leaves questions where they are"


def test_a_task_answers_only_for_itself(api: Api) -> None:
    asked = ask(api)
    problem(answer(api, asked["id"], "aa", {}, session("bb")), 403, "not-this-task", "task")


def test_what_was_not_asked_is_not_kept(api: Api) -> None:
    problem(answer(api, "0" * 16, "aa", {}), 404, "unknown-question", "question")
    problem(api.get("questions/" + "0" * 16), 404, "unknown-question", "question")
    asked = ask(api)
    problem(answer(api, asked["id"], "aa", "x" * LARGEST_ANSWER_BYTES), 413, "body-too-large", "$")


def test_only_so_many_questions_are_open(api: Api) -> None:
    for _ in range(MOST_OPEN):
        ask(api)
    refused = api.call("POST", "questions", {"subject": "stat"})
    assert "questions are open" in problem(refused, 429, "busy")


def test_a_question_ends_with_the_last_of_its_answers(api: Api) -> None:
    others = [ask(api, subject="tap"), *[ask(api, tasks=["bb"]) for _ in range(MOST_OPEN - 2)]]
    asked = ask(api)
    for _ in range(2):
        answer(api, asked["id"], "aa", {})
    assert open_questions(api) == [*[each["id"] for each in others], asked["id"]], "bb has not answered"
    answer(api, asked["id"], "bb", {})
    assert open_questions(api) == [each["id"] for each in others]
    assert len(api.get(f"questions/{asked['id']}").json_body["answers"]) == 3, "they can still be read"
    assert answer(api, asked["id"], "bb", {}).status_code == 200, "and more can come until its time is over"
    for task in ("aa", "bb"):
        answer(api, others[0]["id"], task, {})
    assert open_questions(api) == [each["id"] for each in others], "a tap goes on"
    ask(api)


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ([], "$"),
        ({"subject": "secrets"}, "$.subject"),
        ({"subject": "stat", "seconds": 61}, "$.seconds"),
        ({"subject": "stat", "tasks": ["a_b"]}, "$.tasks[0]"),
        ({"subject": "stat", "service": "No"}, "$.service"),
        ({"subject": "tap", "filters": {"body": "x"}}, "$.filters"),
        ({"subject": "stat", "more": 1}, "$.more"),
    ],
)
def test_a_wrong_question_names_its_field(api: Api, question: Any, field: str) -> None:
    problem(api.call("POST", "questions", question), 422, "bad-question", field)


def test_a_namespace_without_a_snapshot_cannot_be_asked(api: Api) -> None:
    api.namespace = "nobody.local"
    problem(api.call("POST", "questions", {"subject": "stat"}), 404, "unknown-namespace", "namespace")


def test_answers_come_in_pages(api: Api) -> None:
    from api.asking import PAGE

    asked = ask(api)
    for number in range(PAGE + 3):
        api.store.questions.answer(api.namespace, asked["id"], f"t{number:03}", "{}", 1_795_345_200.0 + number)
    first = api.get(f"questions/{asked['id']}").json_body
    following = first["next"].replace("#", "%23")
    second = api.get(f"questions/{asked['id']}?next={following}").json_body
    tasks = [each["task"] for each in (*first["answers"], *second["answers"])]
    assert tasks == [f"t{number:03}" for number in range(PAGE + 3)]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\xef\xbb\xbf{}", 200),  # a byte order mark
        ('{"a": 1}'.encode("utf-16-le"), 200),
        (b'{"a": 1e400}', 400),
        (b'{"a": "\\ud800"}', 400),
        (b"[" * 920 + b"]" * 920, 200),
    ],
    ids=["mark", "utf-16", "endless", "surrogate", "deep"],
)
def test_an_answer_in_any_form_that_a_parser_takes_can_be_read(api: Api, raw: bytes, status: int) -> None:
    asked = ask(api)["id"]
    assert answer(api, asked, "aa", raw).status_code == status
    found = api.get(f"questions/{asked}")
    assert found.status_code == 200
    assert len(found.json_body["answers"]) == (status == 200)
