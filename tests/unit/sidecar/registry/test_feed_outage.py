"""Hours without the API, without the feed and without both, in virtual time, with tasks that start meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from sidecar.aws_calls import CallError
from sidecar.core.snapshot import Snapshot
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import Answer
from sidecar.registry.feed import FeedChanges, FeedError, FeedHead
from sidecar.registry.poller import JITTER, MAX_BACKOFF_SECONDS, Poller
from sidecar.registry.sources import MAX_RETRY_SECONDS, Source, Sources
from tests.support.virtual_time import AtOnce, run

NAMESPACE: Final = "shop.local"
READ_SECONDS: Final = 1.0
POLL_SECONDS: Final = 5.0
HOUR: Final = 3_600.0
WINDOW: Final = 5
"""Revisions that the feed's changes reach back."""
FLEET: Final = 200


class Mesh:
    """A registry with feed, bucket and API. Revision n has the services 1 to n; each change adds one."""

    def __init__(self) -> None:
        self.revision = 1
        self.whole_revision = 1
        self.feed_away = self.api_away = False
        self.reads = self.news = self.wholes = self.calls = 0

    def publish(self) -> None:
        self.revision += 1
        if self.revision - WINDOW > self.whole_revision:
            self.whole_revision = self.revision

    def document(self, revision: int, since: int | None = None) -> bytes:
        services: list[dict[str, Any]] = [
            {"name": f"s{number}", "protocol": "http", "vip": "127.254.0.2", "revision": number}
            | {"aliases": [], "endpoints": []}
            for number in range((since or 0) + 1, revision + 1)
        ]
        found = {"schema": 1, "namespace": NAMESPACE, "epoch": "a1", "revision": revision, "services": services}
        return json.dumps(found if since is None else found | {"since": since, "removed": []}).encode()

    def head(self) -> FeedHead:
        self.reads += 1
        if self.feed_away:
            raise FeedError("away")
        since = max(1, self.revision - WINDOW)
        return FeedHead("a1", self.revision, since, READ_SECONDS, "bucket", self.whole_revision)

    def changes(self, consistent: bool) -> FeedChanges:
        self.news += 1
        since = max(1, self.revision - WINDOW)
        return FeedChanges("a1", self.revision, since, self.document(self.revision, since))

    def whole(self, head: FeedHead) -> bytes:
        self.wholes += 1
        assert head.whole is not None
        return self.document(head.whole)

    def fetch(self, etag: str, since: str | None) -> Answer:
        self.calls += 1
        if self.api_away:
            raise CallError("away")
        known = int(since.rpartition("-")[2]) if since else None
        body = None if known == self.revision else self.document(self.revision, known)
        return Answer(body, f'"a1-{self.revision}"', POLL_SECONDS)


class Sidecar:
    """What of a sidecar follows the registry."""

    def __init__(self, mesh: Mesh, seed: int) -> None:
        self.runtime = Runtime(asyncio.get_running_loop(), seed=seed)
        self.sources = Sources(mesh, mesh, self.runtime.now, lambda: 0.5)
        self.revisions: list[tuple[float, int]] = []
        self.poller = Poller(self.runtime, NAMESPACE, self.sources, None, self._apply, POLL_SECONDS, AtOnce())
        self.task = asyncio.ensure_future(self.poller.run())

    async def _apply(self, snapshot: Snapshot) -> None:
        assert sorted(snapshot.services) == sorted(f"s{number + 1}" for number in range(snapshot.revision))
        self.revisions.append((self.runtime.now(), snapshot.revision))

    @property
    def revision(self) -> int:
        return self.revisions[-1][1] if self.revisions else 0

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def live(test: Callable[[Mesh], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Mesh())

    run(main())


def test_an_hour_without_the_api_is_not_noticed_and_tasks_start() -> None:
    async def hour(mesh: Mesh) -> None:
        sidecar = Sidecar(mesh, seed=1)
        await asyncio.sleep(10)
        mesh.api_away = True
        for number in range(12):
            mesh.publish()
            await asyncio.sleep(READ_SECONDS * (1 + JITTER))
            assert sidecar.revision == mesh.revision
            started = Sidecar(mesh, seed=10 + number)
            await asyncio.sleep(HOUR / 12)
            assert started.revision == mesh.revision, "the whole document, then the changes"
            assert started.revisions[-1][0] - started.revisions[0][0] <= 1.0
            await started.stop()
        assert (sidecar.sources.state, sidecar.poller.failures, mesh.calls) == (Source.FEED, 0, 0)
        await sidecar.stop()

    live(hour)


def test_in_an_hour_without_the_feed_the_api_is_polled_and_tasks_start() -> None:
    async def hour(mesh: Mesh) -> None:
        sidecar = Sidecar(mesh, seed=1)
        await asyncio.sleep(10)
        mesh.feed_away = True
        await asyncio.sleep(10)
        assert sidecar.sources.state is Source.API
        for number in range(12):
            mesh.publish()
            await asyncio.sleep(POLL_SECONDS * (1 + JITTER))
            assert sidecar.revision == mesh.revision
            started = Sidecar(mesh, seed=10 + number)
            await asyncio.sleep(1)
            assert started.revision == mesh.revision
            await started.stop()
            await asyncio.sleep(HOUR / 12)
        mesh.feed_away = False
        await asyncio.sleep(MAX_RETRY_SECONDS + POLL_SECONDS * (1 + JITTER))
        assert (sidecar.sources.state, sidecar.sources.findings()) == (Source.FEED, [])
        await sidecar.stop()

    live(hour)


@pytest.mark.parametrize("first", ["feed_away", "api_away"])
def test_an_hour_without_both_is_lived_through_and_tasks_start_when_either_is_back(first: str) -> None:
    async def hour(mesh: Mesh) -> None:
        sidecar = Sidecar(mesh, seed=1)
        await asyncio.sleep(10)
        mesh.feed_away = mesh.api_away = True
        mesh.publish()
        await asyncio.sleep(HOUR / 2)
        started = Sidecar(mesh, seed=2)
        await asyncio.sleep(HOUR / 2)
        assert (sidecar.revision, sidecar.sources.state) == (1, Source.HELD)
        assert (started.revision, started.sources.state) == (0, Source.HELD)
        assert mesh.reads + mesh.calls < 4 * HOUR / (MAX_BACKOFF_SECONDS * (1 - JITTER)), "nobody is overwhelmed"
        setattr(mesh, first, False)
        await asyncio.sleep(MAX_BACKOFF_SECONDS * (1 + JITTER) + MAX_RETRY_SECONDS)
        assert (sidecar.revision, started.revision) == (mesh.revision, mesh.revision)
        await sidecar.stop()
        await started.stop()

    live(hour)


def test_readers_at_any_distance_behind_catch_up_by_the_feed_alone() -> None:
    async def catching_up(mesh: Mesh) -> None:
        mesh.api_away = True
        for distance in range(3 * WINDOW):
            sidecar = Sidecar(mesh, seed=distance)
            await asyncio.sleep(5)
            mesh.feed_away = True
            await asyncio.sleep(60)
            for _ in range(distance):
                mesh.publish()
            mesh.feed_away = False
            await asyncio.sleep(MAX_BACKOFF_SECONDS * (1 + JITTER) + MAX_RETRY_SECONDS)
            assert sidecar.revision == mesh.revision, distance
            await sidecar.stop()

    live(catching_up)


def test_a_fleet_reads_once_a_second_each_and_knows_a_change_in_one_interval() -> None:
    async def fleet(mesh: Mesh) -> None:
        chance = random.Random(1)  # noqa: S311 - repeatable
        sidecars = []
        for number in range(FLEET):
            sidecars.append(Sidecar(mesh, seed=number))
            await asyncio.sleep(READ_SECONDS / FLEET)
        await asyncio.sleep(3 * READ_SECONDS)
        assert mesh.wholes == FLEET
        mesh.reads = mesh.news = 0
        changes, span, began = 3, 6.0, asyncio.get_running_loop().time()
        published = []
        for at in sorted(chance.uniform(0, span - 2) for _ in range(changes)):
            await asyncio.sleep(max(0.0, began + at - asyncio.get_running_loop().time()))
            mesh.publish()
            published.append((asyncio.get_running_loop().time(), mesh.revision))
        await asyncio.sleep(began + span - asyncio.get_running_loop().time())
        assert mesh.reads == pytest.approx(FLEET * span / READ_SECONDS, rel=0.05)
        assert FLEET <= mesh.news <= FLEET * changes
        assert mesh.calls == 0
        for at, revision in published:
            known = [next(when for when, has in each.revisions if has >= revision) for each in sidecars]
            assert max(known) - at <= READ_SECONDS * (1 + JITTER)
        for each in sidecars:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in sidecars), return_exceptions=True)

    live(fleet)
