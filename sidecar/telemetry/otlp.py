"""Spans and metrics by OTLP/HTTP to a collector, beside X-Ray and CloudWatch.

https://opentelemetry.io/docs/specs/otlp/#otlphttp

Rules:
- Messages are in Protocol Buffers, OTLP's default, which every backend takes. `core.otlp` writes them itself: the
  library would add its memory and the time of its import to every sidecar, for a dozen messages that never change.
- Requests never wait. A span is encoded and put into a queue of `MAX_SPANS` at most; what comes beyond is dropped
  and counted. Calls are made on threads of their own, each at most `POST_SECONDS`.
- Spans are sent every `SPAN_SECONDS`, and as soon as `BATCH_SPANS` wait, which is the most of a call. If the collector
  may take them later they stay in the queue; what it refuses for good is dropped and counted. Metrics are totals, so
  nothing of them is kept.
- The log says when a signal fails, when the reason changes, and when it goes again; not each time.
- At the end what waits is sent, for at most `FLUSH_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import urllib3

import sidecar
from sidecar.blocking import DaemonThreads, call
from sidecar.core import otlp
from sidecar.core.trace import Span
from sidecar.telemetry.schedule import Intervals

MAX_SPANS: Final = 2048
"""As OpenTelemetry's SDKs; about 1 MB."""
BATCH_SPANS: Final = 512
SPAN_SECONDS: Final = 5.0
POST_SECONDS: Final = 10.0
FLUSH_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 65_536
_LATER: Final = frozenset((429, 502, 503, 504))
"""Statuses after which a call may be made again, by the specification."""
TRACES: Final = "traces"
METRICS: Final = "metrics"

log = logging.getLogger("tramo.telemetry")


class Answer(NamedTuple):
    """What a collector answered."""

    status: int
    body: bytes


Post = Callable[[str, bytes], Answer]
"""Sends a body to a signal's path. Raises OSError or urllib3's HTTPError."""


class OtlpExporter:
    """Sends to one collector. `metrics` encodes the metrics of now, None if they are not wanted."""

    name: Final = "otlp"

    def __init__(self, post: Post, resource: bytes, metrics: Callable[[], list[bytes]] | None, seconds: float) -> None:
        self.sent = 0  # spans
        self.dropped = 0
        self.taken = 0  # calls, of both signals
        self.failures = 0
        self._post = post
        self._resource = resource
        self._metrics = metrics
        self._seconds = seconds
        self._spans: deque[bytes] = deque()
        self._full = asyncio.Event()  # a batch is
        self._executor = DaemonThreads("otlp")
        self._sending = asyncio.Lock()
        self._failing: dict[str, str] = {}  # why, by signal

    def export(self, span: Span) -> None:
        """Put a span into the queue, or drop it."""
        if len(self._spans) >= MAX_SPANS:
            self.dropped += 1
        else:
            self._spans.append(otlp.span(span))
            if len(self._spans) == BATCH_SPANS:
                self._full.set()

    @property
    def waiting(self) -> int:
        """Spans in the queue."""
        return len(self._spans)

    def spans(self) -> dict[str, int]:
        """How many spans went out, by what became of them."""
        return {"sent": self.sent, "dropped": self.dropped}

    def calls(self) -> dict[str, int]:
        """How many calls were made, of both signals, by what became of them."""
        return {"taken": self.taken, "failed": self.failures}

    async def run_spans(self) -> None:
        """Send spans for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SPAN_SECONDS):
                    await self._full.wait()
            self._full.clear()
            await self.flush_spans()

    async def run_metrics(self) -> None:
        """Send metrics for ever."""
        intervals = Intervals(self._seconds)
        while True:
            await intervals.wait()
            await self.flush_metrics()

    async def flush_spans(self) -> None:
        """Send what waits, until that is nothing or the collector does not take it now."""
        async with self._sending:
            is_full = True
            while self._spans and is_full:
                batch = list(islice(self._spans, BATCH_SPANS))
                is_full = len(batch) == BATCH_SPANS  # else what comes during its call has its own time
                refused = await self._send(TRACES, batch)
                if refused is None:
                    return
                for _ in batch:
                    self._spans.popleft()
                self.dropped += refused
                self.sent += len(batch) - refused

    async def flush_metrics(self) -> None:
        """Send the metrics of now."""
        if self._metrics is not None:
            await self._send(METRICS, self._metrics())

    async def _send(self, signal: str, parts: list[bytes]) -> int | None:
        """Make one call. Return how many parts the collector refused for good, None if it may take them later."""
        body = otlp.request(self._resource, sidecar.__version__, parts)
        try:
            async with asyncio.timeout(POST_SECONDS):
                answer = await call(self._executor, self._post, signal, body)
        except TimeoutError as error:
            self._observe(signal, str(error) or f"no answer within {POST_SECONDS:.0f} s")
            return None
        except (OSError, urllib3.exceptions.HTTPError) as error:
            self._observe(signal, _reason(error))
            return None
        if answer.status >= 300:
            self._observe(signal, f"status {answer.status}")
            return None if answer.status in _LATER else len(parts)
        try:
            count, reason = otlp.rejected(answer.body)
        except ValueError:
            count, reason = 0, ""  # a success all the same, in words that are not OTLP's
        self._observe(signal, f"it left some out: {reason}" if count > 0 else "")
        return min(max(count, 0), len(parts))

    def _observe(self, signal: str, reason: str) -> None:
        """Note how a call ended: well without a reason."""
        if reason:
            self.failures += 1
        else:
            self.taken += 1
        if self._failing.get(signal, "") == reason:
            return
        self._failing[signal] = reason
        if reason:
            log.warning("the collector does not take %s: %s", signal, reason)
        else:
            log.info("the collector takes %s again", signal)

    async def close(self) -> None:
        """Send the rest."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await asyncio.gather(self.flush_spans(), self.flush_metrics())
        except TimeoutError:
            log.error("the collector did not take the last spans and metrics within %.0f s", FLUSH_SECONDS)


def poster(endpoint: str, headers: Mapping[str, str]) -> Post:
    """Return what calls the collector at this base address, each time with these headers."""
    http = urllib3.PoolManager(maxsize=2, timeout=POST_SECONDS, retries=False)
    fields = {
        "User-Agent": f"tramo-sidecar/{sidecar.__version__}",
        **headers,
        "Content-Type": "application/x-protobuf",
    }

    def post(signal: str, body: bytes) -> Answer:
        response = http.request("POST", f"{endpoint}/v1/{signal}", body=body, headers=fields, preload_content=False)
        found = response.read(MAX_ANSWER_BYTES)
        if len(found) < MAX_ANSWER_BYTES:
            response.release_conn()
        else:
            response.close()  # nobody needs the rest
        return Answer(response.status, found)

    return post


def _reason(error: Exception) -> str:
    """Return what is wrong, without the address of an object that urllib3's messages begin with."""
    return str(error).rpartition(": ")[2] or type(error).__name__
