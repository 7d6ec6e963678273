"""Tells the API how ECS holds this task: no ECS event says it.

Rules:
- The task metadata endpoint is read once a second, and a change of HEALTHY or UNHEALTHY is reported at once.
- What the API did not take is reported again with the next reading: a task is registered only once it is RUNNING,
  which comes after its sidecar is healthy.
- A task without health checks has nothing to report.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from sidecar.metadata import MetadataError, TaskHealth
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import RegistryError

INTERVAL_SECONDS: Final = 1.0
"""The endpoint allows 40 requests a second for a task."""

log = logging.getLogger("tramo.health")


class HealthSource(Protocol):
    """Where the task's health is read."""

    def health(self) -> TaskHealth | None:
        """See TaskMetadata.health."""


class HealthSink(Protocol):
    """Where it is reported."""

    def report_health(self, task_id: str, status: str, observed_at: str) -> bool:
        """See RegistryClient.report_health."""


class HealthReporter:
    """Reports changes of the task's health."""

    def __init__(self, runtime: Runtime, task_id: str, source: HealthSource, sink: HealthSink) -> None:
        self.reported = ""  # the status that the API knows
        self._runtime = runtime
        self._task_id = task_id
        self._source = source
        self._sink = sink
        self._failing = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="health")

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self.step()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def step(self) -> None:
        """Read once and report what changed."""
        try:
            await self._runtime.loop.run_in_executor(self._executor, self._report)
        except (MetadataError, RegistryError) as error:
            if not self._failing:
                log.warning("the task's health is not reported for now: %s", error)
            self._failing = True
        else:
            self._failing = False

    def _report(self) -> None:
        health = self._source.health()
        if health is None or health.status in ("UNKNOWN", self.reported):
            return
        if self._sink.report_health(self._task_id, health.status, health.since):
            log.info("reported the task's health", extra={"status": health.status, "since": health.since})
            self.reported = health.status

    def close(self) -> None:
        """Let the thread end."""
        self._executor.shutdown(wait=False, cancel_futures=True)
