"""A fleet on the feed, in virtual time: how soon a change is known after its event, what is read, what that costs.

Rules:
- The pollers and their choice of the source are the sidecar's own; the feed is written by the real publisher to
  DynamoDB Local and read there by the sidecar's own client. What a copy says at one revision is read once.
- There is no bucket: the fleet starts by the API. It answers what the feed cannot, and each such call is counted.
- A change takes the time by the clock that the registrar's write, publication and feed took just now, and a wait of up
  to 0.25 s for Lambda's reader of the stream. EventBridge's own delivery is left out: it is not ours.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import os
import random
import time
from collections.abc import Iterator
from typing import Final

from infra.cost import Use, discovery_dollars
from registry.dynamodb.feed_store import FeedStore
from registry.dynamodb.store import open_store
from registry.feeding import Feeder
from registry.publishing import Changes, Publisher
from sidecar.core.snapshot import Snapshot
from sidecar.credentials import TaskCredentials
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.feed import COPIES, FeedChanges, FeedClient, FeedHead
from sidecar.registry.poller import Poller
from sidecar.registry.sources import Source, Sources
from tests.benchmarks.control import population
from tests.benchmarks.control.fleet import CHANGES, SERVICES, SIDECARS, Registry
from tests.benchmarks.control.lambda_context import Context
from tests.support import virtual_time
from tests.support.control_plane import aws
from tests.support.control_plane.gateway import Gateway

Row = tuple[str, str]
NAMESPACE: Final = "fleet.local"
READ_SECONDS: Final = (1.0, 2.0)
SPAN_SECONDS: Final = 20.0
STREAM_SECONDS: Final = 0.25
CHANGES_PER_HOUR: Final = 500
PATIENCE_SECONDS: Final = 60.0
"""For DynamoDB Local on a machine with other work to do; what took longer shows in the figures."""
UNIT_BYTES: Final = 4_096
MONTH_SECONDS: Final = 730 * 3_600.0
APPLY_SECONDS: Final = 0.001
"""Of a service that changed, until requests go by it (`applying`)."""


class Feed:
    """The feed's copies, each read once at each state; and what all readers together have read."""

    def __init__(self, clients: list[FeedClient]) -> None:
        self.clients = clients
        self.generation = 0
        self.units = 0.0
        self.news = 0
        self._heads: dict[tuple[int, int], FeedHead | None] = {}
        self._changes: dict[tuple[int, int], FeedChanges | None] = {}

    def head(self, copy: int) -> FeedHead | None:
        """What a copy's HEAD says now."""
        key = (copy, self.generation)
        if key not in self._heads:
            self._heads[key] = self.clients[copy].head()
        self.units += 0.5
        return self._heads[key]

    def changes(self, copy: int, consistent: bool) -> FeedChanges | None:
        """What a copy's CHANGES say now."""
        key = (copy, self.generation)
        if key not in self._changes:
            self._changes[key] = self.clients[copy].changes(consistent)
        self.news += 1
        self.units += news_units(self._changes[key], consistent)
        return self._changes[key]


def news_units(changes: FeedChanges | None, consistent: bool) -> float:
    """Return what reading these changes takes: half a unit for each 4 KB, twice that if consistent."""
    # The reader has the text alone, so it is compressed again as the functions do it.
    size = 0 if changes is None else stored_bytes(changes.body)
    return max(1, math.ceil(size / UNIT_BYTES)) * (1.0 if consistent else 0.5)


def stored_bytes(body: bytes) -> int:
    """Return the size of an item with these changes."""
    return len(gzip.compress(body, mtime=0)) + 128


class Copy:
    """One copy, as one sidecar reads it."""

    def __init__(self, feed: Feed, copy: int) -> None:
        self._feed = feed
        self._copy = copy

    def head(self) -> FeedHead | None:
        """See Feed.head."""
        return self._feed.head(self._copy)

    def changes(self, consistent: bool) -> FeedChanges | None:
        """See Feed.changes."""
        return self._feed.changes(self._copy, consistent)

    def whole(self, head: FeedHead) -> bytes:
        """A whole document, from the API: they are the same."""
        raise AssertionError("the fleet starts by the API")


class Sidecar:
    """A poller, and how long after its event it learnt of each revision."""

    def __init__(self, registry: Registry, feed: Feed, runtime: Runtime, number: int, delays: list[float]) -> None:
        self._registry = registry
        self._runtime = runtime
        self._delays = delays
        self._revision = 0
        self.sources = Sources(registry, Copy(feed, number % COPIES), runtime.now, lambda: 0.5)
        self.poller = Poller(
            runtime, NAMESPACE, self.sources, None, self._apply, 1.0, virtual_time.AtOnce(), registry.decode
        )

    async def _apply(self, snapshot: Snapshot) -> None:
        for revision in range(self._revision + 1, snapshot.revision + 1):
            happened = self._registry.published_at.get(revision)
            if happened is not None and self._revision:
                self._delays.append(self._runtime.now() - happened + APPLY_SECONDS)
        self._revision = snapshot.revision

    async def live(self, first_wait: float) -> None:
        """Start some time after the others, and read for ever."""
        await asyncio.sleep(first_wait)
        await self.poller.run()


def feeding(endpoint: str, table: str) -> Iterator[Row]:
    """Yield what a fleet on the feed reads and knows, and what that costs beside polling."""
    os.environ |= {"TRAMO_TABLE": table, "AWS_ENDPOINT_URL": endpoint}
    from api.app import app, handler

    store = open_store(table, aws.REGION, endpoint)
    store.tasks._table.connection._read_timeout_seconds = PATIENCE_SECONDS
    tasks = population.fill(store, SERVICES, SIDECARS, NAMESPACE)
    publisher = Publisher(store)
    registry = Registry(Gateway(handler, Context(), app.routes), publisher, store, tasks)
    registry.revision = publisher.publish(NAMESPACE, Changes()).revision
    feed_table = aws.create_feed(endpoint)
    credentials = TaskCredentials()
    clients = [FeedClient(feed_table, NAMESPACE, copy, aws.REGION, credentials, endpoint) for copy in range(COPIES)]
    feed = Feed(clients)
    for seconds in READ_SECONDS:
        copies = FeedStore(feed_table, aws.REGION, endpoint)
        copies._heads._get_connection().connection._read_timeout_seconds = PATIENCE_SECONDS
        feeder = Feeder(store, copies, None, int(seconds))
        yield virtual_time.run(_reading(registry, feed, feeder, seconds))


async def _reading(registry: Registry, feed: Feed, feeder: Feeder, seconds: float) -> Row:
    loop = asyncio.get_running_loop()
    chance = random.Random(1)  # noqa: S311 - repeatable
    feeder.bring_up(NAMESPACE)
    feed.generation += 1
    delays: list[float] = []
    runtime = Runtime(loop, seed=1)  # of all: each holds a timer wheel, which is large
    sidecars = [Sidecar(registry, feed, runtime, number, delays) for number in range(SIDECARS)]
    lives = [asyncio.ensure_future(each.live(chance.uniform(0, seconds))) for each in sidecars]
    await asyncio.sleep(3 * seconds)
    registry.requests, feed.units, feed.news = 0, 0.0, 0
    begin = loop.time()
    publishing = []
    for at in sorted(chance.uniform(0, SPAN_SECONDS) for _ in range(CHANGES)):
        await asyncio.sleep(max(0.0, begin + at - loop.time()))
        happened = loop.time()
        began = time.perf_counter()
        registry.change(happened)
        feeder.bring_up(NAMESPACE)
        publishing.append(time.perf_counter() - began)
        await asyncio.sleep(publishing[-1] + chance.uniform(0, STREAM_SECONDS))
        feed.generation += 1
    await asyncio.sleep(max(0.0, begin + SPAN_SECONDS - loop.time()))
    span = loop.time() - begin
    units, news, asked = feed.units, feed.news, registry.requests
    await asyncio.sleep(3 * seconds)
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    assert all(each.sources.state is Source.FEED for each in sidecars)
    assert len(delays) == SIDECARS * CHANGES, "every sidecar learnt of every change"
    delays.sort()
    middle, late, last = (delays[int(len(delays) * share) - 1] for share in (0.5, 0.99, 1.0))
    each_second = units / span
    of_news = (units - SIDECARS * span / seconds * 0.5) / max(news, 1)
    dollars, on_demand, polling = (
        discovery_dollars(Use(SIDECARS, 5.0, CHANGES_PER_HOUR, feed=kind, read_seconds=seconds)) / SIDECARS
        for kind in ("provisioned", "on-demand", "off")
    )
    milliseconds = sorted(publishing)[len(publishing) // 2] * 1e3
    return (
        f"{SIDECARS:,} sidecars of {SERVICES} services, reading the feed every {seconds:.0f} s, {CHANGES} changes",
        f"from event to routed request {middle:.2f} s (p50), {late:.2f} s (p99), {last:.2f} s (last of all), "
        f"{milliseconds:.0f} ms of them to write and publish; {each_second:,.0f} RRU a second, "
        f"{each_second * MONTH_SECONDS / 1e9:.1f} G a month, {of_news:.1f} for news; {asked} calls of the API; with "
        f"{CHANGES_PER_HOUR} changes an hour {dollars:.3f} dollars a sidecar and month provisioned, {on_demand:.3f} on "
        f"demand, {polling:.2f} polling every 5 s",
    )
