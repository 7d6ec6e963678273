"""A fleet of sidecars in virtual time: how often the registry is asked, how much it sends, how soon all of them know.

Rules:
- The pollers are the sidecar's own, each with its own jitter. Only waiting is skipped: the clock jumps.
- The answers are the real API's, from a table with a namespace as large as the fleet. One question asked at one
  revision has one answer, so each is asked once and remembered; so is its decoding.
- While the fleet polls, tasks change, and each change is published by the real publisher.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from registry.domain.rules import TaskRecord
from registry.dynamodb.store import open_store
from registry.publishing import Changes, Publisher
from sidecar.core.snapshot import Document, Snapshot, decode
from sidecar.credentials import TaskCredentials
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.client import Answer, RegistryClient
from sidecar.registry.poller import Poller
from tests.benchmarks.control import population
from tests.benchmarks.control.lambda_context import Context
from tests.support import virtual_time
from tests.support.control_plane import aws
from tests.support.control_plane.gateway import Gateway

Row = tuple[str, str]
NAMESPACE: Final = "fleet.local"
SIDECARS: Final = 10_000
SERVICES: Final = 100
CHANGES: Final = 10
ROUNDS: Final = 6
"""Intervals of polling that are looked at; as many as make a quantile of the delays steady to some per cent."""
INTERVALS: Final = (5.0, 10.0, 30.0)
HEAD_BYTES: Final = 450
"""Status and fields that API Gateway adds to an answer: date, request ids, content type and length, trace id."""


@dataclass(slots=True)
class Registry:
    """The API before one namespace, and what was asked of it."""

    gateway: Gateway
    publisher: Publisher
    store: Any
    tasks: Sequence[TaskRecord]
    changes: int = 0
    published_at: dict[int, float] = field(default_factory=dict)
    requests: int = 0
    sent_bytes: int = 0
    changed: int = 0
    news_bytes: int = 0
    revision: int = 0
    _answers: dict[tuple[int, str, str | None], tuple[Answer, int]] = field(default_factory=dict)
    _documents: dict[int, Document] = field(default_factory=dict)

    def fetch(self, etag: str, since: str | None) -> Answer:
        """Answer as the API does to anybody who asks this now."""
        key = (self.revision, etag, since)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = self._ask(etag, since)
        answer, sent = found
        self.requests += 1
        self.sent_bytes += sent
        if answer.body is not None:
            self.changed += 1
            self.news_bytes += sent
        return answer

    def _ask(self, etag: str, since: str | None) -> tuple[Answer, int]:
        url = f"/v1/namespaces/{NAMESPACE}/snapshot" + ("" if since is None else f"?since={since}")
        headers = {"Accept-Encoding": "gzip"} | ({"If-None-Match": etag} if etag else {})
        found = self.gateway.call("GET", url, headers=headers)
        assert found.status_code in (200, 304), found.body
        body = found.body if found.status_code == 200 else None
        sent = HEAD_BYTES + (0 if body is None else len(gzip.compress(body, 6)))
        return Answer(body, found.headers["etag"], None), sent

    def decode(self, body: bytes, namespace: str) -> Document:
        """Decode each document once: the answers are remembered, so equal ones are the same object."""
        document = self._documents.get(id(body))
        if document is None:
            document = self._documents[id(body)] = decode(body, namespace)
        return document

    def change(self, now: float) -> None:
        """Give a task another address and publish that."""
        self.changes += 1
        each = self.tasks[self.changes * 97 % SIDECARS]
        address = f"10.77.{self.changes // 250}.{self.changes % 250}"
        self.store.tasks.apply(dataclasses.replace(each, version=each.version + self.changes, address=address))
        self.revision = self.publisher.publish(NAMESPACE, Changes(frozenset({each.task_id}))).revision
        self.published_at[self.revision] = now


class Sidecar:
    """A poller, and when it learnt of each revision."""

    def __init__(self, registry: Registry, runtime: Runtime, poll_seconds: float, delays: list[float]) -> None:
        self._registry = registry
        self._runtime = runtime
        self._delays = delays
        self._revision = 0
        self.poller = Poller(
            runtime, NAMESPACE, registry, None, self._apply, poll_seconds, virtual_time.AtOnce(), registry.decode
        )

    async def _apply(self, snapshot: Snapshot) -> None:
        for revision in range(self._revision + 1, snapshot.revision + 1):
            published = self._registry.published_at.get(revision)
            if published is not None and self._revision:
                self._delays.append(self._runtime.now() - published)
        self._revision = snapshot.revision

    async def live(self, first_wait: float) -> None:
        """Start some time after the others, and poll for ever."""
        await asyncio.sleep(first_wait)
        await self.poller.run()


def fleet(endpoint: str, table: str) -> Iterator[Row]:
    """Yield what a fleet asks, gets and knows, for several intervals of polling."""
    os.environ |= {"TRAMO_TABLE": table, "AWS_ENDPOINT_URL": endpoint}
    from api.app import app, handler

    store = open_store(table, aws.REGION, endpoint)
    tasks = population.fill(store, SERVICES, SIDECARS, NAMESPACE)
    publisher = Publisher(store)
    registry = Registry(Gateway(handler, Context(), app.routes), publisher, store, tasks)
    registry.revision = publisher.publish(NAMESPACE, Changes()).revision
    yield "a sidecar's request", f"{request_bytes()} bytes, signature and all"
    for seconds in INTERVALS:
        yield virtual_time.run(_polling(registry, seconds))


async def _polling(registry: Registry, seconds: float) -> Row:
    loop = asyncio.get_running_loop()
    chance = random.Random(1)  # noqa: S311 - repeatable
    delays: list[float] = []
    sidecars = [Sidecar(registry, Runtime(loop, seed=number), seconds, delays) for number in range(SIDECARS)]
    lives = [asyncio.ensure_future(each.live(chance.uniform(0, seconds))) for each in sidecars]
    await asyncio.sleep(2 * seconds)
    registry.requests = registry.sent_bytes = registry.changed = registry.news_bytes = 0
    begin = loop.time()
    span = ROUNDS * seconds
    for at in sorted(chance.uniform(0, span) for _ in range(CHANGES)):
        await asyncio.sleep(begin + at - loop.time())
        registry.change(loop.time())
    await asyncio.sleep(begin + span - loop.time())
    requests, sent, changed, news = registry.requests, registry.sent_bytes, registry.changed, registry.news_bytes
    await asyncio.sleep(2 * seconds)
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    delays.sort()
    assert len(delays) == SIDECARS * CHANGES, "every sidecar learnt of every change"
    middle, late, last = (delays[int(len(delays) * share) - 1] for share in (0.5, 0.99, 1.0))
    return (
        f"{SIDECARS:,} sidecars of {SERVICES} services, polling every {seconds:.0f} s, {CHANGES} changes",
        f"{requests / span:,.0f} requests a second, {sent / span / 1e6:.2f} MB a second; {changed / requests:.0%} of "
        f"the answers have news, {news / changed / 1e3:.1f} kB each, the others {HEAD_BYTES} bytes; a change is known "
        f"after {middle:.1f} s (p50), {late:.1f} s (p99), {last:.1f} s (last of all)",
    )


def request_bytes() -> int:
    """Return the size of a poll as the sidecar signs it."""
    credentials = TaskCredentials(lambda: Credentials("AKIAIOSFODNN7EXAMPLE", "secret", "t" * 900))
    client = RegistryClient(
        "https://abcdefghij.execute-api.us-east-1.amazonaws.com/live", NAMESPACE, "us-east-1", credentials
    )
    url = f"{client._url}/snapshot?since=123456"
    extra = {"accept": "application/json", "accept-encoding": "gzip", "if-none-match": '"123456"'}
    request = AWSRequest("GET", url, headers=client._caller._sign("GET", url, extra, b"")).prepare()
    fields = sum(len(name) + len(value) + 4 for name, value in request.headers.items())
    return len(f"GET {url} HTTP/1.1") + fields + len("host: abcdefghij.execute-api.us-east-1.amazonaws.com\r\n\r\n")
