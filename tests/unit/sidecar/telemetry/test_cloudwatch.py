"""Meters to CloudWatch: once each, whatever AWS does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.core.meters import Meters
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.cloudwatch import MAX_BATCHES, MAX_DATA_PER_CALL, CloudWatchSink
from sidecar.telemetry.put_metric_data import NotTakenError, RefusedError

AWAY = NotTakenError("https://monitoring cannot be reached")


class FakeCloudWatch:
    """Takes metrics, or raises what it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self.errors: list[Exception] = []
        self.hold: threading.Event | None = None

    def put(self, namespace: str, data: list[dict[str, Any]]) -> None:
        assert namespace == "blue"
        if self.hold is not None:
            self.hold.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        self.calls.append(data)

    def total(self, name: str) -> float:
        """The sum of one metric without the task's dimensions."""
        found: float = sum(
            value * count
            for call in self.calls
            for datum in call
            if datum["MetricName"] == name and len(datum["Dimensions"]) == 1
            for value, count in zip(datum["Values"], datum["Counts"], strict=True)
        )
        return found


class Case:
    """A sink with its surroundings."""

    def __init__(self) -> None:
        self.cloudwatch = FakeCloudWatch()
        self.meters = Meters("web-svc", "main")
        self.minute = 0
        runtime = Runtime(asyncio.get_running_loop())
        self.sink = CloudWatchSink(runtime, "blue", self.meters.take, self.cloudwatch.put, 60.0, self.clock)

    def clock(self) -> datetime:
        self.minute += 1
        return datetime(2026, 11, 22, self.minute // 60, self.minute % 60, tzinfo=UTC)

    def requests(self, count: int) -> None:
        self.meters.server("web").requests += count


def run(test: Callable[[Case], Any]) -> None:
    async def main() -> None:
        case = Case()
        await test(case)
        await case.sink.close()

    asyncio.run(main())


def test_counts_are_sent_once() -> None:
    async def test(case: Case) -> None:
        case.requests(5)
        await case.sink.flush()
        await case.sink.flush()
        case.requests(2)
        await case.sink.flush()
        assert case.cloudwatch.total("RequestCount") == 7.0
        assert len(case.cloudwatch.calls) == 2, "without news no call"
        assert case.sink.sent == 4

    run(test)


def test_the_form_of_a_datum() -> None:
    async def test(case: Case) -> None:
        case.requests(5)
        await case.sink.flush()
        alone, with_task = case.cloudwatch.calls[0]
        assert alone == {
            "MetricName": "RequestCount",
            "Unit": "Count",
            "Timestamp": datetime(2026, 11, 22, 0, 1, tzinfo=UTC).timestamp(),
            "Dimensions": [{"Name": "DiscoveryName", "Value": "web"}],
            "Values": [5.0],
            "Counts": [1.0],
        }
        assert [item["Name"] for item in with_task["Dimensions"]] == ["DiscoveryName", "ServiceName", "ClusterName"]

    run(test)


@pytest.mark.parametrize("error", [AWAY, TimeoutError()])
def test_what_aws_did_not_take_is_sent_again_with_its_time(error: Exception) -> None:
    async def test(case: Case) -> None:
        case.cloudwatch.errors = [error, error]
        for _ in range(3):
            case.requests(1)
            await case.sink.flush()
        assert case.cloudwatch.total("RequestCount") == 3.0
        assert [call[0]["Timestamp"] // 60 % 60 for call in case.cloudwatch.calls] == [1, 2, 3]
        assert (case.sink.failures, case.sink.sent, case.sink.dropped) == (2, 6, 0)

    run(test)


def test_what_aws_will_never_take_does_not_hold_up_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    async def test(case: Case) -> None:
        case.requests(1)
        case.cloudwatch.errors = [RefusedError("InvalidParameterValue")]
        await case.sink.flush()
        case.requests(2)
        await case.sink.flush()
        assert case.cloudwatch.total("RequestCount") == 2.0
        assert (case.sink.dropped, case.sink.sent) == (2, 2)

    run(test)
    assert "dropped 2 metric values" in caplog.text


def test_long_lists_go_in_several_calls() -> None:
    async def test(case: Case) -> None:
        for number in range(MAX_DATA_PER_CALL):
            case.meters.server(f"s{number}").requests = 1
        await case.sink.flush()
        assert [len(call) for call in case.cloudwatch.calls] == [MAX_DATA_PER_CALL] * 2
        assert case.cloudwatch.total("RequestCount") == MAX_DATA_PER_CALL

    run(test)


def test_the_queue_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    async def test(case: Case) -> None:
        for _ in range(MAX_BATCHES + 10):
            case.requests(1)
            case.cloudwatch.errors = [AWAY]
            await case.sink.flush()
        case.cloudwatch.errors = []
        await case.sink.flush()
        assert case.cloudwatch.total("RequestCount") == MAX_BATCHES
        assert case.sink.dropped == 20

    run(test)
    assert "CloudWatch is away for too long" in caplog.text


def test_counts_that_come_while_sending_wait_for_the_next_time() -> None:
    async def test(case: Case) -> None:
        case.cloudwatch.hold = threading.Event()
        case.requests(1)
        first = asyncio.ensure_future(case.sink.flush())
        await asyncio.sleep(0)
        case.requests(10)
        second = asyncio.ensure_future(case.sink.flush())
        await asyncio.sleep(0)
        case.cloudwatch.hold.set()
        await asyncio.gather(first, second)
        assert case.cloudwatch.total("RequestCount") == 11.0
        assert len(case.cloudwatch.calls) == 2

    run(test)


def test_the_rest_is_sent_at_the_end() -> None:
    async def main() -> FakeCloudWatch:
        case = Case()
        case.requests(3)
        await case.sink.close()
        return case.cloudwatch

    assert asyncio.run(main()).total("RequestCount") == 3.0
