from __future__ import annotations

import asyncio
from itertools import islice

from infra.local.definition import HealthCheck
from infra.local.health import Verdict, watch
from infra.local.state import Health

CHECK = HealthCheck(("probe",), interval=5, timeout=2, retries=3, start_period=10)


def verdicts(results: str, *, ages: float = 100.0) -> list[Health]:
    verdict, found = Verdict(), []
    for result in results:
        verdict = verdict.after(result == "+", CHECK, ages)
        found.append(verdict.health)
    return found


def test_one_success_is_healthy() -> None:
    assert verdicts("+") == [Health.HEALTHY]


def test_failures_in_a_row_are_unhealthy() -> None:
    assert verdicts("---") == [Health.UNKNOWN, Health.UNKNOWN, Health.UNHEALTHY]
    assert verdicts("+--+--+")[-1] is Health.HEALTHY
    assert verdicts("+---+") == [Health.HEALTHY, Health.HEALTHY, Health.HEALTHY, Health.UNHEALTHY, Health.HEALTHY]


def test_failures_in_the_start_period_do_not_count() -> None:
    assert set(verdicts("-----", ages=9.9)) == {Health.UNKNOWN}
    assert verdicts("-----", ages=10.0)[2] is Health.UNHEALTHY


def test_after_a_success_they_count_also_in_the_start_period() -> None:
    assert verdicts("+---", ages=1.0)[-1] is Health.UNHEALTHY


def test_checks_come_closer_together_while_it_starts() -> None:
    assert Verdict().pause(CHECK, 1.0) == 1.0
    assert Verdict(Health.HEALTHY).pause(CHECK, 1.0) == 5


def test_only_changes_are_told() -> None:
    results = iter([False, True, True, False, False, False, False, True])
    pauses: list[float] = []

    async def run() -> bool:
        return next(results)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def collect() -> list[Health]:
        told = []
        async for health in watch(CHECK, run, 1.0, clock=lambda: sum(pauses), sleep=sleep):
            told.append(health)
            if len(told) == 3:
                return told
        raise AssertionError("it never ends")

    assert asyncio.run(collect()) == [Health.HEALTHY, Health.UNHEALTHY, Health.HEALTHY]
    assert list(islice(pauses, 3)) == [1.0, 1.0, 5]
