"""Keeps the mesh's snapshot fresh.

Rules:
- Disk first, then the registry, feed or API (`sources.py`), then again for ever. Whatever fails, the last good
  snapshot stays: the control plane may be away for a week.
- The server names the interval; each wait is spread by `JITTER`, or a fleet that started together would ask together.
- After a failure the wait doubles up to `MAX_BACKOFF_SECONDS`. The first snapshot is asked for faster.
- A document that does not fit (a delta for another revision, a schema not known) makes the next request a full one.
- A namespace that the API does not know yet is empty: its first tasks wait for their sidecars to be ready, and are
  registered only then. Once there was a snapshot, the same answer is a fault and changes nothing.
- An older revision than the one at hand is a fault of the API and refused, unless it is of another epoch.
- Waiting, decoding and writing are done on a thread: the loop only takes over what came out. An answer that is not
  whole in time is a failed one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Final, NamedTuple, Protocol

from sidecar.blocking import CALL_SECONDS, DaemonThreads, call
from sidecar.core.snapshot import Document, Snapshot, SnapshotError, apply, decode
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.cache import SnapshotCache
from sidecar.registry.client import Answer, CallError, NamespaceUnknownError

JITTER: Final = 0.2
FIRST_WAIT_SECONDS: Final = 0.25
MAX_BACKOFF_SECONDS: Final = 30.0

log = logging.getLogger("tramo.registry")

Apply = Callable[[Snapshot], Awaitable[object]]
Decode = Callable[[bytes, str], Document]


class Fetcher(Protocol):
    """What the poller needs of the registry."""

    def fetch(self, etag: str, since: str | None) -> Answer:
        """See Sources.fetch."""


class Change(NamedTuple):
    """The last document: its revision and bytes, and the seconds for decoding it and for taking it over."""

    revision: int
    bytes: int
    decode_seconds: float
    apply_seconds: float


class Poller:
    """Reads snapshots and hands them to the mesh."""

    def __init__(
        self,
        runtime: Runtime,
        namespace: str,
        client: Fetcher,
        cache: SnapshotCache | None,
        apply_snapshot: Apply,
        poll_seconds: float,
        executor: Executor | None = None,
        decode: Decode = decode,
        asked: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.snapshot: Snapshot | None = None
        self.source = "none"  # of the snapshot: none, disk, feed or api
        self.confirmed_at = 0.0  # when the registry last said that the snapshot is the newest
        self.failures = 0  # in a row
        self.last_change: Change | None = None
        self._runtime = runtime
        self._namespace = namespace
        self._client = client
        self._cache = cache
        self._apply = apply_snapshot
        self._poll_seconds = poll_seconds
        self._etag = ""
        self._more = False  # the registry has a newer document than it gave
        self._began_behind = False  # and so it was with all documents so far
        self._executor = executor or DaemonThreads("registry")
        self._decode = decode
        self._asked = asked

    async def load(self) -> None:
        """Start from the disk, if it holds a snapshot."""
        snapshot = self._cache.load(self._namespace) if self._cache is not None else None
        if snapshot is not None:
            await self._apply(snapshot)
            self.snapshot = snapshot
            self.source = "disk"
            self._etag = f'"{snapshot.version}"'

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            await self.poll()
            await asyncio.sleep(self.wait_seconds())

    @property
    def longest_interval(self) -> float:
        """The longest time between two readings of a sidecar that reads as this one does, while nothing fails."""
        return self._poll_seconds * (1.0 + JITTER)

    @property
    def is_behind(self) -> bool:
        """Whether all there ever was is a document that the registry called old; the next request follows at once.

        A sidecar that has had a newer one is not behind any more, though it may be told again that there is more: what
        it routes by was good until now.
        """
        return self._began_behind

    def wait_seconds(self) -> float:
        """Return how long to wait before the next request."""
        wait = self._poll_seconds
        if self.snapshot is None or self._more:
            wait = min(wait, FIRST_WAIT_SECONDS)
        if self.failures:
            wait = min(wait * 2.0 ** min(self.failures - 1, 10), max(MAX_BACKOFF_SECONDS, self._poll_seconds))
        spread = self._runtime.random(16) / 65536.0 * 2.0 - 1.0
        return wait * (1.0 + JITTER * spread)

    async def poll(self) -> None:
        """Ask once and apply what came."""
        since = self.snapshot.version if self.snapshot is not None and self._etag else None
        try:
            await self._take(*await self._answer(since))
        except (CallError, SnapshotError) as error:
            self._more = self._began_behind = False
            if isinstance(error, NamespaceUnknownError) and (self.snapshot is None or self.snapshot.revision == 0):
                await self._take_empty()
                return
            if isinstance(error, SnapshotError):
                self._etag = ""  # ask for a whole document next time
            self.failures += 1
            if self.failures == 1:
                log.warning("no fresh snapshot, routing goes on with the last one: %s", error)
            return
        except Exception:
            # Whatever it is: a poller that ended would leave the task with what it knows now for ever.
            self._etag = ""
            self._more = self._began_behind = False
            self.failures += 1
            log.exception("a poll failed; this is a fault of the sidecar")
            return
        if self.failures:
            log.info("the registry answers again after %d failed polls", self.failures)
        self.failures = 0

    async def _take_empty(self) -> None:
        if self.snapshot is None:
            log.info("the namespace has no tasks yet", extra={"namespace": self._namespace})
            snapshot = Snapshot(self._namespace, 0, {})
            await self._apply(snapshot)
            self.snapshot = snapshot
        self.failures = 0
        self.source = "api"
        self.confirmed_at = self._runtime.now()

    async def _answer(self, since: str | None) -> tuple[Answer, Document | None, float]:
        try:
            return await call(self._executor, self._ask, self._etag, since)
        except TimeoutError as error:
            raise CallError(f"the API gave no whole answer in {CALL_SECONDS:.0f} s {error}".rstrip()) from error

    def _ask(self, etag: str, since: str | None) -> tuple[Answer, Document | None, float]:
        answer = self._client.fetch(etag, since)
        if answer.body is None:
            return answer, None, 0.0
        begin = self._runtime.now()
        document = self._decode(answer.body, self._namespace)
        return answer, document, self._runtime.now() - begin

    async def _take(self, answer: Answer, document: Document | None, decode_seconds: float) -> None:
        self._asked(answer.questions)
        if answer.poll_seconds is not None:
            self._poll_seconds = answer.poll_seconds
        self._more = answer.more
        # Before it is applied: what is old already makes no task ready.
        self._began_behind = answer.more and (self._began_behind or self.snapshot is None)
        if document is not None and answer.body is not None:
            begin = self._runtime.now()
            snapshot = apply(self.snapshot, document)
            await self._apply(snapshot)
            self.snapshot = snapshot
            self.last_change = Change(snapshot.revision, len(answer.body), decode_seconds, self._runtime.now() - begin)
            self._etag = answer.etag
            if self._cache is not None:
                # Of a body that cannot be read whole a restart would know less than what is routed by now.
                body = b"" if document.unreadable else answer.body
                await call(self._executor, self._cache.store, snapshot, body, document.since)
        self.source = answer.source
        self.confirmed_at = self._runtime.now()
