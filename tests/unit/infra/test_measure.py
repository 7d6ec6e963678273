"""What `stat`, `edges` and `proxies` ask: the sidecars of all namespaces at once."""

from __future__ import annotations

import io
import math
from typing import Any, cast

import pytest

from infra.cli.measure import ask_all, edges, require_known
from infra.cli.mesh import Mesh
from infra.cli.traffic import EDGES, EDGES_WIDE, NAMESPACE, Edge, apart
from infra.client.api import ApiError, MeshApi
from infra.client.questions import PATIENCE_SECONDS, TURN_SECONDS
from infra.local.settings import LocalError

TASK = "ab" * 16
TRAFFIC = {
    "client": [{"name": "orders", "requests": 6, "ok": 6, "failed": 0}],
    "offers": ["web"],
    "seconds": 60.0,
}


class Api:
    """Namespaces with a sidecar each, which answers, is silent, cannot be asked, or has no snapshot yet."""

    def __init__(self, **namespaces: str) -> None:
        self._namespaces = namespaces
        self.busy_seconds = math.inf
        self.questions: list[dict[str, Any]] = []
        self.now = 0.0

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def namespaces(self) -> list[str]:
        return list(self._namespaces)

    def services(self, namespace: str) -> list[dict[str, Any]]:
        return [{"name": "idle"}] if self._namespaces[namespace] == "answers" else []

    def ask(self, namespace: str, question: dict[str, Any]) -> dict[str, Any]:
        if self._namespaces[namespace] == "busy" and self.now < self.busy_seconds:
            raise ApiError("4 questions are open", 429)
        if self._namespaces[namespace] == "unpublished":
            raise ApiError("no task has joined yet", 404)
        if self._namespaces[namespace] == "forbidden":
            raise ApiError("the API answered 403", 403)
        self.questions.append(question)
        return {"id": namespace, "asked": [TASK]}

    def answers(self, namespace: str, *_: str) -> dict[str, Any]:
        found = [{"task": TASK, "answer": TRAFFIC}] if self._namespaces[namespace] in ("answers", "busy") else []
        return {"answers": found, "next": None}


def asked(api: Api, progress: io.StringIO | None = None, window: float = 60.0) -> dict[str, Any]:
    return dict(ask_all(cast(MeshApi, api), api.namespaces(), progress, window, clock=lambda: api.now, pause=api.pause))


def test_namespaces_whose_sidecars_are_silent_take_the_time_of_one() -> None:
    api = Api(**{f"n{number}": "silent" for number in range(40)})
    found = asked(api)
    assert {each.silent for each in found.values()} == {(TASK,)}
    assert (len(found), api.now) == (40, PATIENCE_SECONDS)


def test_edges_are_those_of_all_namespaces_that_have_a_snapshot() -> None:
    api = Api(shop="answers", test="answers", empty="unpublished")
    found = edges(Mesh(cast(MeshApi, api), None), io.StringIO())
    assert [(each.namespace, each.source, each.destination) for each in found] == [
        ("shop", "web", "orders"),
        ("test", "web", "orders"),
    ]


def test_the_window_is_asked_of_every_namespace() -> None:
    api = Api(shop="answers", test="answers")
    asked(api, window=15.0)
    assert [each["filters"] for each in api.questions] == [{"window": "15"}] * 2


def test_a_namespace_that_cannot_be_asked_in_the_time_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api(shop="answers", test="busy")
    assert list(asked(api)) == ["shop"]
    assert capsys.readouterr().err == "tramo: test: its sidecars could not be asked: 4 questions are open\n"


def test_a_question_waits_for_its_turn_as_long_as_those_of_others_may_stand() -> None:
    api = Api(shop="busy")
    api.busy_seconds = TURN_SECONDS - 2.0
    assert list(asked(api)["shop"].answers) == [TASK]


@pytest.mark.parametrize(("state", "words"), [("busy", "4 questions are open"), ("forbidden", "answered 403")])
def test_a_mesh_of_which_nobody_can_be_asked_is_an_error(state: str, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        asked(Api(shop=state))


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_many_have_answered_and_is_clean_at_the_end() -> None:
    screen = Terminal()
    asked(Api(shop="answers", test="silent"), screen)
    assert "1 of 2 sidecars in 2 namespaces have answered" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_a_name_that_nobody_has_is_refused_with_what_it_was_probably_meant_to_be() -> None:
    mesh = Mesh(cast(MeshApi, Api(shop="answers", empty="unpublished")), None)
    known = edges(mesh, io.StringIO())
    require_known(mesh, known, None, "web", "orders", "idle")
    with pytest.raises(LocalError, match="there is no service idel; did you mean idle"):
        require_known(mesh, known, None, "web", "idel")


def test_a_namespace_that_does_not_exist_is_refused() -> None:
    api = cast(MeshApi, Api(shop="answers"))
    assert Mesh(api, "shop").namespaces() == ["shop"]
    with pytest.raises(LocalError, match="there is no namespace shpo; did you mean shop"):
        Mesh(api, "shpo").namespace_of("orders")


def test_rows_of_several_namespaces_say_which_they_are_of() -> None:
    shop, test = Edge("shop", "web", "orders"), Edge("test", "web", "orders")
    assert apart(EDGES, [shop, test])[0] == NAMESPACE
    assert apart(EDGES, [shop, shop]) == EDGES
    assert apart(EDGES_WIDE, [shop, test]) == EDGES_WIDE, "it is among them"
