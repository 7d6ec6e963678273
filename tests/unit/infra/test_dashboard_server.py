"""The page's server: whom it answers, what, and how often it asks CloudWatch."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, Any, cast

import pytest

from infra.dashboards.reader import Page, Reader, ReadError
from infra.dashboards.server import FILES, MAX_KEPT, Cache, DashboardServer

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


class Fake(Reader):
    """A reader of nothing that notes what it was asked, and fails when told to."""

    def __init__(self) -> None:
        super().__init__(cast("CloudWatchClient", None), [], "test")
        self.asked: list[tuple[str, timedelta]] = []
        self.error = ""

    def read(self, service: str, window: timedelta) -> Page:
        self.asked.append((service, window))
        if self.error:
            raise ReadError(self.error)
        return Page("test", 0.0, 60, [0], ["a"], 0, service, [])


@pytest.fixture
def reader() -> Fake:
    return Fake()


@pytest.fixture
def server(reader: Fake) -> Iterator[DashboardServer]:
    with DashboardServer(reader, 0, 15) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server: DashboardServer, path: str, host: str = "") -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host or f"localhost:{server.server_port}"})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def data(server: DashboardServer, query: str = "") -> tuple[int, Any]:
    response, body = get(server, f"/data{query}")
    return response.status, json.loads(body)


@pytest.mark.parametrize("path", FILES)
def test_everything_the_page_needs_is_here(server: DashboardServer, path: str) -> None:
    response, body = get(server, path)
    assert response.status == 200
    assert response.headers["content-type"] == FILES[path][1]
    assert b"https://" not in body.replace(b"https://github.com/leeoniya/uPlot", b""), "nothing is fetched"
    assert "default-src 'self'" in response.headers["content-security-policy"]


def test_other_pages_are_not_there(server: DashboardServer) -> None:
    for path in ("/../server.py", "/page/app.js", "/data/"):
        assert get(server, path)[0].status == 404


def test_who_asks_by_another_name_is_refused(server: DashboardServer, reader: Fake) -> None:
    assert get(server, "/data", "attacker.example")[0].status == 403
    assert get(server, "/data", f"127.0.0.1:{server.server_port}")[0].status == 200
    assert len(reader.asked) == 1


def test_numbers_are_read_for_the_service_and_window_that_are_asked_for(server: DashboardServer, reader: Fake) -> None:
    assert data(server)[1]["services"] == ["a"]
    assert data(server, "?service=web&minutes=60")[1]["service"] == "web"
    assert reader.asked == [("", timedelta(minutes=15)), ("web", timedelta(minutes=60))]


@pytest.mark.parametrize("minutes", ["0", "721", "-5", "ten", "1e2"])
def test_a_window_must_be_one(server: DashboardServer, minutes: str) -> None:
    status, answer = data(server, f"?minutes={minutes}")
    assert status == 400
    assert minutes in answer["error"]


def test_a_cloudwatch_that_is_away_is_told(server: DashboardServer, reader: Fake) -> None:
    reader.error = "no credentials"
    assert data(server) == (502, {"error": "no credentials"})
    reader.error = ""
    assert data(server)[0] == 200, "a failure is not kept"


def test_a_page_is_read_once_a_period_and_few_are_kept(reader: Fake) -> None:
    now = 100.0
    cache = Cache(reader, lambda: now)
    first = cache.read("a", 15)
    now = 159.9
    assert cache.read("a", 15) is first
    now = 160.0
    assert cache.read("a", 15) is not first
    for number in range(MAX_KEPT):
        cache.read(f"service-{number}", 15)
    cache.read("a", 15)
    assert [service for service, _ in reader.asked].count("a") == 3, "the oldest went"
