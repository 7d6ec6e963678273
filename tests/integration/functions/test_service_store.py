from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.domain.offer import Alias, Timeouts
from registry.domain.snapshot import ServiceRecord
from registry.dynamodb.models import Table, namespace_key, service_key, vip_key
from registry.dynamodb.service_store import PolicyConflictError, ServiceStore
from registry.dynamodb.store import Store, open_store
from registry.dynamodb.vip_store import FIRST_VIP, LAST_VIP, VipsExhaustedError
from tests.support.control_plane import aws
from tests.support.control_plane.building import definition, offer
from tests.support.control_plane.ecs import NAMESPACE

NOW = 1_795_345_200.0
DAY = 24 * 3600


def declare(services: ServiceStore, name: str = "orders", created_at: float = 1.0, **arguments: str) -> None:
    services.declare(NAMESPACE, offer(name, **arguments), created_at, NOW)


def claim(endpoint: str, table: str, address: str, service: str, expires_at: float | None = None) -> None:
    item = {
        "pk": {"S": namespace_key(NAMESPACE)},
        "sk": {"S": vip_key(address)},
        "service": {"S": service},
    }
    if expires_at is not None:
        item |= {"released_at": {"N": "1"}, "expires_at": {"N": str(expires_at)}}
    aws.client("dynamodb", endpoint).put_item(TableName=table, Item=item)


def test_a_service_is_what_its_definition_says(store: Store) -> None:
    services = [
        {
            "portName": "http",
            "discoveryName": "orders",
            "clientAliases": [{"port": 80}, {"port": 81, "dnsName": "old"}],
            "timeout": {"perRequestTimeoutSeconds": 5},
        }
    ]
    (found,) = definition(services=services, app_protocol="grpc").offers
    store.services.declare(NAMESPACE, found, 1.0, NOW)
    assert store.services.get(NAMESPACE, "orders") == ServiceRecord(
        name="orders",
        protocol="grpc",
        vip="127.254.0.2",
        aliases=(Alias("orders", 80), Alias("orders.shop.local", 80), Alias("old", 81)),
        timeouts=Timeouts(request_seconds=5),
    )
    assert store.services.get(NAMESPACE, "other") is None


def test_vips_count_up_from_2_in_each_namespace(store: Store) -> None:
    for name in ("a", "b", "c"):
        declare(store.services, name)
    assert {name: each.vip for name, each in store.services.all(NAMESPACE).items()} == {
        "a": "127.254.0.2",
        "b": "127.254.0.3",
        "c": "127.254.0.4",
    }
    store.services.declare("other", offer("z"), 1.0, NOW)
    other = store.services.get("other", "z")
    assert other is not None
    assert other.vip == "127.254.0.2"


def test_the_task_created_last_says_what_a_service_is(store: Store, dynamodb_endpoint: str, table: str) -> None:
    def declare_anew(created_at: float, protocol: str) -> None:
        # Each time as another process: with nothing remembered.
        fresh = open_store(table, aws.REGION, dynamodb_endpoint).services
        declare(fresh, created_at=created_at, app_protocol=protocol)

    for created_at, protocol in ((5.0, "http"), (7.0, "grpc"), (6.0, "http2"), (7.0, "http"), (5.0, "http")):
        declare_anew(created_at, protocol)
    found = store.services.get(NAMESPACE, "orders")
    assert found is not None
    assert (found.protocol, found.vip) == ("grpc", "127.254.0.2")
    declare_anew(8.0, "http")
    found = store.services.get(NAMESPACE, "orders")
    assert found is not None
    assert (found.protocol, found.vip) == ("http", "127.254.0.2")


def test_a_declaration_leaves_the_policy_alone(store: Store) -> None:
    declare(store.services, created_at=1.0)
    store.services.set_policy(NAMESPACE, "orders", {"retries": {"count": 1}}, None)
    declare(store.services, created_at=2.0, app_protocol="grpc")
    found = store.services.get(NAMESPACE, "orders")
    assert found is not None
    assert (found.protocol, found.policy, found.policy_revision) == ("grpc", {"retries": {"count": 1}}, 1)


def test_many_registrars_at_once_give_each_service_one_vip(dynamodb_endpoint: str, table: str) -> None:
    names = [f"s{number}" for number in range(6)] * 2
    stores = [open_store(table, aws.REGION, dynamodb_endpoint) for _ in range(4)]

    def work(number: int) -> None:
        declare(stores[number % 4].services, names[number], created_at=float(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(len(names))))
    found = stores[0].services.all(NAMESPACE)
    assert set(found) == set(names)
    assert len({each.vip for each in found.values()}) == len(found)


def test_a_removed_service_that_returns_has_its_old_vip(store: Store, dynamodb_endpoint: str, table: str) -> None:
    declare(store.services, "a")
    declare(store.services, "b")
    aws.client("dynamodb", dynamodb_endpoint).delete_item(
        TableName=table, Key={"pk": {"S": namespace_key(NAMESPACE)}, "sk": {"S": service_key("a")}}
    )
    fresh = open_store(table, aws.REGION, dynamodb_endpoint).services
    declare(fresh, "c")
    declare(fresh, "a")
    assert {name: each.vip for name, each in fresh.all(NAMESPACE).items()} == {
        "a": "127.254.0.2",
        "b": "127.254.0.3",
        "c": "127.254.0.4",
    }


def test_a_released_vip_is_free_only_when_its_claim_has_expired(
    store: Store, dynamodb_endpoint: str, table: str
) -> None:
    claim(dynamodb_endpoint, table, "127.254.0.2", "gone", expires_at=NOW + DAY)
    claim(dynamodb_endpoint, table, "127.254.0.3", "gone-long-ago", expires_at=NOW - 1)
    declare(store.services, "new")
    found = store.services.get(NAMESPACE, "new")
    assert found is not None
    assert found.vip == "127.254.0.3"


def test_a_lost_race_for_a_vip_is_run_again(dynamodb_endpoint: str, table: str) -> None:
    taken = iter(["127.254.0.2"])

    def choose(free: list[str]) -> str:
        # Between the look and the claim somebody else takes the address.
        for address in taken:
            claim(dynamodb_endpoint, table, address, "faster")
        return free[0]

    services = ServiceStore(Table(table, aws.REGION, dynamodb_endpoint), choose)
    declare(services)
    found = services.get(NAMESPACE, "orders")
    assert found is not None
    assert found.vip == "127.254.0.3"


def test_a_lost_race_for_the_service_leaves_no_second_vip(dynamodb_endpoint: str, table: str) -> None:
    other = open_store(table, aws.REGION, dynamodb_endpoint).services

    def choose(free: list[str]) -> str:
        declare(other, created_at=9.0, app_protocol="grpc")
        return free[-1]

    services = ServiceStore(Table(table, aws.REGION, dynamodb_endpoint), choose)
    declare(services, created_at=5.0)
    found = services.get(NAMESPACE, "orders")
    assert found is not None
    assert found.protocol == "grpc"
    declare(services, "next")
    assert len({each.vip for each in services.all(NAMESPACE).values()}) == 2


def test_vips_can_run_out(dynamodb_endpoint: str, table: str) -> None:
    def never(free: list[str]) -> str:
        claim(dynamodb_endpoint, table, free[0], "faster")
        return free[0]

    services = ServiceStore(Table(table, aws.REGION, dynamodb_endpoint), never)
    with pytest.raises(VipsExhaustedError, match="orders could claim no VIP in 12 attempts"):
        declare(services)
    assert int(LAST_VIP) - int(FIRST_VIP) > 65_000


def test_policies(store: Store) -> None:
    assert store.services.set_policy(NAMESPACE, "orders", {}, None) is None
    declare(store.services)
    policy = {
        "retries": {"count": 3, "budget_percent": 12.5, "on": ["503", "reset"]},
        "timeouts": {"request_seconds": 0},
    }
    first = store.services.set_policy(NAMESPACE, "orders", policy, expected_revision=0)
    assert first is not None
    assert (first.policy, first.policy_revision) == (policy, 1)
    assert store.services.get(NAMESPACE, "orders") == first
    with pytest.raises(PolicyConflictError) as caught:
        store.services.set_policy(NAMESPACE, "orders", {}, expected_revision=0)
    assert caught.value.revision == 1
    second = store.services.set_policy(NAMESPACE, "orders", {}, expected_revision=1)
    third = store.services.set_policy(NAMESPACE, "orders", {"retries": {}}, expected_revision=None)
    assert second is not None
    assert third is not None
    assert (second.policy, second.policy_revision) == ({}, 2)
    assert (third.policy, third.policy_revision) == ({"retries": {}}, 3)
