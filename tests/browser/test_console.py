"""The page of `tramo console` in a real browser, over meshes with known numbers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

import pytest
from botocore.exceptions import ClientError
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as Tab

from infra.cli.console import sections
from infra.console.metrics import MetricReader
from infra.console.reader import Console
from infra.console.registry import RegistryReader
from infra.console.server import ConsoleServer
from tests.browser.__main__ import registry
from tests.support.browser import chromium
from tests.support.control_plane.fake_cloudwatch import FakeCloudWatch
from tests.support.control_plane.mesh_metrics import datum, last_minutes
from tests.support.control_plane.meshes import Call, FakeRegistry, data, name, shop, thousand
from tests.support.waiting import until

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTES: Final = last_minutes(NOW, 60)
FAILS_AT: Final = 42
ENDS_AT: Final = 51
PLOTS: Final = """() => Object.fromEntries([...document.querySelectorAll(".graph")].filter(each => each.chart).map(
    each => [each.querySelector("h3").firstChild.textContent,
    {times: each.chart.data[0], lines: Object.fromEntries(each.chart.series.slice(1).map(
        (series, at) => [series.label, each.chart.data[at + 1]]))}]))"""
BOXES: Final = """() => [...document.querySelectorAll(".node rect")].map(each => each.getBoundingClientRect()).map(
    ({x, y, width, height}) => [x, y, width, height])"""
SHAPES: Final = """() => ["failing", "healthy"].map(
    state => document.querySelector(`tbody .glyph.${state}`).firstChild.tagName)"""
COLOURS: Final = "() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
FITS: Final = "document.documentElement.scrollWidth <= window.innerWidth"
expect.set_options(timeout=60_000)  # a busy machine is no failure


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@contextmanager
def served(console: Console, minutes: int = 60) -> Iterator[str]:
    with ConsoleServer(console, 0, minutes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def console_of(cloudwatch: FakeCloudWatch, period: int = 60) -> Console:
    reader = MetricReader(cast("Any", cloudwatch), lambda: NOW)
    return Console(reader, sections(), "test", RegistryReader(FakeRegistry(registry()), tap_seconds=1), period=period)


@pytest.fixture(scope="module")
def failing() -> Iterator[str]:
    sidecars = [datum("SidecarMemory", at, [48 * 2.0**20]) for at in MINUTES]
    found = [*sidecars, *shop(MINUTES, stock_fails=FAILS_AT, sessions_end=ENDS_AT)]
    with served(console_of(FakeCloudWatch(found))) as url:
        yield url


@contextmanager
def opened(browser: Browser, address: str, allowed: str = "", **options: Any) -> Iterator[Tab]:
    """Yield the page in a tab of its own; at the end nothing may have gone wrong in it but what is allowed."""
    wanted = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "UTC", "color_scheme": "light", **options}
    tab = browser.new_page(**wanted)
    tab.set_default_timeout(60_000)
    wrong: list[str] = []
    own = address.split("/", 3)[2]
    tab.on("console", lambda message: wrong.append(message.text) if message.type != "log" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: wrong.append(request.url) if not _own(request.url, own) else None)
    try:
        tab.goto(address)
        yield tab
        assert [each for each in wrong if not allowed or allowed not in each] == []
    finally:
        tab.close()


def _own(address: str, host: str) -> bool:
    return address.startswith((f"http://{host}/", "data:"))


def ready(tab: Tab) -> None:
    expect(tab.locator("#state.good")).to_be_visible()


def row(tab: Tab, service: str) -> Locator:
    return tab.locator("table.services tbody tr", has=tab.get_by_role("link", name=service, exact=True))


def first_names(tab: Tab, count: int) -> list[str]:
    return tab.locator("table.services tbody th a").all_inner_texts()[:count]


def test_the_first_screen_names_the_probable_roots_and_since_when(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/") as tab:
        ready(tab)
        expect(tab.locator("h1")).to_have_text("5 of 20 services failing")
        cards = tab.locator(".rootcard")
        expect(cards).to_have_count(2)
        expect(cards.filter(has_text="sessions")).to_contain_text("no healthy endpoint")
        expect(cards.filter(has_text="sessions")).to_contain_text("11:51")
        expect(cards.nth(1)).to_contain_text("stock is the probable root: 100 % of calls fail")
        expect(cards.nth(1)).to_contain_text("11:42")
        expect(cards.nth(1)).to_contain_text("fails with it: cart, catalog, orders")
        assert tab.evaluate(FITS), "it fits a laptop"


def test_the_table_holds_what_cloudwatch_holds(browser: Browser) -> None:
    calls = [Call("web", "orders", 6000, 10.0, lambda place: 0.3 if place >= 54 else 0.0)]
    calls += [Call("web", "cache", 1200, fails=lambda _: 1.0, flag="UF", healthy=0.0, tcp=True)]
    calls += [Call("orders", f"extra{each:02}", 60 * (each + 1)) for each in range(22)]
    with served(console_of(FakeCloudWatch(data(MINUTES, calls)))) as url, opened(browser, f"{url}/") as tab:
        ready(tab)
        expect(tab.locator("table.services tbody tr")).to_have_count(24 + 1)  # and one that the registry knows
        cells = row(tab, "orders").locator("td")
        expect(cells).to_have_text(["100/s", "70 %", "10 ms", "19 ms", "34 ms", "0", "3", "", "100/s", "97 %"])
        dead = row(tab, "cache")
        expect(dead.locator("th")).to_contain_text("no healthy endpoint")
        expect(dead.locator("th")).to_contain_text("TCP")
        expect(dead.locator("td").nth(1)).to_have_text("0 %")
        expect(dead.locator("td.bad")).to_have_count(3)
        for each in range(22):
            expect(row(tab, f"extra{each:02}").locator("td").first).to_have_text(f"{each + 1}/s")
            expect(row(tab, f"extra{each:02}").locator("td").nth(1)).to_have_text("100 %")


def test_the_map_shows_who_calls_whom(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/") as tab:
        ready(tab)
        expect(tab.locator(".map .node")).to_have_count(24)
        expect(tab.locator(".map .edge")).to_have_count(34)
        edge = tab.locator(".map .edge", has_text="orders calls stock")
        expect(edge).to_have_class("edge failing")
        expect(edge).to_contain_text("success 0 %")
        expect(tab.locator(".map .edge", has_text="orders calls payments")).to_have_class("edge healthy")
        expect(tab.locator(".map .node.root")).to_have_count(2)
        expect(
            tab.get_by_role("link", name=re.compile("^stock, failing, 100 % of calls fail, .* probable root$"))
        ).to_be_visible()
        tab.get_by_label("Arrows say").select_option("success")
        expect(tab.locator(".labels")).to_contain_text("0 %")
        assert tab.url.endswith("/?label=success")


def test_no_box_of_the_map_covers_another(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/") as tab:
        ready(tab)
        found = tab.evaluate(BOXES)
        for at, (x, y, width, height) in enumerate(found):
            for other_x, other_y, _, _ in found[at + 1 :]:
                assert abs(x - other_x) >= width or abs(y - other_y) >= height


def test_a_thousand_services(browser: Browser) -> None:
    with served(console_of(FakeCloudWatch(thousand(MINUTES[-3:])))) as url, opened(browser, f"{url}/") as tab:
        ready(tab)
        expect(tab.locator("h1")).to_have_text("3 of 1,001 services failing")  # one is the registry's
        expect(tab.locator(".rootcard")).to_have_count(1)
        expect(tab.locator(".rootcard")).to_contain_text("svc0500 is the probable root: 100 % of calls fail")
        assert first_names(tab, 3) == ["svc0500", "svc0400", "svc0399"]
        expect(tab.locator(".map .node")).to_have_count(10)
        expect(tab.locator(".map .node.failing")).to_have_count(3)
        rows = tab.locator("table.services tbody tr")
        expect(rows).to_have_count(100)
        tab.get_by_role("button", name="Show 100 more").click()
        expect(rows).to_have_count(200)
        tab.get_by_role("searchbox").fill("svc07")
        expect(rows).to_have_count(100)
        expect(tab.locator(".bar [role=status]")).to_have_text("100 of 1,001 services")
        tab.get_by_role("searchbox").fill("svc0999")
        expect(rows).to_have_count(1)
        expect(row(tab, name(999)).locator("td").first).to_have_text("1.8 k/s")
        tab.get_by_role("searchbox").fill("failing")
        expect(rows).to_have_count(3)


def test_columns_sort_and_the_address_says_how(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/") as tab:
        ready(tab)
        tab.get_by_role("button", name="Service", exact=True).click()
        assert first_names(tab, 3) == ["accounts", "card-gateway", "cart"]
        assert tab.url.endswith("/?sort=name")
        expect(tab.locator("th[aria-sort=ascending]")).to_have_text("Service ↑")
        tab.locator("th[aria-sort] button").click()
        assert first_names(tab, 1) == ["stock"]
        tab.go_back()
        expect(tab.locator("table.services tbody th a").first).to_have_text("accounts")
        tab.reload()
        expect(tab.locator("table.services tbody th a").first).to_have_text("accounts")


def test_a_service_has_its_neighbours_and_what_the_registry_knows(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/") as tab:
        ready(tab)
        row(tab, "stock").get_by_role("link").click()
        expect(tab.locator("h1")).to_contain_text("stock")
        assert tab.url == f"{failing}/services/stock"
        expect(tab.locator(".verdict.failing")).to_contain_text("100 % of calls fail, since")
        expect(tab.locator("table.edges").first.locator("tbody th")).to_have_text(["catalog", "cart", "orders"])
        expect(tab.locator(".facts")).to_contain_text('"request_seconds": 2')
        expect(tab.locator("table.endpoints tbody tr")).to_have_count(4)
        expect(tab.locator(".history li")).to_have_count(2)
        live = tab.locator(".live")
        live.get_by_role("button", name="Who ejects its endpoints").click()
        expect(live.locator("tbody tr").first).to_have_text("a1173316ejected after failurescartcacacaca")
        live.get_by_role("button", name="Tap requests").click()
        expect(live.locator("tbody tr.bad")).to_contain_text("/items/7")
        expect(live.get_by_role("status")).to_have_text("1 requests, the latest first.")
        tab.locator("table.edges").first.get_by_role("link", name="orders").click()
        expect(tab.locator("h1")).to_contain_text("orders")
        tab.go_back()
        expect(tab.locator("h1")).to_contain_text("stock")


def test_the_plots_hold_what_cloudwatch_holds(browser: Browser) -> None:
    call = Call("web", "stock", 600, 10.0, lambda place: 1.0 if place >= 30 else 0.0)
    silent = FakeCloudWatch(data(MINUTES, [call], lambda _, place: place in (10, 11)))
    with served(console_of(silent)) as url, opened(browser, f"{url}/services/stock") as tab:
        ready(tab)
        found = tab.evaluate(PLOTS)
        assert [datetime.fromtimestamp(each, UTC) for each in found["Calls"]["times"]] == MINUTES
        good = [None if place in (10, 11) else 10 if place < 30 else 0 for place in range(60)]
        bad = [None if place in (10, 11) else 0 if place < 30 else 10 for place in range(60)]
        assert found["Calls"]["lines"] == {"2XX": good, "5XX": bad}, "a gap stays a gap"
        assert found["Failures"]["lines"] == {"5XX": bad}
        assert found["Time to answer"]["lines"]["p95"][0] == 19
        assert "Bytes" not in found
        tab.get_by_text("More plots").click()
        until(lambda: "Bytes" in tab.evaluate(PLOTS), 10, "the folded plots")


def test_the_cursor_shows_the_time_and_the_values_and_deployments_are_marks(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/services/stock") as tab:
        ready(tab)
        graph = tab.locator(".graph").first
        over = graph.locator(".u-over")
        expect(graph.locator("li b").last).to_have_text(re.compile(r"^4\d(\.\d+)?/s$"))
        over.hover(position={"x": 1, "y": 60})
        expect(graph.locator(".at")).to_have_text("11:00")
        expect(graph.locator("li b").last).to_have_text("0/s")
        width = (over.bounding_box() or {"width": 0})["width"]
        begun = 40.5 / 59 * width  # the deployment, in minutes since the first point
        over.hover(position={"x": begun, "y": 60})
        expect(graph.locator(".at")).to_contain_text("deployment in progress")


def test_the_window_is_in_the_address_and_stays_on_the_way(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/?minutes=10") as tab:
        ready(tab)
        expect(tab.locator("#minutes")).to_have_value("10")
        row(tab, "stock").get_by_role("link").click()
        expect(tab.locator("h1")).to_contain_text("stock")
        assert tab.url == f"{failing}/services/stock?minutes=10"
        assert len(tab.evaluate(PLOTS)["Calls"]["times"]) == 10
        tab.select_option("#minutes", "60")
        until(lambda: len(tab.evaluate(PLOTS)["Calls"]["times"]) == 60, 20, "an hour")
        assert tab.url == f"{failing}/services/stock?minutes=60"


def test_it_can_be_used_from_the_keyboard(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/") as tab:
        ready(tab)
        tab.keyboard.press("/")
        tab.keyboard.type("stoc")
        expect(tab.locator("table.services tbody tr")).to_have_count(1)
        expect(tab.get_by_role("searchbox")).to_be_focused()
        tab.keyboard.press("Tab")
        while tab.evaluate("document.activeElement.tagName") == "BUTTON":
            tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        expect(tab.locator("h1")).to_contain_text("stock")


def test_what_shows_a_state_has_a_name(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/") as tab:
        ready(tab)
        expect(row(tab, "stock").get_by_role("img", name="failing", exact=True)).to_be_visible()
        expect(row(tab, "payments").get_by_role("img", name="healthy", exact=True)).to_be_visible()
        expect(tab.locator(".map").first).to_have_attribute("aria-label", "Map of 24 services and 34 pairs that call")
        assert tab.evaluate(SHAPES) == ["path", "circle"], "not by colour alone"


@pytest.mark.parametrize("path", ["/", "/services/stock", "/mesh"])
def test_it_fits_a_phone(browser: Browser, failing: str, path: str) -> None:
    with opened(browser, failing + path, viewport={"width": 390, "height": 844}) as tab:
        ready(tab)
        assert tab.evaluate(FITS)


def test_the_dark_page_is_drawn_anew(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/services/stock") as tab:
        ready(tab)
        light = tab.evaluate(COLOURS)
        tab.emulate_media(color_scheme="dark")
        until(lambda: not set(light) & set(tab.evaluate(COLOURS)), 10, "other colours")


def test_the_sidecars_and_the_control_plane_have_their_page(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/mesh") as tab:
        ready(tab)
        assert tab.evaluate(PLOTS)["Memory"]["lines"]["SidecarMemory p50"] == [48 * 2**20] * 60
        expect(tab.locator(".graph", has_text="Memory").locator("li b").first).to_have_text("48 MiB")
        expect(tab.locator(".note", has_text="API latency")).to_contain_text("--stack NAME")


def test_a_service_that_nobody_knows(browser: Browser, failing: str) -> None:
    with opened(browser, f"{failing}/services/nobody") as tab:
        expect(tab.locator(".empty")).to_contain_text("No service nobody")
        tab.get_by_role("link", name="All services").click()
        expect(tab.locator("table.services")).to_be_visible()


def test_a_mesh_that_sends_nothing(browser: Browser) -> None:
    reader = MetricReader(cast("Any", FakeCloudWatch([])), lambda: NOW)
    silent = Console(reader, sections(), "test", RegistryReader(None, "no API is known"))
    with served(silent) as url, opened(browser, f"{url}/") as tab:
        expect(tab.locator(".empty")).to_contain_text("No service has sent metrics in this time")
        expect(tab.locator(".note")).to_contain_text("no API is known")


def test_a_cloudwatch_that_goes_away_and_comes_back(browser: Browser) -> None:
    cloudwatch = FakeCloudWatch(shop(MINUTES[-5:]))
    away = ClientError({"Error": {"Code": "Throttling", "Message": "later"}}, "ListMetrics")
    cloudwatch.error = away
    with (
        served(console_of(cloudwatch, period=1), minutes=1) as url,
        opened(browser, f"{url}/?minutes=1", allowed="502") as tab,
    ):
        alert = tab.locator("#error")
        expect(alert).to_contain_text("The numbers cannot be read")
        expect(alert).to_contain_text("later")
        expect(tab.locator("#state.bad")).to_have_text("last read never")
        cloudwatch.error = None
        expect(alert).to_be_hidden()
        expect(tab.locator("table.services")).to_be_visible()
        cloudwatch.error = away
        expect(alert).to_be_visible()
        expect(tab.locator("table.services")).to_be_visible()
        expect(tab.locator("main.stale")).to_be_visible()
        cloudwatch.error = None
        expect(tab.locator("main.stale")).to_have_count(0)
