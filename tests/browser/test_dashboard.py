"""The page of `tramo dashboard` in a real browser, over a CloudWatch with known numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from infra.cli.dashboard import sections
from infra.dashboards.reader import Page, Reader, ReadError
from infra.dashboards.server import DashboardServer
from tests.support.browser import chromium
from tests.support.control_plane.mesh_metrics import cloudwatch, datum, last_minutes, put
from tests.support.waiting import until

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTES: Final = last_minutes(NOW, 60)
REGION: Final = "ca-central-1"  # no other test's
PLOTS: Final = """() => Object.fromEntries([...document.querySelectorAll(".graph")].map(each => [
    each.closest("section").querySelector("h2").textContent + ": " + each.querySelector("h3").textContent,
    {times: each.plot.data[0], lines: Object.fromEntries(each.plot.series.slice(1).map(
        (series, at) => [series.label, each.plot.data[at + 1]]))}]))"""
expect.set_options(timeout=30_000)  # a busy machine is no failure
COLOURS: Final = """() => [getComputedStyle(document.body).backgroundColor,
    document.querySelector(".legend line").getAttribute("stroke")]"""


class Fickle(Reader):
    """A reader that fails for as long as it is told to."""

    error = ""

    def read(self, service: str, window: timedelta) -> Page:
        if self.error:
            raise ReadError(self.error)
        return super().read(service, window)


@pytest.fixture(scope="module")
def client() -> Iterator[CloudWatchClient]:
    with cloudwatch(REGION) as (_, found):
        data = []
        for place, at in enumerate(MINUTES):
            data.append(datum("RequestCount", at, [100.0 + place], DiscoveryName="orders"))
            data.append(datum("RequestCount", at, [50.0], DiscoveryName="web"))
            data.append(datum("HTTPCode_Target_2XX_Count", at, [98.0], TargetDiscoveryName="orders"))
            times = ([4.0, 9.0, 70.0], [90.0, 9.0, 1.0])
            data.append(datum("TargetResponseTime", at, *times, TargetDiscoveryName="orders"))
            data.append(datum("SidecarMemory", at, [48 * 2.0**20]))
        data.append(datum("HTTPCode_Target_5XX_Count", MINUTES[30], [120.0], TargetDiscoveryName="orders"))
        data.append(datum("HealthyEndpoints", MINUTES[59], [0.0], TargetDiscoveryName="orders"))
        put(found, data)
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@contextmanager
def served(reader: Reader, minutes: int = 60) -> Iterator[str]:
    with DashboardServer(reader, 0, minutes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def opened(browser: Browser, url: str, allowed: str = "") -> Iterator[Tab]:
    """Yield the page in a tab of its own; at the end nothing may have gone wrong in it but what is allowed."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800}, timezone_id="UTC", color_scheme="light")
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text) if message.type != "log" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: wrong.append(request.url) if not _own(request.url, url) else None)
    try:
        tab.goto(url)
        yield tab
        assert [each for each in wrong if not allowed or allowed not in each] == []
    finally:
        tab.close()


def _own(address: str, url: str) -> bool:
    return address.startswith((url, "data:"))


def plots(tab: Tab) -> dict[str, Any]:
    expect(tab.locator("#state.good")).to_be_visible()
    found: dict[str, Any] = tab.evaluate(PLOTS)
    return found


def test_the_plots_hold_what_cloudwatch_holds(browser: Browser, client: CloudWatchClient) -> None:
    reader = Reader(client, sections(), "test", clock=lambda: NOW)
    with served(reader) as url, opened(browser, url) as tab:
        found = plots(tab)
        requests = found["Services: Requests"]
        assert [datetime.fromtimestamp(each, UTC) for each in requests["times"]] == MINUTES
        assert requests["lines"] == {"orders": [100 + each for each in range(60)], "web": [50] * 60}
        assert found["Services: Response time"]["lines"] == {"orders p50": [4] * 60, "orders p99": [9] * 60}
        assert found["orders: Response time"]["lines"] == {"p50": [4] * 60, "p90": [4] * 60, "p99": [9] * 60}
        errors = [0] * 60
        errors[30] = 120
        assert found["Services: Responses 5XX"]["lines"] == {"orders": errors}
        assert found["orders: Answers"]["lines"]["HTTPCode_Target_5XX_Count"] == errors
        assert found["Sidecars: Memory"]["lines"]["SidecarMemory p50"] == [48 * 2**20] * 60
        assert set(tab.locator(".graph canvas").evaluate_all("all => all.map(each => each.width > 300)")) == {True}
        expect(tab.locator(".graph", has_text="Memory").locator("li b").first).to_have_text("48 MiB")
        expect(tab.locator("p.empty", has_text="Responses 3XX")).to_contain_text("Nothing in this time")
        expect(tab.locator("p.empty", has_text="API latency")).to_contain_text("--stack NAME")
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it fits a laptop"


def test_services_are_summed_up_in_a_table(browser: Browser, client: CloudWatchClient) -> None:
    reader = Reader(client, sections(), "test", clock=lambda: NOW)
    with served(reader) as url, opened(browser, url) as tab:
        row = tab.locator("tbody tr", has_text="orders").locator("td")
        expect(row).to_have_text(["orders", "7.77 k", "2 %", "4 ms", "9 ms", "0", "0"])
        expect(tab.locator("td.bad")).to_have_text(["2 %", "0"])


def test_another_service_and_another_time_are_a_click_away(browser: Browser, client: CloudWatchClient) -> None:
    reader = Reader(client, sections(), "test", clock=lambda: NOW)
    with served(reader) as url, opened(browser, url) as tab:
        expect(tab.locator("#minutes")).to_have_value("60")
        tab.get_by_role("button", name="web").click()
        expect(tab.locator("tr.chosen")).to_contain_text("web")
        assert plots(tab)["web: Traffic"]["lines"]["RequestCount"] == [50] * 60
        tab.select_option("#minutes", "10")
        until(lambda: len(next(iter(plots(tab).values()))["times"]) == 10, 10, "ten minutes")
        assert plots(tab)["web: Traffic"]["lines"]["RequestCount"] == [50] * 10


def test_the_numbers_under_the_cursor(browser: Browser, client: CloudWatchClient) -> None:
    reader = Reader(client, sections(), "test", clock=lambda: NOW)
    with served(reader) as url, opened(browser, url) as tab:
        graph = tab.locator(".graph").first
        value = graph.locator("li b").first
        expect(value).to_have_text("159")
        graph.locator(".u-over").hover(position={"x": 1, "y": 40})
        expect(value).to_have_text("100")


def test_the_dark_page_is_drawn_anew(browser: Browser, client: CloudWatchClient) -> None:
    reader = Reader(client, sections(), "test", clock=lambda: NOW)
    with served(reader) as url, opened(browser, url) as tab:
        plots(tab)
        light = tab.evaluate(COLOURS)
        tab.emulate_media(color_scheme="dark")
        until(lambda: not set(light) & set(tab.evaluate(COLOURS)), 10, "other colours")


def test_a_mesh_that_sends_nothing(browser: Browser) -> None:
    with (
        cloudwatch("ca-west-1") as (_, empty),
        served(Reader(empty, sections(), "test")) as url,
        opened(browser, url) as tab,
    ):
        expect(tab.locator("p.empty").first).to_contain_text("No service has sent metrics in this time")
        assert tab.locator(".graph").count() == 0
        expect(tab.locator("#service")).to_be_disabled()


def test_a_cloudwatch_that_goes_away_and_comes_back(browser: Browser, client: CloudWatchClient) -> None:
    reader = Fickle(client, sections(), "test", period=1, clock=lambda: NOW)
    reader.error = "no credentials"
    with served(reader, minutes=1) as url, opened(browser, url, allowed="502") as tab:
        alert = tab.locator("#error")
        expect(alert).to_have_text("CloudWatch cannot be read: no credentials")
        expect(tab.locator("#state.bad")).to_have_text("last read never")
        reader.error = ""
        expect(tab.locator("#state.good")).to_be_visible(timeout=20_000)
        expect(alert).to_be_hidden()
        reader.error = "the connection timed out"
        expect(alert).to_contain_text("timed out")
        assert tab.locator(".graph").count() > 0, "what was read stays"
        expect(tab.locator("main.stale")).to_be_visible()
        reader.error = ""
        expect(alert).to_be_hidden(timeout=20_000)
        expect(tab.locator("main.stale")).to_have_count(0)
