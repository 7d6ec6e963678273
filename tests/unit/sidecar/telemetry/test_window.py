"""What operators are told of the last minute: differences between readings, bounded, and at no cost for the idle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from sidecar.core.meters import Meters
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.window import EVERY_SECONDS, KEPT, MOST_LATENCIES, MOST_SERVICES, Window
from tests.support.proxy.fake_loop import FakeLoop


class Case:
    """A window over the meters of a sidecar whose clock stands until it is moved."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.meters = Meters("web-svc", "main")
        self.cluster = SimpleNamespace(active_requests=0, protocol="http")
        destinations = {"orders": cast("Any", SimpleNamespace(cluster=self.cluster))}
        self.window = Window(Runtime(cast("Any", self.loop), seed=7), self.meters, destinations)

    def calls(self, name: str, *statuses: int) -> None:
        meter = self.meters.client(name)
        for status in statuses:
            meter.requests += 1
            meter.answered(status, 0.004)

    def pass_time(self, readings: int) -> None:
        for _ in range(readings):
            self.loop.now += EVERY_SECONDS
            self.window.read()

    def clients(self, seconds: float = 60.0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.window.moved(seconds)["client"]
        return found


def test_what_came_since_the_start_is_told_while_there_is_no_older_reading() -> None:
    case = Case()
    case.calls("orders", 200, 404, 503)
    moved = case.window.moved(60.0)
    (row,) = moved["client"]
    assert (moved["seconds"], row["name"]) == (0.0, "orders")
    assert (row["requests"], row["ok"], row["failed"]) == (3, 2, 1)
    assert sum(count for _, count in row["latency"]) == 3


def test_what_is_older_than_the_window_is_not_told() -> None:
    case = Case()
    case.calls("orders", 200, 200)
    case.pass_time(KEPT)
    assert case.clients() == [], "nothing has moved since"
    case.calls("orders", 500)
    (row,) = case.clients()
    assert (row["requests"], row["ok"], row["failed"], len(row["latency"])) == (1, 0, 1, 1)


def test_a_request_under_way_then_is_told_with_its_end() -> None:
    case = Case()
    meter = case.meters.client("orders")
    meter.requests += 1
    case.cluster.active_requests = 1
    case.pass_time(1)
    meter.answered(200, 0.001)
    case.cluster.active_requests = 0
    (row,) = case.clients(0.0)
    assert (row["requests"], row["ok"], row["failed"]) == (0, 1, 0)


def test_a_service_that_nobody_called_again_shares_its_reading() -> None:
    case = Case()
    case.calls("orders", 200)
    case.pass_time(2)
    before, after = (reading[1]["orders"] for reading in list(case.window._readings)[-2:])
    assert before is after


def test_an_answer_has_the_busiest_services_and_the_latencies_of_few() -> None:
    case = Case()
    for number in range(MOST_SERVICES + 10):
        case.calls(f"s{number}", *[200] * (1 + number % 7))
    rows = case.clients()
    assert len(rows) == MOST_SERVICES
    assert [row["requests"] for row in rows] == sorted((row["requests"] for row in rows), reverse=True)
    assert [bool(row["latency"]) for row in rows] == [at < MOST_LATENCIES for at in range(MOST_SERVICES)]
