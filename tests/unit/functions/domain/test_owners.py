from __future__ import annotations

from typing import Any

import pytest

from registry.domain.owners import NamespaceRules, principals_of
from tests.support.control_plane.building import service, task

SERVICE = "arn:aws:ecs:us-east-1:123456789012:service/example/orders"
ROLE = "arn:aws:iam::123456789012:role/orders"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/example"
EVIL: dict[str, Any] = {
    "group": "service:evil",
    "cluster_arn": "arn:aws:ecs:us-east-1:123456789012:cluster/sandbox",
    "task_role": "arn:aws:iam::123456789012:role/evil",
}


def test_a_task_claims_names_as_its_service_and_its_role() -> None:
    assert principals_of(task("aa")) == (SERVICE, ROLE)
    assert principals_of(task("aa", task_role=None)) == (SERVICE,)


@pytest.mark.parametrize(
    "alone", [{"group": "family:orders"}, {"started_by": "somebody"}, {"started_by": None}, {"group": None}]
)
def test_a_task_that_no_service_started_claims_as_its_role_or_its_family(alone: dict[str, Any]) -> None:
    assert principals_of(task("aa", **alone)) == (ROLE,)
    assert principals_of(task("aa", task_role=None, **alone)) == (f"{CLUSTER}/family/orders",)


@pytest.mark.parametrize(
    ("changes", "admitted"),
    [
        ({}, True),
        ({"task_definition": "orders:99"}, True),
        ({"task_role": "arn:aws:iam::123456789012:role/renamed"}, True),
        ({"group": "service:orders-v2"}, True),
        (EVIL, False),
        ({**EVIL, "group": "service:orders"}, False),
        (
            {**EVIL, "cluster_arn": "arn:aws:ecs:us-east-1:999999999999:cluster/example", "group": "service:orders"},
            False,
        ),
        ({"group": "family:orders", "task_role": None}, False),
    ],
)
def test_a_name_belongs_to_the_service_and_the_role_that_claimed_it(changes: dict[str, Any], admitted: bool) -> None:
    owned = service("orders", owners=(SERVICE, ROLE))
    reason = owned.refusal(task("aa", **changes))
    assert reason == (None if admitted else f"the name belongs to {SERVICE} and {ROLE}")


def test_an_operator_allows_a_service_or_a_role() -> None:
    claimant = task("aa", **EVIL)
    for principal in principals_of(claimant):
        assert service("orders", owners=(SERVICE, ROLE), allowed=(principal,)).refusal(claimant) is None


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (NamespaceRules(clusters=("example",)), "the namespace does not let in cluster sandbox"),
        (NamespaceRules(clusters=(CLUSTER,)), "the namespace does not let in cluster sandbox"),
        (NamespaceRules(accounts=("999999999999",)), "the namespace does not let in account 123456789012"),
        (NamespaceRules(roles=(ROLE,)), "the namespace does not let in task role arn:aws:iam::123456789012:role/evil"),
        (NamespaceRules(clusters=("sandbox", "example"), accounts=("123456789012",)), None),
        (NamespaceRules(), None),
    ],
)
def test_the_rules_of_a_namespace_come_before_its_owners(rules: NamespaceRules, reason: str | None) -> None:
    assert rules.refusal(task("aa", **EVIL)) == reason
    mine = service("orders", owners=principals_of(task("aa", **EVIL)), rules=rules)
    assert mine.refusal(task("aa", **EVIL)) == reason


def test_rules_are_written_as_they_are_read() -> None:
    rules = NamespaceRules(clusters=("example",), dns_suffixes=("example.com",))
    assert rules.document() == {"clusters": ["example"], "dns_suffixes": ["example.com"]}
    assert NamespaceRules.from_document({**rules.document(), "later": [1]}) == rules
