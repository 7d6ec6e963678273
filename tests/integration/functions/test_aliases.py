"""A name and port belong to the service that claimed them first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from reconciler.publications import Publications, Repaired
from registrar.app import handle
from registry.aws.ecs import Lookups
from registry.domain.bounds import ALIASES_PER_SERVICE
from registry.domain.offer import Alias
from registry.domain.service import Conflict, Declaration, ServiceRecord
from registry.dynamodb.store import Store, open_store
from registry.publishing import Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.building import record, task
from tests.support.control_plane.ecs import NAMESPACE, FakeEcs, life, task_definition
from tests.support.stepping import before_each_call

NOW = task("aa").changed_at + 3600
WEB = Alias("web", 80)


def said(service: str, *ports: int, name: str = "", at: float = 1.0) -> Declaration:
    """A definition says that a service is called web:80 and so on; without a name, the first one of the service."""
    return Declaration(name or f"{service}:1", "http", tuple(Alias("web", port) for port in ports), declared_at=at)


def declare(store: Store, service: str, *ports: int, name: str = "", at: float = 1.0) -> tuple[Conflict, ...]:
    return store.services.declare(NAMESPACE, service, said(service, *ports, name=name, at=at), NOW, task("aa"))


def run(store: Store, task_id: str, service: str, name: str = "", **changes: Any) -> None:
    store.tasks.apply(task(task_id, service, task_definition=name or f"{service}:1", **changes))


def stop(store: Store, task_id: str) -> None:
    store.tasks.apply(record("fargate_stopped", task_arn=task(task_id).task_arn))


def held(store: Store) -> dict[str, tuple[list[int], list[str]]]:
    """Ports of the aliases held, and holders of those wanted, by service."""
    services, holders = store.services.registered(NAMESPACE)
    return {
        name: (sorted(alias.port for alias in holders if holders[alias] == name), [c.holder for c in each.conflicts])
        for name, each in sorted(services.items())
    }


def published(store: Store) -> dict[str, list[int]]:
    """Ports of the aliases that callers get, by service."""
    head = store.snapshots.head(NAMESPACE, consistent=True)
    assert head is not None
    return {
        name: sorted(each["port"] for each in document["aliases"])
        for part in store.snapshots.readable(NAMESPACE, head).values()
        for name, document in part.services.items()
    }


def known(store: Store, service: str) -> ServiceRecord:
    found = store.services.get(NAMESPACE, service)
    assert found is not None
    return found


def repair(store: Store) -> Repaired:
    def warn(*_: object, **__: object) -> None:
        """Log nothing."""

    publications = Publications(store, Publisher(store, lambda: NOW, lambda _: None), NOW, warn)
    return publications.repair(NAMESPACE, list(store.tasks.all(NAMESPACE)))


def test_the_first_keeps_it_and_the_second_says_so(store: Store) -> None:
    assert declare(store, "first", 80) == ()
    assert declare(store, "second", 80, 81) == (Conflict(WEB, "first"),)
    assert held(store) == {"first": ([80], []), "second": ([81], ["first"])}
    assert declare(store, "second", 80, 81, at=2.0) == ()  # that is no news
    assert declare(store, "second", 80, 81, name="second:2", at=2.0) == (Conflict(WEB, "first"),)
    assert held(store) == {"first": ([80], []), "second": ([81], ["first"])}


def test_namespaces_do_not_share_names(store: Store) -> None:
    declare(store, "first", 80)
    assert store.services.declare("other.local", "second", said("second", 80), NOW, task("aa")) == ()


def test_an_alias_is_kept_until_the_last_task_that_declares_it_is_gone(store: Store) -> None:
    declare(store, "first", 80, 81)
    run(store, "aa", "first")
    declare(store, "second", 80)
    run(store, "bb", "second")
    declare(store, "first", 81, name="first:2", at=2.0)
    run(store, "cc", "first", name="first:2", created_at=task("cc").changed_at)
    assert repair(store).conflicts == 1
    assert published(store) == {"first": [80, 81], "second": []}
    stop(store, "aa")
    assert repair(store).conflicts == 0
    assert held(store) == {"first": ([81], []), "second": ([80], [])}
    assert published(store) == {"first": [81], "second": [80]}


def test_a_claim_whose_declaration_was_lost_is_released(store: Store) -> None:
    declare(store, "first", 81)
    store.services.aliases.claim(NAMESPACE, "first", [WEB])
    declare(store, "second", 80)
    run(store, "bb", "second")
    assert repair(store).conflicts == 0
    assert held(store) == {"first": ([81], []), "second": ([80], [])}


def test_a_claim_of_a_service_that_is_no_more_goes_to_one_that_wants_it(store: Store) -> None:
    store.services.aliases.claim(NAMESPACE, "ghost", [WEB, Alias("web", 81)])
    assert declare(store, "first", 80) == (Conflict(WEB, "ghost"),)
    repair(store)
    assert held(store) == {"first": ([80], [])}
    assert store.services.aliases.all(NAMESPACE) == {WEB: "first"}


def test_a_living_service_takes_the_alias_of_one_without_tasks(store: Store) -> None:
    declare(store, "first", 80)
    declare(store, "second", 80)
    run(store, "aa", "first")
    run(store, "bb", "second")
    assert repair(store).conflicts == 1
    assert held(store) == {"first": ([80], []), "second": ([], ["first"])}
    stop(store, "aa")
    assert repair(store).conflicts == 1
    assert held(store) == {"first": ([], ["second"]), "second": ([80], [])}
    # It is published, and the first one stays without when it comes back.
    assert published(store) == {"first": [], "second": [80]}
    run(store, "cc", "first")
    assert (repair(store).conflicts, held(store)["second"]) == (1, ([80], []))


def test_of_two_aliases_none_comes_to_stand_in_both_services(store: Store) -> None:
    declare(store, "b-x", 80, 81)
    declare(store, "a-y", 80)
    declare(store, "c-z", 81)
    run(store, "aa", "a-y")
    for _ in range(2):
        repair(store)
        assert published(store) == {"a-y": [80], "b-x": [81], "c-z": []}


def test_nothing_is_taken_while_neither_lives(store: Store) -> None:
    declare(store, "first", 80)
    declare(store, "second", 80)
    assert repair(store).conflicts == 1
    assert held(store)["first"] == ([80], [])


def test_a_service_declared_anew_meanwhile_gives_nothing_up(store: Store) -> None:
    declare(store, "first", 80)
    old = known(store, "first")
    declare(store, "first", 81, name="first:2", at=2.0)
    assert not store.services.shrink(NAMESPACE, old, old.declarations, [WEB])
    new = known(store, "first")
    assert store.services.shrink(NAMESPACE, new, new.declarations[:1], [WEB])
    assert held(store) == {"first": ([81], [])}


def test_an_alias_that_moved_meanwhile_is_left_alone(store: Store) -> None:
    declare(store, "first", 80)
    assert not store.services.aliases.move(NAMESPACE, WEB, "other", "second")
    assert not store.services.aliases.move(NAMESPACE, WEB, None, "second")
    assert store.services.aliases.move(NAMESPACE, WEB, "first", "second")
    assert store.services.aliases.all(NAMESPACE) == {WEB: "second"}


def test_all_that_a_definition_wants_is_claimed_at_once_or_not_at_all(
    store: Store, dynamodb_endpoint: str, table: str
) -> None:
    ports = range(80, 80 + ALIASES_PER_SERVICE)
    calls: list[str] = []
    with before_each_call(store, calls.append):
        declare(store, "first", *ports)
    assert held(store) == {"first": (list(ports), [])}
    assert [each.partition(" ")[0] for each in calls] == [
        "GetItem",  # the namespace's rules
        "GetItem",  # the service
        "Query",  # for a free VIP
        "TransactWriteItems",
        "BatchGetItem",
        "TransactWriteItems",
    ]


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
