"""What a new snapshot changes in routing, and what it leaves alone."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from sidecar import config as configuration
from sidecar.core.findings import MOST_FINDINGS
from sidecar.core.meters import MAX_DEPARTED, Meters
from sidecar.core.snapshot import Snapshot, apply, decode
from sidecar.proxy.base.pace import SLICE_SECONDS, Pace
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.listeners import RETRIED_AT_ONCE, Address
from sidecar.proxy.mesh import APP_START_SECONDS, Mesh
from tests.support.proxy.sidecar import network

NAMESPACE = "shop.local"
PORT = 18_080  # one that no other test uses: an app on 0.0.0.0 and a listener on any address exclude each other


def service(number: int, address: str = "10.0.0.1", protocol: str = "http", alias: str = "") -> dict[str, Any]:
    name = f"s{number}"
    return {
        "name": name,
        "protocol": protocol,
        "vip": f"127.254.{number >> 8}.{number & 255}",
        "revision": 1,
        "aliases": [{"dns_name": alias or name, "port": PORT}],
        "policy": {},
        "endpoints": [{"id": f"{name}/http", "address": address, "port": 15100, "state": "ready"}],
    }


def document(revision: int, *services: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"schema": 1, "namespace": NAMESPACE, "revision": revision, "services": list(services)} | more
    ).encode()


class Case:
    """A mesh on a network of its own."""

    def __init__(self, prefix: str) -> None:
        self.clock = 0.0
        config = configuration.read(
            {
                "TRAMO_NAMESPACE": NAMESPACE,
                "TRAMO_API_URL": "https://api.example",
                "AWS_REGION": "eu-west-1",
                "TRAMO_VIP_NETWORK": f"{prefix}.0.0/16",
                "TRAMO_LISTEN_ADDRESS": f"{prefix}.250.1",
                "TRAMO_APP_ADDRESS": f"{prefix}.250.2",
                "TRAMO_INBOUND": "own=15100:8080/http",
                "TRAMO_FORWARD_PROXY": "off",
            }
        )
        self.prefix = prefix
        self.mesh = Mesh(Runtime(asyncio.get_running_loop()), config, Meters("", ""), "")
        self.snapshot: Snapshot | None = None

    @property
    def revision(self) -> int:
        return self.snapshot.revision if self.snapshot is not None else 0

    async def take(self, data: bytes) -> bool:
        self.snapshot = apply(self.snapshot, decode(data, NAMESPACE))
        return await self.mesh.apply(self.snapshot)

    async def condition(self, holds: Callable[[], bool], what: str) -> None:
        for _ in range(500):
            if holds():
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"waited for {what}")

    def address(self, number: int, port: int = PORT) -> Address:
        return Address(f"{self.prefix}.0.{number}", port)

    def endpoint(self, name: str) -> str:
        return self.mesh.destinations[name].cluster.endpoints[0].address


def run(test: Callable[[Case], Awaitable[None]]) -> None:
    async def main() -> None:
        with network() as prefix:
            case = Case(prefix)
            try:
                await test(case)
            finally:
                case.mesh.close()

    asyncio.run(main())


def test_a_change_of_endpoints_touches_its_service_alone() -> None:
    async def test(case: Case) -> None:
        assert await case.take(document(1, service(2), service(3)))
        listening, other = case.mesh.outbound.addresses(), case.mesh.destinations["s3"]
        before = other.cluster.endpoints[0]
        assert not await case.take(document(2, service(2, "10.9.9.9"), since=1, removed=[])), "no name has changed"
        assert case.endpoint("s2") == "10.9.9.9"
        assert case.mesh.destinations["s3"] is other
        assert other.cluster.endpoints[0] is before
        assert case.mesh.outbound.addresses() == listening == [case.address(2), case.address(3)]
        assert case.mesh.snapshot is case.snapshot

    run(test)


def test_a_whole_document_that_says_the_same_touches_nothing() -> None:
    async def test(case: Case) -> None:
        await case.take(document(1, service(2), service(3)))
        updates: list[str] = []
        for destination in case.mesh.destinations.values():
            destination.cluster.endpoints[0].state = "draining"
        assert not await case.take(document(2, service(2), service(3, "10.9.9.9")))
        updates = [name for name, each in case.mesh.destinations.items() if each.cluster.endpoints[0].state == "ready"]
        assert updates == ["s3"]

    run(test)


def test_new_names_are_listened_for_and_old_ones_no_longer() -> None:
    async def test(case: Case) -> None:
        await case.take(document(1, service(2), service(3)))
        assert await case.take(document(2, service(4), since=1, removed=["s2"]))
        assert case.mesh.outbound.addresses() == [case.address(3), case.address(4)]
        assert case.mesh.resolve("s2", PORT) is None
        assert case.mesh.resolve("s4", PORT) is case.mesh.destinations["s4"]
        assert set(case.mesh.destinations) == {"s3", "s4"}
        assert case.mesh.hosts() == {case.address(3).host: ["s3"], case.address(4).host: ["s4"]}

    run(test)


def test_a_service_that_returns_is_reached_by_the_connections_that_stayed() -> None:
    async def test(case: Case) -> None:
        await case.take(document(1, service(2), service(3)))
        kept = case.mesh.destinations["s2"]
        await case.take(document(2, since=1, removed=["s2"]))
        assert kept.cluster.endpoints == []
        await case.take(document(3, service(2, "10.9.9.9"), since=2, removed=[]))
        assert case.mesh.destinations["s2"] is kept
        assert case.endpoint("s2") == "10.9.9.9"

    run(test)


def test_services_that_never_return_are_forgotten() -> None:
    async def test(case: Case) -> None:
        await case.take(document(1, service(2)))
        first = case.mesh.destinations["s2"]
        await case.take(document(2, since=1, removed=["s2"]))
        for begin in range(3, MAX_DEPARTED + 3, 200):
            some = [service(number) for number in range(begin, begin + 200)]
            await case.take(document(case.revision + 1, *some, since=case.revision, removed=[]))
            gone = [each["name"] for each in some]
            await case.take(document(case.revision + 1, since=case.revision, removed=gone))
        await case.take(document(case.revision + 1, service(2), since=case.revision, removed=[]))
        assert case.mesh.destinations["s2"] is not first

    run(test)


def test_an_alias_that_passes_from_one_service_to_another_is_followed() -> None:
    async def test(case: Case) -> None:
        await case.take(document(1, service(2, alias="shared"), service(3)))
        both = (service(2), service(3, alias="shared"))
        for revision, services in ((2, both), (3, both[::-1])):
            await case.take(document(revision, *services))
            assert case.mesh.resolve("shared", PORT) is case.mesh.destinations["s3"]
            assert case.mesh.resolve("s3", PORT) is None

    run(test)


def test_another_protocol_is_listened_for_in_its_own_way() -> None:
    async def test(case: Case) -> None:
        await case.take(document(1, service(2)))
        assert await case.take(document(2, service(2, protocol="tcp"), since=1, removed=[]))
        assert case.mesh.destinations["s2"].cluster.protocol == "tcp"

    run(test)


def test_a_part_of_the_snapshot_that_cannot_be_read_is_a_finding_and_everything_else_is_used() -> None:
    async def test(case: Case) -> None:
        broken = service(2, "nowhere")
        await case.take(document(1, broken, service(3)))
        assert case.mesh.outbound.addresses() == [case.address(2), case.address(3)]
        (found,) = case.mesh.findings()
        assert (found.code, found.where) == ("TRM0311", "service s2")
        assert found.what == "endpoint s2/http cannot be read: 'nowhere' is no IP address"
        await case.take(document(2, service(2), since=1, removed=[]))
        assert case.mesh.findings() == []

    run(test)


def test_endpoints_that_speak_tcp_where_the_service_speaks_http_are_a_finding_until_they_go() -> None:
    async def test(case: Case) -> None:
        mixed = service(2)
        mixed["endpoints"].append({**mixed["endpoints"][0], "id": "s2b/http", "protocol": "tcp"})
        await case.take(document(1, mixed, service(3)))
        assert [each.id for each in case.mesh.destinations["s2"].cluster.endpoints] == ["s2/http"]
        (found,) = case.mesh.findings()
        assert (found.code, found.level, found.where) == ("TRM0312", "warning", "service s2")
        assert found.what == "1 endpoints speak TCP, the service speaks http: they get no traffic"
        await case.take(document(2, service(2), since=1, removed=[]))
        assert case.mesh.findings() == []
        await case.take(document(3, mixed, since=2, removed=[]))
        await case.take(document(4, since=3, removed=["s2"]))
        assert case.mesh.findings() == []

    run(test)


def test_an_address_that_could_not_be_bound_is_tried_again_until_it_can() -> None:
    async def test(case: Case) -> None:
        with socket.create_server(case.address(2)):
            await case.take(document(1, service(2), service(3)))
            assert list(case.mesh.outbound.failed) == [case.address(2)]
            assert not await case.mesh.retry()
        assert await case.mesh.retry(), "the hosts file has a name more"
        assert case.mesh.outbound.failed == {}
        assert case.mesh.outbound.addresses() == [case.address(2), case.address(3)]
        assert not await case.mesh.retry()

    run(test)


def test_a_name_whose_port_an_app_has_taken_is_no_name_of_the_hosts_file() -> None:
    async def test(case: Case) -> None:
        both = service(2)
        both["aliases"] = [{"dns_name": name, "port": port} for name, port in (("a", 81), ("a", PORT), ("b", 81))]
        with socket.create_server((f"{case.prefix}.0.2", PORT)):
            await case.take(document(1, both, service(3)))
            assert case.mesh.hosts() == {case.address(2).host: ["b"], case.address(3).host: ["s3"]}
            (found,) = case.mesh.findings()
            assert (found.code, found.where) == ("TRM0304", f"{case.prefix}.0.2:{PORT}")
            assert found.what == "a cannot be called: Address already in use"
            assert f"listens on port {PORT} already" in found.remedy
        await case.mesh.retry()
        assert case.mesh.hosts()[case.address(2).host] == ["a", "b"]
        assert case.mesh.findings() == []

    run(test)


def test_an_app_on_all_addresses_takes_the_port_of_every_service_and_each_is_tried_in_turn() -> None:
    async def test(case: Case) -> None:
        count = RETRIED_AT_ONCE + 10
        with socket.create_server(("0.0.0.0", PORT)):
            await case.take(document(1, *(service(number) for number in range(2, 2 + count))))
            assert len(case.mesh.outbound.failed) == count
            assert case.mesh.hosts() == {}
            assert len(case.mesh.findings()) == MOST_FINDINGS
            last = list(case.mesh.outbound.failed)[-1]
            await case.mesh.retry()
            assert list(case.mesh.outbound.failed).index(last) == 9, "the ten that were not tried are the next"
        await case.mesh.retry()
        assert len(case.mesh.outbound.failed) == 10
        await case.mesh.retry()
        assert case.mesh.outbound.failed == {}

    run(test)


def test_an_app_that_takes_nothing_long_after_the_start_is_a_finding_until_it_does() -> None:
    async def test(case: Case) -> None:
        mesh = case.mesh
        mesh.runtime.now = lambda: case.clock
        assert await mesh.start()
        await case.condition(lambda: not mesh.inbound.addresses(), "the ingress to close")
        case.clock += APP_START_SECONDS - 1
        assert mesh.findings() == [], "it may still be starting"
        case.clock += 1
        (found,) = mesh.findings()
        assert (found.code, found.where) == ("TRM0303", "app port 8080")
        assert f"nothing listens on {case.prefix}.250.2:8080" in found.what
        with socket.create_server((f"{case.prefix}.250.2", 8080)):
            await case.condition(lambda: bool(mesh.inbound.addresses()), "the ingress to open")
            assert mesh.findings() == []
        mesh.runtime.stop()

    run(test)


def test_long_work_lets_the_loop_have_its_turn() -> None:
    async def test() -> None:
        clock = [0.0]
        pace = Pace(lambda: clock[0])
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        turn()
        await pace.rest()
        assert (pace.rests, turns) == (0, 1), "it is early yet"
        for count in range(1, 4):
            clock[0] += SLICE_SECONDS
            await pace.rest()
            await pace.rest()
            assert pace.rests == count
        assert turns > 3

    asyncio.run(test())


def test_traffic_has_its_turn_while_a_large_snapshot_is_taken_over() -> None:
    async def test(case: Case) -> None:
        clock = [0.0]

        def slow() -> float:
            clock[0] += SLICE_SECONDS  # every look at the clock finds a slice over
            return clock[0]

        case.mesh.runtime.now = slow
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        turn()
        await case.take(document(1, *(service(number) for number in range(2, 52))))
        assert turns >= 100, "fifty services, each with its destination and its listener"

    run(test)
