"""Polling: what is asked, when again, and what is done with the answers."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.snapshot import Snapshot
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.cache import SnapshotCache
from sidecar.registry.client import Answer, CallError, NamespaceUnknownError
from sidecar.registry.poller import FIRST_WAIT_SECONDS, JITTER, MAX_BACKOFF_SECONDS, Poller

Step = Answer | Exception


def document(revision: int, *names: str, **more: Any) -> bytes:
    services = [
        {
            "name": name,
            "protocol": "http",
            "vip": f"127.254.0.{number}",
            "revision": revision,
            "aliases": [],
            "endpoints": [],
        }
        for number, name in enumerate(names, 2)
    ]
    return json.dumps(
        {"schema": 1, "namespace": "shop.local", "revision": revision, "services": services} | more
    ).encode()


def answer(revision: int, *names: str, poll: float | None = None, **more: Any) -> Answer:
    return Answer(document(revision, *names, **more), f'"{revision}"', poll)


class FakeFetcher:
    """Answers as written down, and keeps what it was asked."""

    def __init__(self, *steps: Step) -> None:
        self.steps = deque(steps)
        self.asked: list[tuple[str, str | None]] = []
        self.when_empty: Callable[[], object] = lambda: None  # called on the thread that fetches

    def fetch(self, etag: str, since: str | None) -> Answer:
        self.asked.append((etag, since))
        step = self.steps.popleft()
        if not self.steps:
            self.when_empty()
        if isinstance(step, Exception):
            raise step
        return step


class Case:
    """A poller with its surroundings."""

    def __init__(self, *steps: Step, cache: SnapshotCache | None = None, poll_seconds: float = 5.0) -> None:
        self.fetcher = FakeFetcher(*steps)
        self.applied: list[Snapshot] = []
        self.behind: list[bool] = []  # at each of them
        self.failing = False
        runtime = Runtime(asyncio.get_running_loop(), seed=7)
        self.poller = Poller(runtime, "shop.local", self.fetcher, cache, self.apply, poll_seconds)

    async def apply(self, snapshot: Snapshot) -> None:
        if self.failing:
            raise ZeroDivisionError
        self.applied.append(snapshot)
        self.behind.append(self.poller.is_behind)

    async def poll(self, times: int = 1) -> None:
        for _ in range(times):
            await self.poller.poll()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine on a loop of its own; `Case` closes with it."""

    async def main() -> None:
        await test()

    asyncio.run(main())


def test_the_first_request_is_whole_and_the_next_ones_conditional() -> None:
    async def test() -> None:
        case = Case(answer(41, "orders"), Answer(None, '"41"', None), answer(42, "stock", since=41, removed=[]))
        await case.poll(3)
        assert case.fetcher.asked == [("", None), ('"41"', "41"), ('"41"', "41")]
        assert [snapshot.revision for snapshot in case.applied] == [41, 42]
        assert set(case.applied[-1].services) == {"orders", "stock"}
        assert (case.poller.source, case.poller.failures) == ("api", 0)

    run(test)


def test_the_last_change_says_what_it_cost() -> None:
    async def test() -> None:
        case = Case(answer(41, "orders"), Answer(None, '"41"', None), answer(42, "stock", since=41, removed=[]))
        await case.poll(2)
        assert case.poller.last_change is not None
        assert case.poller.last_change[:2] == (41, len(document(41, "orders")))
        await case.poll()
        change = case.poller.last_change
        assert change[:2] == (42, len(document(42, "stock", since=41, removed=[])))
        assert change.decode_seconds >= 0.0 <= change.apply_seconds

    run(test)


def test_an_older_revision_is_refused() -> None:
    async def test() -> None:
        case = Case(answer(42, "orders"), answer(41), answer(43, "orders"))
        await case.poll(2)
        assert case.poller.failures == 1
        assert case.poller.snapshot is not None
        assert case.poller.snapshot.revision == 42
        await case.poll()
        assert (case.poller.snapshot.revision, case.poller.failures) == (43, 0)

    run(test)


def test_the_snapshot_of_a_restored_registry_is_taken_whole_and_followed_from_there() -> None:
    async def test() -> None:
        restored = Answer(document(3, "stock", epoch="b2"), '"b2-3"', None)
        delta = Answer(document(4, "ledger", epoch="b2", since=3, removed=["stock"]), '"b2-4"', None)
        case = Case(Answer(document(42, "orders", epoch="a1"), '"a1-42"', None), restored, delta)
        await case.poll(3)
        assert case.poller.failures == 0
        assert [list(each.services) for each in case.applied] == [["orders"], ["stock"], ["ledger"]]
        assert case.fetcher.asked == [("", None), ('"a1-42"', "a1-42"), ('"b2-3"', "b2-3")]

    run(test)


@pytest.mark.parametrize(
    "bad", [answer(44, since=43, removed=[]), Answer(b"{", "x", None), Answer(document(43, schema=9), '"43"', None)]
)
def test_after_a_document_that_does_not_fit_a_whole_one_is_asked_for(bad: Answer) -> None:
    async def test() -> None:
        case = Case(answer(42, "orders"), bad, answer(43, "orders"))
        await case.poll(3)
        assert case.fetcher.asked == [("", None), ('"42"', "42"), ("", None)]
        assert case.poller.failures == 0

    run(test)


def test_a_failing_api_changes_nothing() -> None:
    async def test() -> None:
        case = Case(answer(42, "orders"), *[CallError("away")] * 5, Answer(None, '"42"', None))
        await case.poll(6)
        assert case.poller.failures == 5
        assert [snapshot.revision for snapshot in case.applied] == [42]
        assert case.fetcher.asked[-1] == ('"42"', "42"), "what was known is still known"
        await case.poll()
        assert case.poller.failures == 0

    run(test)


def test_failures_are_logged_once_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        case = Case(*[CallError("away")] * 3, answer(1))
        await case.poll(4)

    with caplog.at_level("INFO"):
        run(test)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "3 failed polls" in caplog.text


def test_whatever_goes_wrong_polling_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        case = Case(answer(42, "orders"), answer(42, "orders"), answer(43, "orders"))
        case.failing = True
        await case.poll()
        assert (case.poller.failures, case.poller.snapshot) == (1, None)
        case.failing = False
        await case.poll()
        assert case.fetcher.asked[-1] == ("", None)
        assert case.poller.failures == 0
        case.fetcher.steps.appendleft(KeyError("surprise"))
        await case.poll()
        assert case.poller.failures == 1
        await case.poll()
        assert case.poller.failures == 0

    run(test)
    assert "a fault of the sidecar" in caplog.text


def test_a_namespace_that_is_not_known_yet_is_empty() -> None:
    async def test() -> None:
        case = Case(
            NamespaceUnknownError("?"), NamespaceUnknownError("?"), answer(1, "orders"), NamespaceUnknownError("?")
        )
        await case.poll(2)
        assert [snapshot.revision for snapshot in case.applied] == [0]
        await case.poll()
        assert set(case.applied[-1].services) == {"orders"}
        await case.poll()
        assert case.poller.failures == 1, "once it was known, that is a fault"
        assert case.applied[-1].revision == 1

    run(test)


# Waits.


def bounds(seconds: float) -> tuple[float, float]:
    return seconds * (1.0 - JITTER), seconds * (1.0 + JITTER)


def test_waits_are_spread_around_the_interval() -> None:
    async def test() -> None:
        case = Case(answer(1, poll=None))
        await case.poll()
        waits = [case.poller.wait_seconds() for _ in range(500)]
        low, high = bounds(5.0)
        assert low <= min(waits) < low + 0.2
        assert high - 0.2 < max(waits) <= high

    run(test)


def test_the_first_snapshot_is_asked_for_faster() -> None:
    async def test() -> None:
        case = Case()
        low, high = bounds(FIRST_WAIT_SECONDS)
        assert low <= case.poller.wait_seconds() <= high

    run(test)


@pytest.mark.parametrize("then", [answer(2, "orders", "stock"), CallError("the API is away")])
def test_a_snapshot_that_is_known_to_be_old_is_behind_until_the_next_answer_or_failure(then: Step) -> None:
    async def test() -> None:
        case = Case(replace(answer(1, "orders"), more=True), then)
        await case.poller.poll()
        assert case.behind == [True], "from the moment in which it is routed by"
        assert case.poller.is_behind
        await case.poller.poll()
        assert not case.poller.is_behind

    run(test)


def test_who_has_had_the_newest_is_not_behind_when_more_comes() -> None:
    async def test() -> None:
        case = Case(answer(1, "orders"), replace(answer(2, "stock"), more=True))
        await case.poll(2)
        assert case.behind == [False, False]
        assert case.poller.wait_seconds() <= bounds(FIRST_WAIT_SECONDS)[1], "and asks on at once"

    run(test)


def test_the_server_names_the_interval() -> None:
    async def test() -> None:
        case = Case(answer(1, poll=60.0), Answer(None, '"1"', 2.0), Answer(None, '"1"', None))
        await case.poll()
        assert bounds(60.0)[0] <= case.poller.wait_seconds() <= bounds(60.0)[1]
        await case.poll(2)
        assert bounds(2.0)[0] <= case.poller.wait_seconds() <= bounds(2.0)[1]

    run(test)


@pytest.mark.parametrize("interval", [5.0, 120.0])
def test_failures_double_the_wait_up_to_a_bound(interval: float) -> None:
    async def test() -> None:
        case = Case(answer(1, poll=interval), *[CallError("away")] * 40)
        await case.poll()
        most = max(MAX_BACKOFF_SECONDS, interval)
        for count in range(40):
            await case.poll()
            low, high = bounds(min(interval * 2.0**count, most))
            assert low <= case.poller.wait_seconds() <= high

    run(test)


# The disk.


def test_the_disk_comes_first(tmp_path: Path) -> None:
    async def test() -> None:
        cache = SnapshotCache(str(tmp_path / "snapshot.json"))
        first = Case(answer(42, "orders"), cache=cache)
        await first.poller.load()
        assert (first.poller.source, first.applied) == ("none", [])
        await first.poll()

        second = Case(CallError("away"), answer(43, "orders"), cache=cache)
        await second.poller.load()
        assert (second.poller.source, second.poller.confirmed_at) == ("disk", 0.0)
        assert [snapshot.revision for snapshot in second.applied] == [42]
        await second.poll()
        assert second.poller.source == "disk"
        await second.poll()
        assert (second.poller.source, second.fetcher.asked) == ("api", [('"42"', "42")] * 2)
        assert second.poller.confirmed_at > 0.0
        loaded = cache.load("shop.local")
        assert loaded is not None
        assert loaded.revision == 43

    run(test)


def test_running_polls_until_it_is_cancelled() -> None:
    async def test() -> None:
        case = Case(answer(1, poll=0.1), *[Answer(None, '"1"', None)] * 3)
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        case.fetcher.when_empty = lambda: loop.call_soon_threadsafe(done.set)
        task = asyncio.ensure_future(case.poller.run())
        async with asyncio.timeout(5):
            await done.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(test)
