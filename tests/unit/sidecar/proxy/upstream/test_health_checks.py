"""Which endpoints are checked, when, and how many at a time; the checks themselves are values here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest

from sidecar.core.meters import ClientMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.policy import DEFAULT
from sidecar.core.snapshot import EndpointRecord, ServiceRecord
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.destination import Destination, outbound
from sidecar.proxy.upstream.health_checks import MAX_CONCURRENT, HealthChecks
from tests.support.proxy.fake_loop import ConnectingLoop

ON = {"health_check": {"protocol": "http", "interval_seconds": 10, "unhealthy_threshold": 2, "healthy_threshold": 1}}


class Scene:
    """A service under checks, whose outcome the test says."""

    def __init__(self) -> None:
        self.loop = ConnectingLoop()
        self.runtime = Runtime(cast("asyncio.AbstractEventLoop", self.loop), seed=1)
        self.runtime.start()
        self.failures: dict[str, str] = {}
        self.checked: list[str] = []
        self.hold: asyncio.Event | None = None
        self.checks = HealthChecks(self.runtime, self.probe)
        self.destination = self.service("orders")

    def service(self, name: str) -> Destination:
        return outbound(self.runtime, Cluster(name, "http", DEFAULT), ClientMeter(name), self.checks)

    async def probe(self, cluster: Cluster, endpoint: Endpoint) -> str:
        self.checked.append(endpoint.id)
        if self.hold is not None:
            await self.hold.wait()
        return self.failures.get(endpoint.id, "")

    def publish(self, policy: dict[str, Any], *states: str) -> None:
        records = tuple(EndpointRecord(f"e{n}", "10.0.0.1", 8000 + n, state) for n, state in enumerate(states))
        raw = msgspec.Raw(msgspec.json.encode(policy))
        self.destination.update(ServiceRecord("orders", "http", "127.254.0.2", 1, (), records, raw), "")

    async def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.25)):
            self.loop.advance(0.25)
            await self.loop.settle()

    def states(self) -> list[str | None]:
        return [
            endpoint.checked.state_name() if endpoint.checked is not None else None
            for endpoint in self.destination.cluster.endpoints
        ]


def run(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Scene())

    asyncio.run(main())


def test_nothing_is_checked_by_default() -> None:
    async def test(scene: Scene) -> None:
        before = len(scene.runtime.wheel)
        scene.publish({}, "ready", "ready")
        await scene.pass_time(120)
        assert scene.checked == []
        assert scene.states() == [None, None]
        assert len(scene.runtime.wheel) == before

    run(test)


def test_ready_endpoints_are_checked_soon_and_then_at_their_interval() -> None:
    async def test(scene: Scene) -> None:
        scene.publish(ON, "ready", "draining", "ready", "unhealthy", "starting")
        await scene.pass_time(1.5)
        assert sorted(scene.checked) == ["e0", "e2"]
        assert scene.states() == ["passing", None, "passing", None, None]
        for _ in range(60):
            assert scene.destination.meter is not None
            scene.destination.meter.requests += 1
            await scene.pass_time(1)
        assert 5 <= scene.checked.count("e0") <= 8

    run(test)


def test_without_traffic_checks_are_rare() -> None:
    async def test(scene: Scene) -> None:
        scene.publish(ON, "ready")
        await scene.pass_time(300)
        assert 5 <= len(scene.checked) <= 7

    run(test)


def test_an_endpoint_that_fails_is_left_out_until_it_passes() -> None:
    async def test(scene: Scene) -> None:
        scene.publish(ON, "ready", "ready")
        scene.failures["e1"] = "status 503, not 200"
        await scene.pass_time(15)
        assert scene.states() == ["passing", "failing"]
        picked = {scene.destination.cluster.pick(scene.loop.now, draw, []) for draw in range(0, 1 << 32, 1 << 13)}
        assert picked == {scene.destination.cluster.endpoints[0]}
        scene.failures.clear()
        await scene.pass_time(70)
        assert scene.states() == ["passing", "passing"]

    run(test)


def test_who_leaves_is_forgotten() -> None:
    async def test(scene: Scene) -> None:
        scene.failures["e1"] = "down"
        scene.publish(ON, "ready", "ready")
        await scene.pass_time(15)
        scene.publish(ON, "ready", "draining")
        assert scene.states() == ["passing", None]
        seen = scene.checked.count("e1")
        await scene.pass_time(70)
        assert scene.checked.count("e1") == seen
        scene.publish(ON, "ready", "ready")
        assert scene.states() == ["passing", "unknown"]
        timers = len(scene.runtime.wheel)
        scene.publish({}, "ready", "ready")
        assert scene.states() == [None, None]
        assert len(scene.runtime.wheel) == timers - 2
        scene.destination.close()

    run(test)


def test_a_service_that_goes_takes_its_checks_along() -> None:
    async def test(scene: Scene) -> None:
        before = len(scene.runtime.wheel)
        scene.publish(ON, "ready", "ready")
        await scene.pass_time(2)
        scene.destination.close()
        assert len(scene.runtime.wheel) == before
        seen = len(scene.checked)
        await scene.pass_time(120)
        assert len(scene.checked) == seen

    run(test)


def test_the_verdict_of_a_check_that_came_too_late_is_not_heard() -> None:
    async def test(scene: Scene) -> None:
        scene.hold = asyncio.Event()
        scene.failures["e0"] = "down"
        scene.publish(ON, "ready", "ready")
        await scene.pass_time(1.5)
        scene.publish({}, "ready", "ready")
        scene.publish(ON, "ready", "ready")
        scene.hold.set()
        await scene.loop.settle()
        first = scene.destination.cluster.endpoints[0].checked
        assert first is not None
        assert first.checks == 0

    run(test)


def test_only_so_many_run_at_one_time_and_all_get_their_turn() -> None:
    async def test(scene: Scene) -> None:
        scene.hold = asyncio.Event()
        count = 3 * MAX_CONCURRENT
        scene.publish(ON, *(["ready"] * count))
        await scene.pass_time(5)
        assert len(scene.checked) == MAX_CONCURRENT
        scene.hold.set()
        await scene.loop.settle()
        assert sorted(scene.checked) == sorted(f"e{n}" for n in range(count))
        assert set(scene.states()) == {"passing"}

    run(test)


def test_a_new_policy_counts_from_the_next_check() -> None:
    async def test(scene: Scene) -> None:
        scene.publish(ON, "ready")
        await scene.pass_time(2)
        scene.publish({"health_check": {**ON["health_check"], "unhealthy_threshold": 1}}, "ready")
        assert scene.states() == ["passing"], "what was found out stays"
        scene.failures["e0"] = "down"
        await scene.pass_time(70)
        assert scene.states() == ["failing"]

    run(test)


def test_a_check_that_breaks_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    async def test(scene: Scene) -> None:
        async def broken(cluster: Cluster, endpoint: Endpoint) -> str:
            scene.checked.append(endpoint.id)
            raise RuntimeError("a bug")

        scene.checks = HealthChecks(scene.runtime, broken)
        scene.destination = scene.service("orders")
        scene.publish(ON, "ready")
        await scene.pass_time(30)
        assert len(scene.checked) >= 2
        assert scene.states() == ["unknown"]

    run(test)
    assert "a bug" in caplog.text
