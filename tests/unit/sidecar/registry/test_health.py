"""Reports of the task's health: each change once, until the API has it."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.metadata import MetadataError, TaskHealth
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import RegistryError
from sidecar.registry.health import HealthReporter


class FakeEcs:
    """The metadata endpoint and the API in one."""

    def __init__(self, *readings: str | Exception | None) -> None:
        self.readings = list(readings)
        self.registered = True
        self.away = False
        self.reports: list[tuple[str, str, str]] = []

    def health(self) -> TaskHealth | None:
        reading = self.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return TaskHealth(reading, "2026-11-22T12:00:00Z") if reading is not None else None

    def report_health(self, task_id: str, status: str, observed_at: str) -> bool:
        if self.away:
            raise RegistryError("away")
        if self.registered:
            self.reports.append((task_id, status, observed_at))
        return self.registered


def run(ecs: FakeEcs) -> HealthReporter:
    async def main() -> HealthReporter:
        reporter = HealthReporter(Runtime(asyncio.get_running_loop()), "a1", ecs, ecs)
        while ecs.readings:
            await reporter.step()
        reporter.close()
        return reporter

    return asyncio.run(main())


def test_changes_are_reported_once() -> None:
    ecs = FakeEcs("UNKNOWN", "HEALTHY", "HEALTHY", "UNHEALTHY", "UNKNOWN", "UNHEALTHY", "HEALTHY")
    assert run(ecs).reported == "HEALTHY"
    assert [status for _, status, _ in ecs.reports] == ["HEALTHY", "UNHEALTHY", "HEALTHY"]
    assert ecs.reports[0] == ("a1", "HEALTHY", "2026-11-22T12:00:00Z")


def test_a_task_without_health_checks_reports_nothing() -> None:
    ecs = FakeEcs(None, None)
    run(ecs)
    assert ecs.reports == []


def test_what_the_api_did_not_take_is_reported_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ecs = FakeEcs(*["HEALTHY"] * 5)
        reporter = HealthReporter(Runtime(asyncio.get_running_loop()), "a1", ecs, ecs)
        ecs.registered = False
        await reporter.step()
        ecs.away = True
        await reporter.step()
        await reporter.step()
        ecs.away, ecs.registered = False, True
        await reporter.step()
        await reporter.step()
        reporter.close()
        assert len(ecs.reports) == 1

    asyncio.run(main())
    assert caplog.text.count("is not reported for now") == 1


def test_an_endpoint_that_does_not_answer_is_asked_again() -> None:
    ecs = FakeEcs(MetadataError("away"), "HEALTHY")
    run(ecs)
    assert len(ecs.reports) == 1
