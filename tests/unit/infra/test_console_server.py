"""The page's server: whom it answers, what, and how often it asks CloudWatch."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Final, cast

import pytest
from botocore.exceptions import ClientError

from infra.console.metrics import MetricReader
from infra.console.reader import MAX_KEPT, Console
from infra.console.registry import RegistryReader
from infra.console.server import FILES, TYPES, ConsoleServer
from tests.support.control_plane.fake_cloudwatch import FakeCloudWatch
from tests.support.control_plane.mesh_metrics import last_minutes
from tests.support.control_plane.meshes import Call, FakeRegistry
from tests.support.control_plane.meshes import data as sent

NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Mesh:
    """A server over a mesh of two services, and all that it asks."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = FakeRegistry({"shop.local": {"orders": ORDERS}}, [FINDING])
        calls = [Call("web", "orders", 600), Call("orders", "stock", 60)]
        self.cloudwatch = FakeCloudWatch(sent(last_minutes(NOW, 30), calls))
        reader = MetricReader(cast("Any", self.cloudwatch), lambda: NOW)
        self.console = Console(reader, [], "test", RegistryReader(self.registry, tap_seconds=1), monotonic=self.clock)


ORDERS: Final[dict[str, Any]] = {
    "name": "orders",
    "protocol": "http",
    "vip": "127.254.0.2",
    "aliases": [{"dns_name": "orders", "port": 80}],
    "policy": {"timeouts": {"request_seconds": 2}},
    "endpoints": [{"id": "a/http", "state": "ready"}, {"id": "b/http", "state": "draining"}],
    "findings": [],
    "history": [
        {
            "at": "2026-11-22T11:50:00Z",
            "kind": "ECS Deployment State Change",
            "event": "SERVICE_DEPLOYMENT_IN_PROGRESS",
            "level": "INFO",
        },
        {
            "at": "2026-11-22T10:00:00Z",
            "kind": "ECS Deployment State Change",
            "event": "SERVICE_DEPLOYMENT_COMPLETED",
            "level": "INFO",
        },
        {"at": "2026-11-22T11:51:00Z", "kind": "ECS Service Action", "event": "SERVICE_STEADY_STATE", "level": "INFO"},
    ],
}


FINDING: Final[dict[str, object]] = {
    "code": "TRM0101",
    "level": "error",
    "resource": "taskdef/orders:7",
    "where": "containerDefinitions[0]",
    "what": "the label is no JSON",
    "remedy": "Correct it.",
    "since": "2026-11-22T11:00:00Z",
}


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


@pytest.fixture
def server(mesh: Mesh) -> Iterator[ConsoleServer]:
    with ConsoleServer(mesh.console, 0, 15) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server: ConsoleServer, path: str, host: str = "") -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        connection.request("GET", path, headers={"Host": host or f"localhost:{server.server_port}"})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def data(server: ConsoleServer, path: str) -> tuple[int, Any]:
    response, body = get(server, f"/data/{path}")
    return response.status, json.loads(body)


def post(server: ConsoleServer, path: str, kind: str = "application/json") -> tuple[int, list[Any]]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        headers = {"Host": f"localhost:{server.server_port}", "Content-Type": kind}
        connection.request("POST", path, headers=headers)
        response = connection.getresponse()
        return response.status, [json.loads(line) for line in response.read().splitlines()]
    finally:
        connection.close()


def test_sidecars_say_whom_they_do_not_call(server: ConsoleServer) -> None:
    status, (found,) = post(server, "/live/ejections/orders")
    assert (status, found["asked"]) == (200, 1)
    assert [(each["endpoint"], each["why"], each["by"]) for each in found["ejections"]] == [
        ("a1173316d40a45dea9/http", "ejected after failures", "cart"),
        ("5f0b77c2a81e4d339c/http", "fails its health checks", "cart"),
    ]


def test_a_tap_is_a_line_for_each_request_and_one_at_a_time(mesh: Mesh, server: ConsoleServer) -> None:
    with mesh.console.live.turn():
        status, (refused,) = post(server, "/live/tap/orders")
        assert (status, "asked already" in refused["error"]) == (409, True)
    status, found = post(server, "/live/tap/orders")
    assert (status, [(each["path"], each["response_flags"]) for each in found]) == (200, [("/items/7", "UF")])


def test_a_tap_asks_every_namespace_that_has_a_service_of_the_name(mesh: Mesh) -> None:
    found = list(mesh.console.live.tap(["shop.local", "bank.local"], "orders"))
    assert [(each["namespace"], each["path"]) for each in found] == [
        ("shop.local", "/items/7"),
        ("bank.local", "/items/7"),
    ]


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/live/tap/orders", "text/plain", 403),  # what a form of another page can send
        ("/live/tap/", "application/json", 404),
        ("/live/drain/orders", "application/json", 404),
        ("/data/overview", "application/json", 404),
    ],
)
def test_nothing_else_can_be_asked(server: ConsoleServer, path: str, kind: str, status: int) -> None:
    assert post(server, path, kind)[0] == status


@pytest.mark.parametrize("name", sorted(FILES))
def test_everything_the_page_needs_is_here(server: ConsoleServer, name: str) -> None:
    response, body = get(server, f"/page/{name}")
    assert response.status == 200
    assert response.headers["content-type"] == TYPES[Path(name).suffix]
    assert b"https://" not in body.replace(b"https://github.com/leeoniya/uPlot", b""), "nothing is fetched"
    assert "default-src 'self'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/services/orders", "/services/a%2Fb?minutes=60", "/mesh", "/?sort=rate"])
def test_every_view_has_an_address(server: ConsoleServer, path: str) -> None:
    response, body = get(server, path)
    assert response.status == 200
    assert b"<title>tramo console</title>" in body


@pytest.mark.parametrize("path", ["/../server.py", "/page/../server.py", "/app.js", "/page/index.html", "/mesh/x"])
def test_other_pages_are_not_there(server: ConsoleServer, path: str) -> None:
    assert get(server, path)[0].status == 404


def test_numbers_of_no_view_are_an_error_that_names_the_views(server: ConsoleServer) -> None:
    for path in ("", "nothing", "services/", "overview/x"):
        status, answer = data(server, path)
        assert (status, "services/NAME" in answer["error"]) == (404, True)


def test_who_asks_by_another_name_is_refused(server: ConsoleServer, mesh: Mesh) -> None:
    assert get(server, "/data/overview", "attacker.example")[0].status == 403
    assert mesh.cloudwatch.calls == []
    assert get(server, "/data/overview", f"127.0.0.1:{server.server_port}")[0].status == 200


def test_the_overview_joins_metrics_and_registry(server: ConsoleServer) -> None:
    _, answer = data(server, "overview")
    assert [(each["name"], each["rate"], each["ready"]) for each in answer["services"]] == [
        ("orders", 10.0, 1),
        ("stock", 1.0, None),
    ]
    assert [(each["source"], each["target"]) for each in answer["edges"]] == [("orders", "stock"), ("web", "orders")]
    assert len(answer["times"]) == 15
    assert answer["findings"] == [FINDING]


def test_a_service_has_its_neighbours_its_policy_and_its_deployments(server: ConsoleServer) -> None:
    _, answer = data(server, "services/orders?minutes=30")
    assert [each["source"] for each in answer["callers"]] == ["web"]
    assert [each["target"] for each in answer["callees"]] == ["stock"]
    assert {each["name"] for each in answer["near"]} == {"orders", "stock"}
    assert [(each["at"], each["text"]) for each in answer["marks"]] == [
        (datetime(2026, 11, 22, 11, 50, tzinfo=UTC).timestamp(), "deployment in progress")
    ]
    (known,) = answer["registry"]
    assert (known["namespace"], known["policy"]) == ("shop.local", {"timeouts": {"request_seconds": 2}})
    calls = answer["parts"][0]["plots"][0]
    assert (calls["title"], calls["unit"], calls["series"][0]["values"]) == ("Calls", "/s", [10.0] * 30)


def test_a_service_that_nobody_knows_has_no_row(server: ConsoleServer) -> None:
    assert data(server, "services/nobody")[1]["row"] is None


def test_a_registry_that_is_away_leaves_the_metrics(server: ConsoleServer, mesh: Mesh) -> None:
    mesh.registry.error = "the API answered 503"
    status, answer = data(server, "overview")
    assert (status, answer["registry_error"]) == (200, "the API answered 503")
    assert [each["name"] for each in answer["services"]] == ["orders", "stock"]


def test_a_long_window_has_longer_periods(server: ConsoleServer) -> None:
    for minutes, period in ((60, 60), (180, 60), (181, 120), (720, 300)):
        assert data(server, f"overview?minutes={minutes}")[1]["period"] == period


@pytest.mark.parametrize("minutes", ["0", "721", "-5", "ten", "1e2"])
def test_a_window_must_be_one(server: ConsoleServer, minutes: str) -> None:
    status, answer = data(server, f"overview?minutes={minutes}")
    assert status == 400
    assert minutes in answer["error"]


def test_a_cloudwatch_that_is_away_is_an_error(server: ConsoleServer, mesh: Mesh) -> None:
    mesh.cloudwatch.error = ClientError({"Error": {"Code": "Throttled", "Message": "later"}}, "ListMetrics")
    status, answer = data(server, "overview")
    assert status == 502
    assert "later" in answer["error"]
    mesh.cloudwatch.error = None
    assert data(server, "overview")[0] == 200, "an error is not kept"


def test_what_was_read_is_kept_for_its_time(mesh: Mesh) -> None:
    first = mesh.console.overview(15)
    mesh.clock.now = 59.0
    assert mesh.console.overview(15) is first
    assert mesh.console.overview(16) is not first
    mesh.clock.now = 60.0
    assert mesh.console.overview(15) is not first


def test_few_answers_are_kept(mesh: Mesh) -> None:
    for minutes in range(1, 40):
        mesh.console.overview(minutes)
    assert len(mesh.console._kept) == MAX_KEPT
