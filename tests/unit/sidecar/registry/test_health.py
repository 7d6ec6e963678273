"""Reports of the task's health: each change once, until the API has it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from sidecar.core.findings import Finding, app_refuses
from sidecar.metadata import MetadataError, TaskHealth, TaskReading
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import CallError
from sidecar.registry.health import HealthReporter


class FakeEcs:
    """The metadata endpoint and the API in one."""

    def __init__(self, *readings: str | Exception | None) -> None:
        self.readings = list(readings)
        self.registered = True
        self.away = False
        self.is_stopping = False
        self.reports: list[tuple[str, str, str, bool]] = []
        self.drains: list[int] = []  # how many reports were made before each call to drain
        self.found: list[Finding] = []
        self.labels: list[frozenset[tuple[str, str, str]]] = []
        self.reported_findings: list[list[str]] = []  # their places, of each report

    def reading(self) -> TaskReading:
        reading = self.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        health = TaskHealth(reading, "2026-11-22T12:00:00Z") if reading is not None else None
        return TaskReading(health, self.is_stopping)

    def report_health(
        self, task_id: str, status: str, observed_at: str, is_stopping: bool, findings: Sequence[Finding]
    ) -> bool:
        if self.away:
            raise CallError("away")
        if self.registered:
            self.reports.append((task_id, status, observed_at, is_stopping))
            self.reported_findings.append([finding.where for finding in findings])
        return self.registered

    def findings(self) -> list[Finding]:
        return list(self.found)

    def drain(self) -> None:
        self.drains.append(len(self.reports))


def reporter_of(ecs: FakeEcs) -> HealthReporter:
    return HealthReporter(
        Runtime(asyncio.get_running_loop()), "a1", ecs, ecs, ecs.findings, ecs.drain, ecs.labels.append
    )


def run(ecs: FakeEcs) -> HealthReporter:
    async def main() -> HealthReporter:
        reporter = reporter_of(ecs)
        while ecs.readings:
            await reporter.step()
        return reporter

    return asyncio.run(main())


def test_changes_are_reported_once() -> None:
    ecs = FakeEcs("UNKNOWN", "HEALTHY", "HEALTHY", "UNHEALTHY", "UNKNOWN", "UNHEALTHY", "HEALTHY")
    assert run(ecs).reported == "HEALTHY"
    assert [status for _, status, _, _ in ecs.reports] == ["HEALTHY", "UNHEALTHY", "HEALTHY"]
    assert ecs.reports[0] == ("a1", "HEALTHY", "2026-11-22T12:00:00Z", False)


def test_a_task_without_health_checks_reports_nothing() -> None:
    ecs = FakeEcs(None, None)
    run(ecs)
    assert ecs.reports == []


def test_what_the_api_did_not_take_is_reported_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ecs = FakeEcs(*["HEALTHY"] * 5)
        reporter = reporter_of(ecs)
        ecs.registered = False
        await reporter.step()
        ecs.away = True
        await reporter.step()
        await reporter.step()
        ecs.away, ecs.registered = False, True
        await reporter.step()
        await reporter.step()
        assert len(ecs.reports) == 1

    asyncio.run(main())
    assert caplog.text.count("is not reported for now") == 1


@pytest.mark.parametrize(
    ("health", "told"),
    [("HEALTHY", ("a1", "HEALTHY", "2026-11-22T12:00:00Z", True)), (None, ("a1", "UNKNOWN", "", True))],
)
def test_a_task_that_must_stop_drains_and_says_so_once(health: str | None, told: tuple[str, str, str, bool]) -> None:
    ecs = FakeEcs(health, health)
    ecs.is_stopping = True
    run(ecs)
    assert ecs.drains[0] == 0, "the drain waits for no report"
    assert ecs.reports == [told]


def test_the_end_of_a_task_is_reported_until_the_api_has_it() -> None:
    async def main() -> None:
        ecs = FakeEcs("HEALTHY", "HEALTHY", "UNHEALTHY")
        ecs.is_stopping, ecs.away = True, True
        reporter = reporter_of(ecs)
        await reporter.step()
        ecs.away = False
        await reporter.step()
        await reporter.step()
        assert [(status, stopping) for _, status, _, stopping in ecs.reports] == [
            ("HEALTHY", True),
            ("UNHEALTHY", True),
        ]

    asyncio.run(main())


def test_an_endpoint_that_does_not_answer_is_asked_again() -> None:
    ecs = FakeEcs(MetadataError("away"), "HEALTHY")
    run(ecs)
    assert len(ecs.reports) == 1


def test_findings_are_reported_when_they_change_whatever_the_health_is() -> None:
    async def main() -> None:
        ecs = FakeEcs(None, None, "HEALTHY", "HEALTHY", "HEALTHY", "HEALTHY")
        reporter = reporter_of(ecs)
        finding = app_refuses("orders", "127.0.0.1", 8080)
        for found in ([], [finding], [finding], [finding], [], []):
            ecs.found = found
            await reporter.step()
        assert [status for _, status, *_ in ecs.reports] == ["UNKNOWN", "HEALTHY", "HEALTHY"]
        assert ecs.reported_findings == [[finding.where], [finding.where], []]
        assert reporter.reported == "HEALTHY"

    asyncio.run(main())


class FakeClock:
    """A time that the test moves, and a runtime that goes by it and whose chance is always the same."""

    def __init__(self, chance: int) -> None:
        self.time = 0.0
        self.runtime = Runtime(asyncio.get_running_loop(), clock=lambda: self.time)
        self.runtime.random = lambda _: chance


def tries(seconds: int, chance: int, stops_at: int | None = None) -> list[int]:
    """Return the seconds at which a task that the API never takes reports, of so many."""
    made: list[int] = []

    async def main() -> None:
        clock = FakeClock(chance)

        class Refusing(FakeEcs):
            def report_health(self, *_: object) -> bool:
                made.append(int(clock.time))
                raise CallError("403")

        ecs = Refusing(*["HEALTHY"] * seconds)
        reporter = HealthReporter(clock.runtime, "a1", ecs, ecs, ecs.findings, ecs.drain, ecs.labels.append)
        for second in range(seconds):
            clock.time = float(second)
            ecs.is_stopping = stops_at is not None and second >= stops_at
            await reporter.step()

    asyncio.run(main())
    return made


def test_a_report_that_is_refused_again_and_again_is_made_ever_more_seldom() -> None:
    latest = tries(600, chance=0)
    assert latest[:9] == [0, 1, 2, 3, 4, 6, 10, 18, 34]
    assert {after - before for before, after in itertools.pairwise(latest[10:])} == {60}
    earliest = tries(600, chance=65535)
    assert {after - before for before, after in itertools.pairwise(earliest[10:])} <= {30, 31}, "jitter"


def test_a_task_that_must_stop_says_so_at_once_though_it_was_refused() -> None:
    made = tries(300, chance=0, stops_at=200)
    assert 200 in made
    assert 201 not in made


def test_what_is_taken_ends_the_back_off() -> None:
    async def main() -> None:
        ecs = FakeEcs(*["HEALTHY"] * 40, "UNHEALTHY")
        clock = FakeClock(chance=0)
        reporter = HealthReporter(clock.runtime, "a1", ecs, ecs, ecs.findings, ecs.drain, ecs.labels.append)
        ecs.registered = False
        for second in range(41):
            clock.time = float(second)
            ecs.registered = second >= 10
            await reporter.step()
        assert [status for _, status, _, _ in ecs.reports] == ["HEALTHY", "UNHEALTHY"]

    asyncio.run(main())
