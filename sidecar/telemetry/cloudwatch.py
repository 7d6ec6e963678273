"""Meters to CloudWatch, once in an interval.

Rules:
- On a thread of its own; traffic never waits for it.
- Counts are taken from the meters once and belong to a batch from then on. A batch that AWS does not take stays
  first in the queue with the time it was taken at, and is sent again; nothing is counted twice or lost meanwhile.
- A batch that AWS will never take, because a value in it is wrong, is dropped with an error: it would hold up the
  others.
- The queue is bounded: beyond `MAX_BATCHES` the oldest goes, which is logged with its number of values.
- On shutdown the rest is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sidecar.blocking import DaemonThreads, call
from sidecar.core.meters import Datum
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.put_metric_data import NotTakenError, RefusedError
from sidecar.telemetry.schedule import Intervals

MAX_DATA_PER_CALL: Final = 1000  # PutMetricData's limit
MAX_BYTES_PER_CALL: Final = 900_000
"""PutMetricData takes 1 MB. It is compressed, but which size counts is not documented."""
_BYTES_PER_DATUM: Final = 300  # of JSON: names, unit, time and the names of three dimensions
_BYTES_PER_VALUE: Final = 32  # a value and its count
MAX_BATCHES: Final = 120
"""Two hours of minutes: CloudWatch takes values up to two weeks old, memory is what bounds this."""
FLUSH_SECONDS: Final = 5.0
log = logging.getLogger("tramo.telemetry")


Put = Callable[[str, list[dict[str, Any]]], None]
"""Sends values of a metric namespace, as `PutMetricData` does."""


class Batch(NamedTuple):
    """What one call sends."""

    taken_at: datetime
    data: list[Datum]


class CloudWatchSink:
    """Sends the meters' counts."""

    def __init__(
        self,
        runtime: Runtime,
        namespace: str,
        take: Callable[[], list[Datum]],
        put: Put,
        seconds: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.sent = 0
        self.failures = 0
        self.dropped = 0
        self._runtime = runtime
        self._namespace = namespace
        self._take = take  # the counts since the last time
        self._put = put
        self._seconds = seconds
        self._clock = clock
        self._batches: deque[Batch] = deque()
        self._sending = asyncio.Lock()
        self._executor = DaemonThreads("cloudwatch")

    async def run(self) -> None:
        """Send for ever."""
        intervals = Intervals(self._seconds)
        while True:
            await intervals.wait()
            await self.flush()

    async def flush(self) -> None:
        """Take the counts and send all that waits."""
        self.collect()
        async with self._sending:
            while self._batches:
                batch = self._batches[0]
                try:
                    await call(self._executor, self._send, batch)
                except RefusedError as error:
                    self.failures += 1
                    self.dropped += len(batch.data)
                    log.error("dropped %d metric values that CloudWatch refuses: %s", len(batch.data), error)
                except (NotTakenError, TimeoutError) as error:
                    self.failures += 1
                    log.warning("metrics wait to be sent again, %d batches: %s", len(self._batches), error)
                    return
                else:
                    self.sent += len(batch.data)
                if self._batches and self._batches[0] is batch:
                    self._batches.popleft()

    def collect(self) -> None:
        """Move the counts from the meters into the queue."""
        data = self._take()
        taken_at = self._clock()
        self._batches.extend(Batch(taken_at, part) for part in calls(data))
        while len(self._batches) > MAX_BATCHES:
            lost = self._batches.popleft()
            self.dropped += len(lost.data)
            log.error(
                "dropped %d metric values of %s: CloudWatch is away for too long",
                len(lost.data),
                lost.taken_at,
            )

    def _send(self, batch: Batch) -> None:
        self._put(self._namespace, [_datum(datum, batch.taken_at) for datum in batch.data])

    async def close(self) -> None:
        """Send the rest."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.flush()
        except TimeoutError:
            log.error("CloudWatch did not take the last metrics within %.0f s", FLUSH_SECONDS)


def calls(data: list[Datum]) -> list[list[Datum]]:
    """Return the data in the portions that one call may carry."""
    found: list[list[Datum]] = []
    size = 0
    for datum in data:
        names = sum(len(value) for _, value in datum.dimensions)
        bytes_ = _BYTES_PER_DATUM + _BYTES_PER_VALUE * len(datum.values) + names
        size += bytes_
        if not found or len(found[-1]) >= MAX_DATA_PER_CALL or size > MAX_BYTES_PER_CALL:
            found.append([])
            size = bytes_
        found[-1].append(datum)
    return found


def _datum(datum: Datum, taken_at: datetime) -> dict[str, Any]:
    return {
        "MetricName": datum.name,
        "Unit": datum.unit,
        "Timestamp": int(taken_at.timestamp()),
        "Dimensions": [{"Name": name, "Value": value} for name, value in datum.dimensions],
        "Values": datum.values,
        "Counts": datum.counts,
    }
