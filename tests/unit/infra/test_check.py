"""`tramo check`: the categories and what is in them, and the form for people."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import pytest

from infra.cli import check
from infra.cli.mesh import Mesh, suggestion
from infra.client import findings
from infra.client.api import ApiError, MeshApi
from infra.packaging.docs import CATALOGUE, DOCS

FOUND = {
    "code": "TRM0101",
    "level": "error",
    "resource": "taskdef/orders:7",
    "where": "container app, label tramo.service-connect at $.services[0].portName",
    "what": 'no port mapping is named "htpp"',
    "remedy": "name the port mapping, or correct portName",
    "since": "2026-11-29T12:00:00Z",
}
STATUS: dict[str, Any] = {"dead_letters": [], "failing": [], "function_log": "/state/functions.log"}
FAILING = {
    "service": "stock",
    "definition": "stock:2",
    "failed_tasks": 3,
    "container": "app",
    "exit_code": 1,
    "reason": "Essential container in task exited",
    "log": "/state/tasks/1/app.log",
}


class Api:
    """What the API says of one namespace."""

    def __init__(
        self,
        ready: int = 2,
        found: list[dict[str, Any]] | None = None,
        error: ApiError | None = None,
        unpublished: bool = False,
    ) -> None:
        self._endpoints = {"ready": ready} if ready else {"unhealthy": 1}
        self._found = found or []
        self._error = error
        self._unpublished = unpublished

    def namespaces(self) -> list[str]:
        if self._error is not None:
            raise self._error
        return ["shop.local"]

    def findings(self, namespace: str | None) -> Iterator[dict[str, Any]]:
        return iter(self._found if namespace else [])

    def services(self, _: str) -> Iterator[dict[str, Any]]:
        if self._unpublished:
            return iter([])
        return iter([{"name": "orders", "endpoints": self._endpoints}])

    def ask(self, *_: object) -> dict[str, Any]:
        if self._unpublished:
            raise ApiError("no task has joined namespace shop.local yet", 404)
        return {"id": "1", "asked": []}


def examined(api: Api, status: dict[str, Any] | None = None, service: str | None = None) -> list[check.Category]:
    return check.examine(Mesh(cast(MeshApi, api), None, local=status or STATUS), service)


def codes(categories: list[check.Category]) -> list[tuple[str, str]]:
    return [(category.name, each.code) for category in categories for each in category.found]


def test_a_mesh_in_which_all_is_well_has_no_findings() -> None:
    categories = examined(Api())
    assert codes(categories) == []
    assert [each.name for each in categories] == ["control-plane", "joining", "registry", "data-plane", "services"]
    assert check.document(categories)["ok"]


@pytest.mark.parametrize(
    ("api", "status", "expected"),
    [
        (Api(found=[FOUND]), STATUS, ("joining", "TRM0101")),
        (Api(found=[{**FOUND, "code": "TRM0201"}]), STATUS, ("registry", "TRM0201")),
        (Api(found=[{**FOUND, "code": "TRM0303"}]), STATUS, ("data-plane", "TRM0303")),
        (Api(ready=0), STATUS, ("services", "TRM0402")),
        (Api(error=ApiError("it does not answer")), STATUS, ("control-plane", "TRM0401")),
        (Api(), {**STATUS, "failing": [FAILING]}, ("control-plane", "TRM0405")),
        (
            Api(),
            {**STATUS, "dead_letters": [{"function": "Publisher", "error": "on purpose"}]},
            ("control-plane", "TRM0403"),
        ),
    ],
)
def test_each_mistake_is_in_its_category(api: Api, status: dict[str, Any], expected: tuple[str, str]) -> None:
    categories = examined(api, status)
    assert codes(categories) == [expected]
    assert not check.document(categories)["ok"]


def test_a_namespace_without_a_snapshot_has_no_services_and_its_findings_are_shown() -> None:
    assert codes(examined(Api(found=[FOUND], unpublished=True))) == [("joining", "TRM0101"), ("services", "TRM0407")]


class Silent(Api):
    """Many namespaces, of whose sidecars none answers, or whose questions are all taken."""

    def __init__(self, busy: bool = False) -> None:
        super().__init__()
        self.now = 0.0
        self._busy = busy

    def namespaces(self) -> list[str]:
        return [f"n{number}" for number in range(40)]

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, *_: object) -> dict[str, Any]:
        if self._busy:
            raise ApiError("4 questions are open", 429)
        return {"id": "1", "asked": [f"{number:032}" for number in range(300)]}

    def answers(self, *_: str) -> dict[str, Any]:
        return {"answers": [], "next": None}


def test_silent_sidecars_are_waited_for_at_once_however_many_they_are() -> None:
    api = Silent()
    found = check.examine(Mesh(cast(MeshApi, api), None, local=STATUS), None, lambda: api.now, api.pause)
    assert [each for each in codes(found) if each[0] == "data-plane"] == [("data-plane", "TRM0411")] * 40
    assert api.now == check.ANSWER_SECONDS < 10


def test_sidecars_that_cannot_be_asked_in_the_time_are_a_warning() -> None:
    api = Silent(busy=True)
    found = check.examine(Mesh(cast(MeshApi, api), "n0", local=STATUS), None, lambda: api.now, api.pause)
    (warning,) = (each for category in found for each in category.found)
    assert (warning.code, warning.what) == ("TRM0411", "they could not be asked: 4 questions are open")
    assert check.ANSWER_SECONDS <= api.now < 10


class Two(Api):
    """Two namespaces, each with a service orders."""

    def namespaces(self) -> list[str]:
        return ["shop.local", "test.local"]


def test_services_of_one_name_in_two_namespaces_are_a_warning_since_their_metrics_are_one() -> None:
    (found,) = (each for category in examined(Two()) for each in category.found)
    assert (found.code, found.level, found.resource) == ("TRM0415", "warning", "mesh")
    assert found.what == "orders: in shop.local, test.local"
    alone = check.examine(Mesh(cast(MeshApi, Two()), "shop.local", local=STATUS))
    assert codes(alone) == [], "one namespace was asked for"


def test_the_short_form_has_only_what_is_wrong() -> None:
    stream = io.StringIO()
    check.write(stream, check.only_wrong(examined(Api(found=[FOUND]))))
    assert stream.getvalue().startswith("joining\n-------\n×")  # noqa: RUF001
    assert "√" not in stream.getvalue()


def test_a_failing_task_is_named_with_its_container_exit_code_and_log() -> None:
    (found,) = (each for category in examined(Api(), {**STATUS, "failing": [FAILING]}) for each in category.found)
    assert (found.resource, found.where) == ("ecs/stock", "container app exited with 1")
    assert found.remedy == "see /state/tasks/1/app.log"


def test_one_service_leaves_out_what_is_about_others() -> None:
    others = Api(found=[FOUND, {**FOUND, "resource": "taskdef/stock:1"}, {**FOUND, "resource": "svc/orders"}])
    found = [each.resource for category in examined(others, service="orders") for each in category.found]
    assert found == ["svc/orders", "taskdef/orders:7"]


def test_a_service_that_nobody_offers_is_an_error_unless_a_finding_says_why_it_is_not_there() -> None:
    (found,) = (each for category in examined(Api(), service="ordes") for each in category.found)
    assert (found.code, found.level, found.resource) == ("TRM0416", "error", "svc/ordes")
    assert found.what == "there is no service ordes; did you mean orders?"
    mistaken = Api(found=[{**FOUND, "resource": "taskdef/ordes:1"}])
    assert codes(examined(mistaken, service="ordes")) == [("joining", "TRM0101")]
    assert codes(examined(Api(), service="orders")) == []


def test_people_read_mistake_remedy_and_where_to_read_on() -> None:
    stream = io.StringIO()
    check.write(stream, examined(Api(found=[FOUND])))
    text = stream.getvalue()
    assert "control-plane\n-------------\n√ the API answers\n" in text
    assert "× task definitions join" in text  # noqa: RUF001
    assert "→ name the port mapping, or correct portName\n" in text
    assert "see docs/findings.md#trm0101 for hints\n" in text
    assert text.endswith("Status check results are ×\n")  # noqa: RUF001


def test_every_code_is_in_the_documentation_once() -> None:
    known = [kind.code for kinds in CATALOGUE.values() for kind in kinds]
    assert len(known) == len(set(known))
    page = (DOCS / "findings.md").read_text()
    assert [code for code in known if page.count(f"\n### {code}\n") != 1] == []
    assert {kind.code for kind in findings.KINDS} <= set(known)


def test_a_word_that_is_like_a_known_one_is_suggested() -> None:
    assert suggestion("ordres", ["orders", "stock"]) == "; did you mean orders?"
    assert suggestion("xyz", ["orders", "stock"]) == " (there are: orders, stock)"
    assert suggestion("xyz", []) == ""
