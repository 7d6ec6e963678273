from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from registry.domain.offer import Alias, Timeouts
from registry.domain.service import Declaration, ServiceRecord, declaration_of
from registry.dynamodb.keys import namespace_key, service_key, vip_key
from registry.dynamodb.owner_store import OwnerStore
from registry.dynamodb.service_store import RevisionConflictError, ServiceStore
from registry.dynamodb.store import Store, open_store
from registry.dynamodb.table import Table
from registry.dynamodb.vip_store import FIRST_VIP, LAST_VIP, VipsExhaustedError
from tests.support.control_plane import aws
from tests.support.control_plane.building import declaration, definition, task
from tests.support.control_plane.ecs import NAMESPACE
from tests.support.control_plane.memory_table import MemoryTable
from tests.support.stepping import before_each_call

NOW = 1_795_345_200.0
DAY = 24 * 3600


def declare(services: ServiceStore, service: str = "orders", **arguments: Any) -> None:
    services.declare(NAMESPACE, service, declaration(service, **arguments), NOW, task("aa"))


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
    said = declaration_of(found, "orders:7", 1.0, "example/orders")
    assert store.services.declare(NAMESPACE, "orders", said, NOW, task("aa")) == ()
    wanted = (Alias("orders", 80), Alias("orders.shop.local", 80), Alias("old", 81))
    assert said == Declaration("orders:7", "grpc", wanted, Timeouts(request_seconds=5), 1.0)
    record = store.services.get(NAMESPACE, "orders")
    assert record == ServiceRecord(
        "orders",
        "127.254.0.2",
        (said,),
        dict.fromkeys(wanted, "orders"),
        owners=("arn:aws:ecs:us-east-1:123456789012:service/example/orders", "arn:aws:iam::123456789012:role/orders"),
        namespace=NAMESPACE,
    )
    assert record.latest.ecs_service == "example/orders"
    assert store.services.get(NAMESPACE, "other") is None


def test_vips_count_up_from_2_in_each_namespace(store: Store) -> None:
    for name in ("a", "b", "c"):
        declare(store.services, name)
    assert {name: each.vip for name, each in store.services.all(NAMESPACE).items()} == {
        "a": "127.254.0.2",
        "b": "127.254.0.3",
        "c": "127.254.0.4",
    }
    store.services.declare("other", "z", declaration("z"), NOW, task("aa"))
    other = store.services.get("other", "z")
    assert other is not None
    assert other.vip == "127.254.0.2"


def test_the_task_created_last_makes_the_latest_declaration(store: Store) -> None:
    for name, at in (("orders:7", 5.0), ("orders:9", 7.0), ("orders:8", 6.0), ("orders:7", 6.5)):
        declare(store.services, name=name, at=at)
    found = store.services.get(NAMESPACE, "orders")
    assert found is not None
    assert [(each.task_definition, each.declared_at) for each in found.declarations] == [
        ("orders:9", 7.0),
        ("orders:8", 6.0),
        ("orders:7", 5.0),
    ]
    declare(store.services, name="orders:7", at=8.0)
    rolled_back = store.services.get(NAMESPACE, "orders")
    assert rolled_back is not None
    assert (rolled_back.latest.task_definition, rolled_back.vip) == ("orders:7", "127.254.0.2")


def test_more_tasks_of_a_definition_write_nothing(store: Store) -> None:
    declare(store.services)
    calls: list[str] = []
    with before_each_call(store, calls.append):
        for number in range(4):
            declare(store.services, at=2.0 + number)
    assert {each.partition(" ")[0] for each in calls} == {"GetItem", "BatchGetItem"}


def test_a_declaration_leaves_the_policy_alone(store: Store) -> None:
    declare(store.services)
    store.services.set_policy(NAMESPACE, "orders", {"retries": {"count": 1}}, None, now=1.0)
    declare(store.services, name="orders:8", at=2.0, app_protocol="grpc")
    found = store.services.get(NAMESPACE, "orders")
    assert found is not None
    assert (found.latest.protocol, found.policy, found.policy_revision) == ("grpc", {"retries": {"count": 1}}, 1)


def test_many_registrars_at_once_give_each_service_one_vip(dynamodb_endpoint: str, table: str) -> None:
    names = [f"s{number}" for number in range(6)] * 2
    stores = [open_store(table, aws.REGION, dynamodb_endpoint) for _ in range(4)]

    def work(number: int) -> None:
        declare(stores[number % 4].services, names[number], name=f"d:{number}", at=float(number))

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

    made = Table(table, aws.REGION, dynamodb_endpoint)
    services = ServiceStore(made, OwnerStore(made), choose)
    declare(services)
    found = services.get(NAMESPACE, "orders")
    assert found is not None
    assert found.vip == "127.254.0.3"


def test_a_lost_race_for_the_service_leaves_no_second_vip(dynamodb_endpoint: str, table: str) -> None:
    other = open_store(table, aws.REGION, dynamodb_endpoint).services

    def choose(free: list[str]) -> str:
        declare(other, name="orders:8", at=9.0, app_protocol="grpc")
        return free[-1]

    made = Table(table, aws.REGION, dynamodb_endpoint)
    services = ServiceStore(made, OwnerStore(made), choose)
    declare(services, at=5.0)
    found = services.get(NAMESPACE, "orders")
    assert found is not None
    assert [each.protocol for each in found.declarations] == ["grpc", "http"]
    declare(services, "next")
    assert len({each.vip for each in services.all(NAMESPACE).values()}) == 2


def test_vips_can_run_out(dynamodb_endpoint: str, table: str) -> None:
    def never(free: list[str]) -> str:
        claim(dynamodb_endpoint, table, free[0], "faster")
        return free[0]

    made = Table(table, aws.REGION, dynamodb_endpoint)
    services = ServiceStore(made, OwnerStore(made), never)
    with pytest.raises(VipsExhaustedError, match="orders could claim no VIP in 12 attempts"):
        declare(services)
    assert int(LAST_VIP) - int(FIRST_VIP) > 65_000


def test_policies(store: Store) -> None:
    assert store.services.set_policy(NAMESPACE, "orders", {}, None, now=1.0) is None
    declare(store.services)
    policy = {
        "retries": {"count": 3, "budget_percent": 12.5, "on": ["503", "reset"]},
        "timeouts": {"request_seconds": 0},
    }
    first = store.services.set_policy(NAMESPACE, "orders", policy, expected_revision=0, now=1.0)
    assert first is not None
    assert (first.policy, first.policy_revision) == (policy, 1)
    found = store.services.get(NAMESPACE, "orders")
    assert found is not None
    assert (found.policy, found.policy_revision) == (policy, 1)
    with pytest.raises(RevisionConflictError) as caught:
        store.services.set_policy(NAMESPACE, "orders", {}, expected_revision=0, now=1.0)
    assert caught.value.revision == 1
    second = store.services.set_policy(NAMESPACE, "orders", {}, expected_revision=1, now=1.0)
    third = store.services.set_policy(NAMESPACE, "orders", {"retries": {}}, expected_revision=None, now=1.0)
    assert second is not None
    assert third is not None
    assert (second.policy, second.policy_revision) == ({}, 2)
    assert (third.policy, third.policy_revision) == ({"retries": {}}, 3)


def test_a_service_of_an_earlier_build_keeps_its_policy_and_its_address() -> None:
    table = MemoryTable()
    store = table.open()
    declare(store.services, "stock")
    declare(store.services, "orders")
    before = store.services.set_policy(NAMESPACE, "orders", {"retries": {"count": 1}}, None, now=1.0)
    item = table.items[namespace_key(NAMESPACE), "SERVICE#orders"]
    for field in ("declarations", "revision", "owners"):
        del item[field]
    item |= {"protocol": {"S": "http"}, "declared_at": {"N": "1"}, "aliases": {"L": []}}
    assert store.services.all(NAMESPACE).keys() == {"stock"}
    declare(store.services, "orders")
    found = store.services.get(NAMESPACE, "orders")
    assert before is not None
    assert found is not None
    assert (found.policy, found.policy_revision, found.vip) == (before.policy, 1, before.vip)
    assert found.owners
    assert [each.task_definition for each in found.declarations] == ["orders:7"]
