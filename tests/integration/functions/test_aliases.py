"""A name and port belong to the service that claimed them first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.publications import Publications, Repaired
from registrar.app import handle
from registry.aws.ecs import Lookups
from registry.domain.offer import Alias, Offer
from registry.domain.snapshot import Conflict, ServiceRecord
from registry.dynamodb.store import Store, open_store
from registry.publishing import Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.building import definition, record, task
from tests.support.control_plane.ecs import NAMESPACE, FakeEcs, life, task_definition

NOW = task("aa").changed_at + 3600
WEB = Alias("web", 80)


def offer(service: str, *ports: int) -> Offer:
    """A service that is called web:80 and so on."""
    aliases = [{"port": port, "dnsName": "web"} for port in ports]
    services = [{"portName": "http", "discoveryName": service, "clientAliases": aliases}]
    return definition(services=services).offers[0]


def declare(store: Store, service: str, *ports: int, created_at: float = 1.0) -> tuple[Conflict, ...]:
    return store.services.declare(NAMESPACE, offer(service, *ports), created_at, NOW)


def known(store: Store, service: str) -> ServiceRecord:
    found = store.services.get(NAMESPACE, service)
    assert found is not None
    return found


def held(store: Store) -> dict[str, tuple[list[int], list[str]]]:
    """Ports of the aliases held, and holders of those wanted, by service."""
    return {
        name: ([each.port for each in service.aliases], [each.holder for each in service.conflicts])
        for name, service in sorted(store.services.all(NAMESPACE).items())
    }


def repair(store: Store) -> Repaired:
    def warn(*_: object, **__: object) -> None:
        """Log nothing."""

    publications = Publications(store, Publisher(store, lambda: NOW, lambda _: None), NOW, warn)
    return publications.repair(NAMESPACE, list(store.tasks.all(NAMESPACE)))


def test_the_first_keeps_it_and_the_second_says_so(store: Store) -> None:
    assert declare(store, "first", 80) == ()
    assert declare(store, "second", 80, 81) == (Conflict(WEB, "first"),)
    assert held(store) == {"first": ([80], []), "second": ([81], ["first"])}
    assert declare(store, "first", 80, created_at=2.0) == ()
    assert declare(store, "second", 80, 81, created_at=2.0) == (Conflict(WEB, "first"),)
    assert held(store) == {"first": ([80], []), "second": ([81], ["first"])}


def test_namespaces_do_not_share_names(store: Store) -> None:
    declare(store, "first", 80)
    assert store.services.declare("other.local", offer("second", 80), 1.0, NOW) == ()


def test_an_alias_that_is_given_up_is_free(store: Store) -> None:
    declare(store, "first", 80, 81)
    declare(store, "second", 80)
    declare(store, "first", 81, created_at=2.0)
    assert repair(store).conflicts == 0
    assert held(store) == {"first": ([81], []), "second": ([80], [])}


def test_the_claims_of_a_late_event_are_given_back(store: Store, dynamodb_endpoint: str, table: str) -> None:
    declare(store, "first", 81, created_at=5.0)
    other = open_store(table, aws.REGION, dynamodb_endpoint)
    declare(other, "first", 80, created_at=1.0)
    assert declare(store, "second", 80) == ()
    assert held(store) == {"first": ([81], []), "second": ([80], [])}


def test_a_living_service_takes_the_alias_of_one_without_tasks(store: Store) -> None:
    declare(store, "first", 80)
    declare(store, "second", 80)
    store.tasks.apply(task("aa", "first"))
    store.tasks.apply(task("bb", "second"))
    assert repair(store).conflicts == 1
    assert held(store) == {"first": ([80], []), "second": ([], ["first"])}
    store.tasks.apply(record("fargate_stopped", task_arn=task("aa").task_arn))
    assert repair(store).conflicts == 1
    assert held(store) == {"first": ([], ["second"]), "second": ([80], [])}
    # It is published, and the first one stays without when it comes back.
    head = store.snapshots.head(NAMESPACE, consistent=True)
    assert head is not None
    documents = {n: d for p in store.snapshots.readable(NAMESPACE, head).values() for n, d in p.services.items()}
    assert {name: len(document["aliases"]) for name, document in documents.items()} == {"first": 0, "second": 1}
    store.tasks.apply(task("cc", "first"))
    assert (repair(store).conflicts, held(store)["second"]) == (1, ([80], []))


def test_nothing_is_taken_while_neither_lives(store: Store) -> None:
    declare(store, "first", 80)
    declare(store, "second", 80)
    assert repair(store).conflicts == 1
    assert held(store)["first"] == ([80], [])


def test_a_service_declared_anew_meanwhile_is_left_alone(store: Store) -> None:
    declare(store, "first", 80)
    declare(store, "second", 80)
    old = known(store, "second")
    declare(store, "second", 81, created_at=2.0)
    declare(store, "first", 82, created_at=2.0)
    assert store.services.retry_aliases(NAMESPACE, old, lambda _: True) == old
    assert held(store) == {"first": ([82], []), "second": ([81], [])}
    assert declare(store, "third", 80) == ()


@pytest.mark.parametrize("attempt", range(3))
def test_of_many_at_once_one_gets_it(dynamodb_endpoint: str, table: str, attempt: int) -> None:
    stores = [open_store(table, aws.REGION, dynamodb_endpoint) for _ in range(4)]

    def work(number: int) -> int:
        return len(declare(stores[number], f"s{number}-{attempt}", 80))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(work, range(4))) == [0, 1, 1, 1]
    assert sum(bool(aliases) for aliases, _ in held(stores[0]).values()) == 1


def test_the_registrar_names_service_alias_and_holder(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    services = [{"portName": "http", "discoveryName": "second", "clientAliases": [{"port": 80, "dnsName": "web"}]}]
    ecs = FakeEcs(task_definition(services=services))
    declare(store, "first", 80)
    handle(life("aa")[3], store, Lookups(lambda: ecs, lambda: ecs), NOW)
    (line,) = [each.__dict__ for each in caplog.records if each.getMessage().startswith("another service")]
    assert (line["service"], line["alias"], line["holder"]) == ("second", "web:80", "first")
