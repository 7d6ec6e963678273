"""Health checks of containers, as Docker does them for ECS.

Rules, from the HealthCheck type in the ECS API and Docker's HEALTHCHECK: a check that exits with 0 in time
makes the container HEALTHY at once; `retries` failures in a row make it UNHEALTHY; failures within the start
period do not count, but a success ends it. While a container starts the checks come closer together (Docker's
start-interval), so that a laptop need not wait 5 s, the least interval that ECS takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from infra.local.definition import HealthCheck
from infra.local.state import Health


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks so far say. `failures`: in a row."""

    health: Health = Health.UNKNOWN
    failures: int = 0

    def after(self, passed: bool, check: HealthCheck, age: float) -> Verdict:
        """Return the verdict after one more check; `age` is the time since the container started, in seconds."""
        if passed:
            return Verdict(Health.HEALTHY, 0)
        if self.health is Health.UNKNOWN and age < check.start_period:
            return self
        failures = self.failures + 1
        if failures >= check.retries:
            return Verdict(Health.UNHEALTHY, failures)
        return replace(self, failures=failures)

    def pause(self, check: HealthCheck, start_interval: float) -> float:
        """Return the seconds until the next check."""
        return check.interval if self.health is not Health.UNKNOWN else min(start_interval, check.interval)


async def watch(
    check: HealthCheck,
    run: Callable[[], Awaitable[bool]],
    start_interval: float,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Health]:
    """Run the check for ever and yield the health whenever it changes."""
    started = clock()
    verdict = Verdict()
    while True:
        await sleep(verdict.pause(check, start_interval))
        before = verdict.health
        verdict = verdict.after(await run(), check, clock() - started)
        if verdict.health is not before:
            yield verdict.health
