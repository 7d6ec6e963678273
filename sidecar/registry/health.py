"""Tells the API how ECS holds this task: its health, which is in no event, and that it must stop.

Rules:
- The task metadata endpoint is read once a second, and a change of HEALTHY or UNHEALTHY is reported at once.
- What the API did not take is reported again: a task is registered only once it is RUNNING, which comes after its
  sidecar is healthy. The first `PROMPT_TRIES` are made with the next reading. Then the wait doubles up to
  `MAX_BACKOFF_SECONDS`, spread by `JITTER`: a role that may not report, or a task that is never registered, would cost
  a request a second for all its life. Only the news that the task must stop does not wait.
- A task without health checks has no health to report.
- That the task must stop (DesiredStatus STOPPED) reaches this sidecar first, which drains, and then reported: ECS
  ends the app at the same moment, and its event may be seconds on the way.
- A change of the sidecar's findings is reported too, with the health as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sidecar.blocking import CALL_SECONDS, DaemonThreads, call
from sidecar.core.findings import Finding
from sidecar.metadata import MetadataError, TaskReading
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import CallError

INTERVAL_SECONDS: Final = 1.0
"""The endpoint allows 40 requests a second for a task."""

PROMPT_TRIES: Final = 5
MAX_BACKOFF_SECONDS: Final = 60.0
JITTER: Final = 0.5
"""A fleet that is refused in one moment does not come back in one."""
_UNKNOWN: Final = "UNKNOWN"

log = logging.getLogger("tramo.health")


class HealthSource(Protocol):
    """Where it is read."""

    def reading(self) -> TaskReading:
        """See TaskMetadata.reading."""


class HealthSink(Protocol):
    """Where it is reported."""

    def report_health(
        self, task_id: str, status: str, observed_at: str, is_stopping: bool, findings: Sequence[Finding]
    ) -> bool:
        """See RegistryClient.report_health."""


class HealthReporter:
    """Reports changes of the task's health, and its end.

    `on_stopping` is called when ECS begins to stop the task, `on_labels` with the labels of each reading.
    """

    def __init__(
        self,
        runtime: Runtime,
        task_id: str,
        source: HealthSource,
        sink: HealthSink,
        findings: Callable[[], Sequence[Finding]],
        on_stopping: Callable[[], object],
        on_labels: Callable[[frozenset[tuple[str, str, str]]], object],
    ) -> None:
        self.reported = _UNKNOWN  # the status that the API knows
        self._reported_stopping = False
        self._on_stopping = on_stopping
        self._on_labels = on_labels
        self._runtime = runtime
        self._task_id = task_id
        self._source = source
        self._sink = sink
        self._findings = findings
        self._reported_findings: Sequence[Finding] = []
        self._failing = False
        self._refusals = 0  # in a row
        self._wait_until = 0.0
        self._tried_stopping = False
        self._executor = DaemonThreads("health")

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self.step()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def step(self) -> None:
        """Read once and report what changed."""
        try:
            reading = await call(self._executor, self._source.reading)
            self._on_labels(reading.labels)
            if reading.is_stopping:
                self._on_stopping()
            if self._may_report(reading):
                await self._report(reading, list(self._findings()))
        except (MetadataError, CallError, TimeoutError) as error:
            if not self._failing:
                why = str(error) or f"no answer in {CALL_SECONDS:.0f} s"
                log.warning("the task's health is not reported for now: %s", why)
            self._failing = True
        else:
            self._failing = False

    def _may_report(self, reading: TaskReading) -> bool:
        return self._runtime.now() >= self._wait_until or (reading.is_stopping and not self._tried_stopping)

    async def _report(self, reading: TaskReading, findings: Sequence[Finding]) -> None:
        """Report what changed. Raises CallError."""
        self._tried_stopping = reading.is_stopping
        taken = False
        try:
            taken = await call(self._executor, self._send, reading, findings)
        finally:
            self._refusals = 0 if taken else self._refusals + 1
            self._wait_until = self._runtime.now() + self._backoff_seconds()

    def _backoff_seconds(self) -> float:
        """Return how long to wait after so many refusals in a row; 0 = until the next reading."""
        if self._refusals < PROMPT_TRIES:
            return 0.0
        longest = min(INTERVAL_SECONDS * 2.0 ** min(self._refusals - PROMPT_TRIES + 1, 10), MAX_BACKOFF_SECONDS)
        return longest * (1.0 - JITTER * self._runtime.random(16) / 65536.0)

    def _send(self, reading: TaskReading, findings: Sequence[Finding]) -> bool:
        """Send what changed; return False when the API did not take it."""
        status, since = _UNKNOWN, ""
        if reading.health is not None and reading.health.status != _UNKNOWN:
            status, since = reading.health.status, reading.health.since
        rest = (reading.is_stopping, findings)
        if status in (_UNKNOWN, self.reported) and rest == (self._reported_stopping, self._reported_findings):
            return True
        if self._sink.report_health(self._task_id, status, since, *rest):
            extra = {"status": status, "since": since, "is_stopping": reading.is_stopping, "findings": len(findings)}
            log.info("reported the task's health", extra=extra)
            self._reported_stopping, self._reported_findings = rest
            if status != _UNKNOWN:
                self.reported = status
            return True
        return False
