"""What callers get of a service, for any mixture of tasks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.offer import Alias, Timeouts
from registry.domain.service import (
    MOST_DECLARATIONS,
    Conflict,
    Declaration,
    Document,
    ServiceRecord,
    configuration_of,
    declared,
    pruned,
)
from registry.domain.snapshot import iso
from tests.support.control_plane.building import service

OLD = Declaration("orders:7", "http", (Alias("orders", 80), Alias("orders.shop.local", 80)), Timeouts(5), 1.0)
NEW = Declaration("orders:8", "grpc", (Alias("neworders", 8080), Alias("orders", 80)), Timeouts(), 2.0)
ORDERS = service("orders", NEW, OLD)


def endpoint(task: str, name: str, state: str = "ready", at: float = 1.0) -> Document:
    return {"id": f"{task}/http", "task_definition": name, "state": state, "created_at": iso(at)}


def got(endpoints: list[Document], present: Document | None = None, record: ServiceRecord = ORDERS) -> Any:
    found = configuration_of(record, endpoints, present)
    return found.declared_by, found.protocol, [f"{each.dns_name}:{each.port}" for each in found.aliases]


def document(endpoints: list[Document], present: Document | None = None, record: ServiceRecord = ORDERS) -> Document:
    found = configuration_of(record, endpoints, present)
    aliases = [{"dns_name": each.dns_name, "port": each.port} for each in found.aliases]
    return {"declared_by": found.declared_by, "aliases": aliases, "endpoints": endpoints}


AS_OLD = ("orders:7", "http", ["orders:80", "orders.shop.local:80"])
AS_NEW = ("orders:8", "grpc", ["neworders:8080", "orders:80"])


@pytest.mark.parametrize("state", ["starting", "unhealthy", "draining"])
def test_a_task_that_is_not_ready_changes_nothing_for_the_ready_ones(state: str) -> None:
    assert got([endpoint("a", "orders:7"), endpoint("b", "orders:8", state, at=2.0)]) == AS_OLD


def test_a_deployment_that_failed_leaves_nothing_behind() -> None:
    before = document([endpoint("a", "orders:7")])
    during = document([endpoint("a", "orders:7"), endpoint("b", "orders:8", "unhealthy", at=2.0)], before)
    assert got([endpoint("a", "orders:7")], during) == AS_OLD
    assert got([], during) == AS_OLD


def test_the_newest_ready_task_decides_and_a_rollout_has_the_aliases_of_both() -> None:
    both = [endpoint("a", "orders:7"), endpoint("b", "orders:8", at=2.0)]
    assert got(both) == ("orders:8", "grpc", ["neworders:8080", "orders:80", "orders.shop.local:80"])
    rolled_back = [endpoint("b", "orders:8", at=2.0), endpoint("c", "orders:7", at=3.0)]
    assert got(rolled_back) == ("orders:7", "http", ["orders:80", "orders.shop.local:80", "neworders:8080"])


def test_an_alias_stays_until_the_last_task_that_declares_it_is_gone() -> None:
    present = document([endpoint("a", "orders:7")])
    leaving = [endpoint("a", "orders:7", "draining"), endpoint("b", "orders:8", at=2.0)]
    assert got(leaving, present) == ("orders:8", "grpc", ["neworders:8080", "orders:80", "orders.shop.local:80"])
    assert got(leaving[1:], document(leaving, present)) == AS_NEW


def test_a_service_without_tasks_stays_what_it_was() -> None:
    present = document([endpoint("a", "orders:7")])
    assert got([], present) == AS_OLD
    assert got([]) == AS_NEW  # nothing is known but the order of the declarations


def test_only_aliases_that_the_service_holds_are_listed() -> None:
    taken = dataclasses.replace(
        ORDERS, holders={Alias("orders", 80): "orders", Alias("orders.shop.local", 80): "other"}
    )
    assert got([endpoint("a", "orders:7")], record=taken) == ("orders:7", "http", ["orders:80"])
    assert taken.conflicts == (Conflict(Alias("orders.shop.local", 80), "other"),)


def test_declarations_are_in_order_and_more_tasks_of_the_latest_are_no_news() -> None:
    assert declared((), OLD) == (OLD,)
    assert declared((OLD,), NEW) == (NEW, OLD)
    assert declared((NEW, OLD), dataclasses.replace(NEW, declared_at=9.0)) is None
    assert declared((NEW, OLD), dataclasses.replace(OLD, declared_at=1.5)) is None
    again = dataclasses.replace(OLD, declared_at=3.0)
    assert declared((NEW, OLD), again) == (again, NEW)


def test_the_oldest_declarations_are_forgotten() -> None:
    known: tuple[Declaration, ...] = ()
    for number in range(1, MOST_DECLARATIONS + 3):
        known = (
            declared(known, dataclasses.replace(OLD, task_definition=f"orders:{number}", declared_at=number)) or known
        )
    assert [each.task_definition for each in known] == [f"orders:{n}" for n in range(MOST_DECLARATIONS + 2, 2, -1)]
    assert declared(known, dataclasses.replace(OLD, task_definition="orders:1", declared_at=1.0)) is None


def test_a_declaration_is_kept_for_living_tasks_and_for_callers() -> None:
    assert pruned(ORDERS, {"orders:7", "orders:8"}, None) == (NEW, OLD)
    assert pruned(ORDERS, {"orders:7"}, None) == (OLD,)
    assert pruned(ORDERS, {"orders:8"}, {"declared_by": "orders:7"}) == (NEW, OLD)
    assert pruned(ORDERS, (), {"declared_by": "orders:7"}) == (OLD,)
    assert pruned(ORDERS, (), {"declared_by": "orders:1"}) == (NEW,)


NAMES = ("orders:7", "orders:8", "orders:9")
DECLARATIONS = st.sets(st.sampled_from(["a", "b", "c", "d"]), min_size=1).map(
    lambda names: tuple(Alias(name, 80) for name in sorted(names))
)
TASKS = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.sampled_from(["starting", "ready", "unhealthy", "draining"]), st.integers(0, 9)
    )
)


@given(st.tuples(DECLARATIONS, DECLARATIONS, DECLARATIONS), st.lists(TASKS, max_size=4))
def test_what_callers_get_is_that_of_tasks_which_are_or_were_ready(aliases: Any, steps: Any) -> None:
    said = [
        Declaration(name, "http", each, declared_at=n)
        for n, (name, each) in enumerate(zip(NAMES, aliases, strict=True))
    ]
    record = service("orders", *reversed(said))
    wants = {each.task_definition: {alias.dns_name for alias in each.aliases} for each in said}
    present: Document | None = None
    were_ready: set[str] = set()
    for step in steps:
        endpoints = [endpoint(f"t{n}", name, state, at) for n, (name, state, at) in enumerate(step)]
        present = document(endpoints, present, record)
        assert document(endpoints, present, record) == present, "to build again changes something"
        found = {each["dns_name"] for each in present["aliases"]}
        ready = [(at, f"t{n}/http", name) for n, (name, state, at) in enumerate(step) if state == "ready"]
        were_ready |= {name for _, _, name in ready}
        for _, _, name in ready:
            assert wants[name] <= found
        if ready:
            assert present["declared_by"] == max(ready)[2]
        if were_ready:
            assert present["declared_by"] in were_ready
        allowed = {name for name, _, _ in step} | {present["declared_by"]}
        assert found <= set().union(*(wants[name] for name in allowed))
