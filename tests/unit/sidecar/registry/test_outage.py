"""A week without the control plane, in virtual time: the poller, the cache, the cluster's last resort and the gauge."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.blocking import CALL_SECONDS
from sidecar.core.meters import Meters
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import DEFAULT
from sidecar.core.snapshot import Snapshot
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.cache import SnapshotCache
from sidecar.registry.client import Answer, CallError
from sidecar.registry.poller import JITTER, MAX_BACKOFF_SECONDS, Poller
from sidecar.telemetry.vitals import Vitals
from tests.support.virtual_time import AtOnce, run

NAMESPACE: Final = "shop.local"
POLL_SECONDS: Final = 5.0
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
WEEK: Final = 7 * DAY


def document(revision: int, *endpoints: str, since: int | None = None) -> bytes:
    service = {
        "name": "orders",
        "protocol": "http",
        "vip": "127.254.0.2",
        "revision": revision,
        "aliases": [{"dns_name": "orders", "port": 80}],
        "endpoints": [
            {"id": f"{address}/http", "address": address, "port": 15100, "state": "ready"} for address in endpoints
        ],
    }
    found = {"schema": 1, "namespace": NAMESPACE, "revision": revision, "services": [service]}
    return json.dumps(found if since is None else found | {"since": since, "removed": []}).encode()


class Api:
    """The control plane: there or away, asked by everyone, with a count of the requests of each second."""

    def __init__(self, runtime_now: Any) -> None:
        self.away = False
        self.revision = 1
        self.bodies: list[bytes] = [document(1, "10.0.0.1")]
        self.asked: list[float] = []
        self._now = runtime_now

    def fetch(self, etag: str, since: str | None) -> Answer:
        self.asked.append(self._now())
        if self.away:
            raise CallError("away")
        if etag == f'"{self.revision}"':
            return Answer(None, etag, POLL_SECONDS)
        return Answer(self.bodies[-1], f'"{self.revision}"', POLL_SECONDS)

    def publish(self, *endpoints: str) -> None:
        self.revision += 1
        self.bodies.append(document(self.revision, *endpoints))

    def between(self, begin: float, end: float) -> list[float]:
        return [at for at in self.asked if begin <= at < end]


class Sidecar:
    """What of a sidecar lives on during an outage."""

    def __init__(
        self, api: Api, seed: int, cache: SnapshotCache | None = None, executor: Executor | None = None
    ) -> None:
        self.runtime = Runtime(asyncio.get_running_loop(), seed=seed)
        self.cluster = Cluster("orders", "http", DEFAULT)
        self.poller = Poller(self.runtime, NAMESPACE, api, cache, self.apply, POLL_SECONDS, executor or AtOnce())
        self.meters = Meters("", "")
        self.vitals = Vitals(self.meters, {}, self.poller, self.runtime, list)
        self.task: asyncio.Task[None] | None = None

    async def apply(self, snapshot: Snapshot) -> None:
        for record in snapshot.services.values():
            self.cluster.update(record.protocol, DEFAULT, record.endpoints, "", self.runtime.now())

    async def start(self) -> None:
        await self.poller.load()
        self.task = asyncio.ensure_future(self.poller.run())

    def routes_to(self) -> str | None:
        endpoint = self.cluster.pick(self.runtime.now(), 0, [])
        return None if endpoint is None else endpoint.address

    def age(self) -> float:
        self.vitals.refresh()
        return self.meters.sidecar.snapshot_age

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class SometimesForEver(AtOnce):
    """Some calls never end."""

    calls_that_hang = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self.calls_that_hang:
            return super().submit(fn, *args, **kwargs)
        self.calls_that_hang -= 1
        return Future()


def test_a_week_without_the_api() -> None:
    async def week() -> None:
        loop = asyncio.get_running_loop()
        api = Api(loop.time)
        sidecar = Sidecar(api, seed=1)
        await sidecar.start()
        await asyncio.sleep(HOUR)
        assert sidecar.routes_to() == "10.0.0.1"
        assert sidecar.age() <= POLL_SECONDS * (1 + JITTER)
        api.away = True
        began = loop.time()
        for _ in range(7):
            await asyncio.sleep(DAY)
            assert sidecar.routes_to() == "10.0.0.1", "it goes on with what it knows"
            assert loop.time() - began <= sidecar.age() <= loop.time() - began + POLL_SECONDS * (1 + JITTER)
        assert sidecar.poller.failures == len(api.between(began, loop.time()))
        asked = api.between(began + HOUR, loop.time())
        pauses = [after - before for before, after in itertools.pairwise(asked)]
        assert max(pauses) <= MAX_BACKOFF_SECONDS * (1 + JITTER), "the API's return is noticed soon after a week"
        assert min(pauses) >= MAX_BACKOFF_SECONDS * (1 - JITTER), "nobody is overwhelmed by those who wait"
        api.away = False
        api.publish("10.0.0.2")
        await asyncio.sleep(MAX_BACKOFF_SECONDS * (1 + JITTER))
        assert sidecar.routes_to() == "10.0.0.2"
        assert sidecar.poller.failures == 0
        assert sidecar.age() <= MAX_BACKOFF_SECONDS
        await sidecar.stop()

    run(week())


def test_a_fleet_comes_back_spread_over_time() -> None:
    """Sidecars that lost the API in the same second do not find it again in the same second."""
    fleet = 300

    async def outage() -> None:
        loop = asyncio.get_running_loop()
        api = Api(loop.time)
        sidecars = [Sidecar(api, seed) for seed in range(fleet)]
        for sidecar in sidecars:
            await sidecar.start()
        await asyncio.sleep(MINUTE)
        api.away = True
        await asyncio.sleep(HOUR)
        api.away = False
        api.publish("10.0.0.2")
        back = loop.time()
        window = MAX_BACKOFF_SECONDS * (1 + JITTER)
        await asyncio.sleep(window)
        assert {sidecar.routes_to() for sidecar in sidecars} == {"10.0.0.2"}
        first = Counter(int(at - back) for at in api.between(back, back + window))
        # Evenly spread these would be ten a second, and the first to come back polls again meanwhile.
        assert max(first.values()) <= fleet / 3, "a third of the fleet at most in any one second"
        for sidecar in sidecars:
            await sidecar.stop()

    run(outage())


def test_a_fleet_that_starts_at_once_is_spread_soon() -> None:
    fleet = 300

    async def start() -> None:
        loop = asyncio.get_running_loop()
        api = Api(loop.time)
        sidecars = [Sidecar(api, seed) for seed in range(fleet)]
        for sidecar in sidecars:
            await sidecar.start()
        await asyncio.sleep(10 * MINUTE)
        later = Counter(int(at) for at in api.between(9 * MINUTE, 10 * MINUTE))
        even = fleet / POLL_SECONDS
        assert max(later.values()) <= 2 * even
        for sidecar in sidecars:
            await sidecar.stop()

    run(start())


def test_a_sidecar_that_starts_in_the_week_serves_from_the_disk(tmp_path: Path) -> None:
    async def week() -> None:
        loop = asyncio.get_running_loop()
        api = Api(loop.time)
        cache = SnapshotCache(str(tmp_path / "snapshot.json"))
        first = Sidecar(api, 1, cache)
        await first.start()
        await asyncio.sleep(MINUTE)
        await first.stop()
        api.away = True
        second = Sidecar(api, 2, SnapshotCache(str(tmp_path / "snapshot.json")))
        started = loop.time()
        await second.start()
        assert second.routes_to() == "10.0.0.1"
        await asyncio.sleep(WEEK)
        assert (second.routes_to(), second.poller.source) == ("10.0.0.1", "disk")
        assert second.age() == pytest.approx(loop.time() - started), "since its start: nobody has ever confirmed it"
        api.away = False
        api.publish("10.0.0.2")
        await asyncio.sleep(MAX_BACKOFF_SECONDS * (1 + JITTER))
        assert (second.routes_to(), second.poller.source) == ("10.0.0.2", "api")
        await second.stop()

    run(week())


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(document(4, "10.0.0.3").replace(b'"port": 15100', b'"port": "x"'), id="a field of another type"),
        pytest.param(document(4, "10.0.0.3").replace(b'"address": "10.0', b'"address": "x'), id="a senseless address"),
    ],
)
def test_an_endpoint_that_cannot_be_read_stays_as_it_was_known_also_after_a_restart(tmp_path: Path, bad: bytes) -> None:
    async def test() -> None:
        api = Api(asyncio.get_running_loop().time)
        cache = SnapshotCache(str(tmp_path / "snapshot.json"))
        sidecar = Sidecar(api, 1, cache)
        api.publish("10.0.0.2")
        api.publish("10.0.0.3")
        await sidecar.start()
        await asyncio.sleep(MINUTE)
        api.revision = 4
        api.bodies.append(bad)
        await asyncio.sleep(MINUTE)
        assert sidecar.routes_to() == "10.0.0.3"
        assert sidecar.poller.failures == 0
        kept = cache.load(NAMESPACE)
        assert kept is not None
        assert (kept.revision, [each.address for each in kept.services["orders"].endpoints]) == (4, ["10.0.0.3"])
        await sidecar.stop()

    run(test())


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(document(1, "10.6.6.6"), id="an older revision"),
        pytest.param(document(4, "10.6.6.6").replace(b'"schema": 1', b'"schema": 2'), id="another schema"),
        pytest.param(document(4, "10.6.6.6").replace(b'"revision": 4', b'"revision": "4"'), id="another type"),
        pytest.param(document(4, "10.6.6.6")[:-20], id="cut short"),
        pytest.param(document(5, "10.6.6.6", since=4), id="a delta for a later revision"),
        pytest.param(b"<html>a proxy's error page</html>", id="not JSON"),
    ],
)
def test_a_bad_snapshot_is_refused_for_as_long_as_it_comes(tmp_path: Path, bad: bytes) -> None:
    async def day() -> None:
        api = Api(asyncio.get_running_loop().time)
        cache = SnapshotCache(str(tmp_path / "snapshot.json"))
        sidecar = Sidecar(api, 1, cache)
        api.publish("10.0.0.2")
        api.publish("10.0.0.3")
        await sidecar.start()
        await asyncio.sleep(MINUTE)
        assert sidecar.routes_to() == "10.0.0.3"
        confirmed = sidecar.poller.confirmed_at
        api.revision, good = 4, api.bodies[-1]
        api.bodies.append(bad)
        await asyncio.sleep(DAY)
        assert sidecar.routes_to() == "10.0.0.3"
        assert sidecar.poller.failures > 0
        assert sidecar.poller.snapshot is not None
        assert sidecar.poller.snapshot.revision == 3
        assert sidecar.age() > DAY - confirmed, "what cannot be used confirms nothing"
        kept = cache.load(NAMESPACE)
        assert kept is not None
        assert kept.revision == 3, "nor does it reach the disk"
        assert good != bad
        api.bodies.append(document(4, "10.0.0.4"))
        await asyncio.sleep(MAX_BACKOFF_SECONDS * (1 + JITTER))
        assert sidecar.routes_to() == "10.0.0.4"
        await sidecar.stop()

    run(day())


def test_an_answer_that_never_ends_holds_up_only_itself() -> None:
    async def drip() -> None:
        api = Api(asyncio.get_running_loop().time)
        executor = SometimesForEver()
        sidecar = Sidecar(api, 1, executor=executor)
        await sidecar.start()
        await asyncio.sleep(MINUTE)
        executor.calls_that_hang = 1
        api.publish("10.0.0.2")
        await asyncio.sleep(POLL_SECONDS * (1 + JITTER) + CALL_SECONDS)
        assert sidecar.poller.failures == 1
        await asyncio.sleep(POLL_SECONDS * (1 + JITTER))
        assert (sidecar.routes_to(), sidecar.poller.failures) == ("10.0.0.2", 0)
        await sidecar.stop()

    run(drip())


def test_the_last_endpoints_are_the_last_resort_for_a_time() -> None:
    async def empty() -> None:
        loop = asyncio.get_running_loop()
        api = Api(loop.time)
        sidecar = Sidecar(api, 1)
        await sidecar.start()
        await asyncio.sleep(MINUTE)
        api.publish()
        await asyncio.sleep(POLL_SECONDS * (1 + JITTER))
        assert sidecar.cluster.endpoints == [], "the empty snapshot is believed"
        assert sidecar.routes_to() == "10.0.0.1", "but an empty registry is more often a fault than a wish"
        await asyncio.sleep(sidecar.cluster.fallback_seconds)
        assert sidecar.routes_to() is None
        api.publish("10.0.0.2")
        await asyncio.sleep(POLL_SECONDS * (1 + JITTER))
        assert sidecar.routes_to() == "10.0.0.2"
        await sidecar.stop()

    run(empty())
