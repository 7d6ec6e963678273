"""A stolen name gets no traffic, until an operator says otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.publications import Publications, Repaired
from registrar.app import handle
from registry.aws.ecs import Lookups
from registry.domain.owners import NamespaceRules
from registry.domain.snapshot import Document
from registry.dynamodb.owner_store import KEPT_SECONDS, RulesConflictError
from registry.dynamodb.store import Store
from registry.publishing import Changes, Publisher
from tests.support.control_plane.ecs import ACCOUNT, NAMESPACE, FakeEcs, definition_arn, event, task_definition

NOW = 1_795_376_000.0
OWNER = f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/example/orders"
THIEF = f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/sandbox/evil"
STS = "sts.us-east-1.amazonaws.com"


def started(task_id: str, family: str, cluster: str = "example") -> dict[str, Any]:
    found = event("fargate_running")
    detail = found["detail"]
    detail |= {
        "taskArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/{cluster}/{task_id}",
        "clusterArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/{cluster}",
        "taskDefinitionArn": definition_arn(f"{family}:1"),
        "group": f"service:{family}",
    }
    return found


@pytest.fixture
def lookups() -> Lookups:
    def offering(family: str, protocol: str, *aliases: dict[str, Any]) -> dict[str, Any]:
        services = [{"portName": "http", "discoveryName": "orders", "clientAliases": [{"port": 80}, *aliases]}]
        return task_definition(f"{family}:1", services=services, app_protocol=protocol, role=family)

    ecs = FakeEcs(offering("orders", "http"), offering("evil", "grpc", {"port": 443, "dnsName": STS}))
    return Lookups(lambda: ecs, lambda: ecs)


def repair(store: Store, now: float = NOW) -> Repaired:
    def warn(*_: object, **__: object) -> None:
        """Log nothing."""

    publications = Publications(store, Publisher(store, lambda: now, lambda _: None), now, warn)
    return publications.repair(NAMESPACE, list(store.tasks.all(NAMESPACE)))


def published(store: Store) -> Document:
    head = store.snapshots.head(NAMESPACE, consistent=True)
    assert head is not None
    (found,) = [d for part in store.snapshots.readable(NAMESPACE, head).values() for d in part.services.values()]
    return found


def served(store: Store) -> tuple[str, list[str], list[str]]:
    """Protocol, names and tasks of the one service."""
    found = published(store)
    names = sorted({each["dns_name"] for each in found["aliases"]})
    return found["protocol"], names, [each["id"].partition("/")[0] for each in found["endpoints"]]


MINE = ("http", ["orders", "orders.shop.local"], ["aa"])


def test_a_stolen_name_changes_nothing_and_is_shown_with_both_sides(
    store: Store, lookups: Lookups, caplog: pytest.LogCaptureFixture
) -> None:
    handle(started("aa", "orders"), store, lookups, NOW)
    handle(started("bb", "evil", "sandbox"), store, lookups, NOW)
    Publisher(store, lambda: NOW, lambda _: None).publish(NAMESPACE, Changes(frozenset({"aa", "bb"})))
    assert served(store) == MINE
    repaired = repair(store)
    assert (repaired.refused, repaired.drift, repaired.undeclared) == (1, 0, frozenset())
    assert served(store) == MINE
    (claim,) = store.owners.refused(NAMESPACE, NOW)["orders"]
    assert (claim.claimant, claim.task_definition) == (THIEF, "evil:1")
    assert claim.reason.startswith(f"the name belongs to {OWNER} and ")
    (line,) = [each.__dict__ for each in caplog.records if "may not offer" in each.getMessage()]
    assert (line["service"], line["claimant"]) == ("orders", THIEF)
    assert store.owners.refused(NAMESPACE, NOW + KEPT_SECONDS + 1) == {}


def test_an_operator_allows_a_claimant_and_takes_it_back(store: Store, lookups: Lookups) -> None:
    handle(started("aa", "orders"), store, lookups, NOW)
    handle(started("bb", "evil", "sandbox"), store, lookups, NOW)
    repair(store)
    assert store.services.set_allowed(NAMESPACE, "ghost", [THIEF], None) is None
    allowed = store.services.set_allowed(NAMESPACE, "orders", [THIEF], 0)
    assert allowed is not None
    assert allowed.allowed == (THIEF,)
    repaired = repair(store)
    assert (repaired.refused, len(repaired.undeclared)) == (0, 1)  # which the sweep declares
    assert served(store)[2] == ["aa", "bb"]
    store.services.set_allowed(NAMESPACE, "orders", [], None)
    assert repair(store).refused == 1
    assert served(store) == MINE


def test_a_namespace_lets_in_whom_its_rules_name(store: Store, lookups: Lookups) -> None:
    store.owners.set_rules(NAMESPACE, NamespaceRules(clusters=("example",)), None, NOW)
    handle(started("bb", "evil", "sandbox"), store, lookups, NOW)
    assert store.services.all(NAMESPACE) == {}
    (claim,) = store.owners.refused(NAMESPACE, NOW)["orders"]
    assert claim.reason == "the namespace does not let in cluster sandbox"
    handle(started("aa", "orders"), store, lookups, NOW)
    assert repair(store).refused == 1
    assert served(store) == MINE


def test_public_names_need_the_rules_of_the_namespace(store: Store, lookups: Lookups) -> None:
    handle(started("bb", "evil"), store, lookups, NOW)
    repair(store)
    assert served(store) == ("grpc", ["orders", "orders.shop.local"], ["bb"])
    known = store.services.get(NAMESPACE, "orders")
    assert known is not None
    assert [each.dns_name for each in known.refused_aliases] == [STS]
    store.owners.set_rules(NAMESPACE, NamespaceRules(dns_suffixes=("amazonaws.com",)), None, NOW)
    repair(store)
    assert served(store)[1] == ["orders", "orders.shop.local", STS]
    store.owners.set_rules(NAMESPACE, NamespaceRules(), None, NOW)
    repair(store)
    assert served(store)[1] == ["orders", "orders.shop.local"]


def test_rules_are_changed_by_who_knows_them(store: Store) -> None:
    first = store.owners.set_rules(NAMESPACE, NamespaceRules(clusters=("a",)), 0, NOW)
    assert (first.revision, store.owners.rules(NAMESPACE)) == (1, first)
    with pytest.raises(RulesConflictError) as caught:
        store.owners.set_rules(NAMESPACE, NamespaceRules(), 0, NOW)
    assert caught.value.revision == 1
    assert store.tasks.namespaces() == [NAMESPACE]
