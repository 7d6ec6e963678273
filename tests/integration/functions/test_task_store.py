from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.domain.events import parse_event
from registry.domain.reports import Finding, Health, Level, TaskReport
from registry.domain.rules import TaskRecord, apply_report, entomb, record_of
from registry.dynamodb.store import Store
from registry.dynamodb.task_store import ReportOutcome
from tests.support.control_plane.building import definition, record, task
from tests.support.control_plane.ecs import NAMESPACE, life
from tests.support.control_plane.registry_model import apply_record

ID = record().task_id
CHECK = {"command": ["CMD", "true"]}


def health(status: Health, at: float) -> TaskReport:
    return TaskReport(at, status, at)


def stored(store: Store, task_id: str = ID) -> TaskRecord | None:
    return store.tasks.get(NAMESPACE, task_id)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"address": None, "zone": None, "started_at": None, "health_wait": 37.5},
        {"endpoints": ()},
        {"version": 0},
    ],
)
def test_what_is_written_is_read_back(store: Store, changes: dict[str, Any]) -> None:
    written = record(**changes)
    assert store.tasks.apply(written)
    assert stored(store) == written


def test_tombstones_and_endpoints_without_port_are_read_back(store: Store) -> None:
    bridge = definition(name="orders-bridge:2", network_mode="bridge")
    late = record_of(parse_event(life("aa")[0]), bridge, None)
    assert store.tasks.apply(late)
    assert stored(store, "aa") == late
    assert store.tasks.apply(record("fargate_stopped"))
    assert stored(store) == record("fargate_stopped")


def test_facts_that_a_later_version_no_longer_tells_are_gone(store: Store) -> None:
    store.tasks.apply(record(version=3, address="10.0.0.1"))
    store.tasks.apply(record(version=4, address=None))
    found = stored(store)
    assert found is not None
    assert found.address is None


def test_older_and_equal_versions_are_refused(store: Store) -> None:
    assert store.tasks.apply(record(version=5))
    assert not store.tasks.apply(record(version=5, zone="elsewhere"))
    assert not store.tasks.apply(record(version=4, zone="elsewhere"))
    assert stored(store) == record(version=5)


def test_a_tombstone_is_never_revived(store: Store) -> None:
    assert store.tasks.apply(record("fargate_stopped"))
    assert not store.tasks.apply(record(version=99))
    assert store.tasks.apply(record("fargate_stopped", version=100))


def test_reads_of_many_leave_out_the_unknown(store: Store) -> None:
    store.tasks.apply(task("aa"))
    store.tasks.apply(task("bb"))
    assert set(store.tasks.get_all(NAMESPACE, ["aa", "bb", "cc"])) == {"aa", "bb"}
    assert store.tasks.get_all(NAMESPACE, []) == {}
    assert {each.task_id for each in store.tasks.all(NAMESPACE)} == {"aa", "bb"}
    assert list(store.tasks.all("other")) == []


def test_more_tasks_than_one_batch(store: Store) -> None:
    ids = [f"{number:03d}" for number in range(101)]
    for each in ids:
        store.tasks.apply(task(each))
    assert set(store.tasks.get_all(NAMESPACE, ids)) == set(ids)
    assert len(list(store.tasks.all(NAMESPACE))) == 101


def test_namespaces_are_listed_once(store: Store) -> None:
    for name in ("b.local", "a.local", "b.local"):
        store.tasks.ensure_namespace(name, 1.0)
    assert store.tasks.namespaces() == ["a.local", "b.local"]


def test_health_is_kept_by_time_and_survives_events(store: Store) -> None:
    store.tasks.apply(record())
    assert store.tasks.report(NAMESPACE, ID, health(Health.HEALTHY, 100.0)) is ReportOutcome.APPLIED
    assert store.tasks.report(NAMESPACE, ID, health(Health.UNHEALTHY, 100.0)) is ReportOutcome.STALE
    assert store.tasks.report(NAMESPACE, ID, health(Health.UNHEALTHY, 99.5)) is ReportOutcome.STALE
    store.tasks.apply(record(version=4))
    found = stored(store)
    assert found is not None
    assert (found.health, found.health_at) == (Health.HEALTHY, 100.0)


def test_a_report_that_says_what_is_known_is_not_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.tasks.apply(record())
    report = TaskReport(100.0, Health.HEALTHY, 100.0, is_stopping=True, findings=tuple(FINDINGS))
    assert store.tasks.report(NAMESPACE, ID, report) is ReportOutcome.APPLIED
    written = stored(store)
    monkeypatch.setattr(store.tasks, "_update", lambda *_: pytest.fail("the same report was written again"))
    for at in (99.0, 100.0, 200.0):
        again = replace(report, at=at, health_at=at)
        assert store.tasks.report(NAMESPACE, ID, again) is ReportOutcome.UNCHANGED
    assert stored(store) == written


def test_a_report_that_loses_against_an_event_is_compared_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.tasks.apply(record())
    read = store.tasks.get

    def read_and_stop(namespace: str, task_id: str) -> TaskRecord | None:
        known = read(namespace, task_id)
        store.tasks.apply(record("fargate_stopped"))
        return known

    monkeypatch.setattr(store.tasks, "get", read_and_stop)
    assert store.tasks.report(NAMESPACE, ID, health(Health.HEALTHY, 1.0)) is ReportOutcome.UNKNOWN_TASK
    assert read(NAMESPACE, ID) == record("fargate_stopped")


def test_nobody_reports_for_the_dead_or_unknown(store: Store) -> None:
    assert store.tasks.report(NAMESPACE, ID, health(Health.HEALTHY, 1.0)) is ReportOutcome.UNKNOWN_TASK
    assert stored(store) is None
    store.tasks.apply(record("fargate_stopped"))
    assert store.tasks.report(NAMESPACE, ID, health(Health.HEALTHY, 1.0)) is ReportOutcome.UNKNOWN_TASK
    assert stored(store) == record("fargate_stopped")


def test_a_wait_that_is_over_is_kept(store: Store) -> None:
    waiting = record(health_wait=480.0)
    store.tasks.apply(waiting)
    assert store.tasks.mark_waited(waiting)
    store.tasks.apply(record(health_wait=480.0, version=4))
    found = stored(store)
    assert found is not None
    assert found.waited
    assert not store.tasks.mark_waited(waiting)  # it was read at another version


def test_entombing_needs_the_task_as_it_was_read(store: Store) -> None:
    known = record()
    store.tasks.apply(known)
    store.tasks.report(NAMESPACE, ID, health(Health.HEALTHY, 5.0))
    assert not store.tasks.entomb(record(version=2), 1000.0)
    assert store.tasks.entomb(known, 1000.0)
    assert not store.tasks.entomb(known, 1000.0)
    assert stored(store) == entomb(known, 1000.0)


LIFE = [record_of(parse_event(each), definition(health_check=CHECK), None) for each in life("0123abcd")]
EVENTS = st.sampled_from(LIFE)
FINDINGS = [
    Finding("TRM0301", Level.ERROR, "orders:80", "Two listeners want the port.", "Give the app another port."),
    Finding("TRM0302", Level.WARNING, "/etc/hosts", "The file cannot be written.", "Mount it."),
]
TIMES = st.integers(1, 50).map(float)
REPORTS = st.builds(
    TaskReport,
    at=TIMES,
    health=st.none() | st.sampled_from(Health),
    health_at=TIMES,
    is_stopping=st.booleans(),
    findings=st.none() | st.lists(st.sampled_from(FINDINGS), max_size=2).map(tuple),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(EVENTS | REPORTS, min_size=1, max_size=10))
def test_the_store_does_what_the_rules_say(store: Store, steps: list[TaskRecord | TaskReport]) -> None:
    """Any order and repetition of events and reports: item and rule agree after every step."""
    namespace = f"n{uuid.uuid4().hex}"
    known: TaskRecord | None = None
    for step in steps:
        if isinstance(step, TaskRecord):
            store.tasks.apply(_in(namespace, step))
            known = apply_record(known, _in(namespace, step))
        else:
            store.tasks.report(namespace, "0123abcd", step)
            known = apply_report(known, step)
        assert store.tasks.get(namespace, "0123abcd") == known


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(LIFE), again=st.lists(EVENTS, max_size=4))
def test_any_order_with_any_repetition_leaves_the_same_item(
    store: Store, order: list[TaskRecord], again: list[TaskRecord]
) -> None:
    namespace = f"n{uuid.uuid4().hex}"
    for each in [*again[:2], *order, *again[2:]]:
        store.tasks.apply(_in(namespace, each))
    assert store.tasks.get(namespace, "0123abcd") == _in(namespace, LIFE[-1])


def _in(namespace: str, each: TaskRecord) -> TaskRecord:
    return replace(each, namespace=namespace)


def test_a_query_tells_the_same_as_a_read_of_one_item(store: Store) -> None:
    full = record(started_at=1_795_345_200.25, health_wait=90.5)
    bare = record("eni_late", task_arn=task("bb").task_arn)
    gone = record("fargate_stopped", task_arn=task("cc").task_arn)
    for each in (full, bare, gone):
        store.tasks.apply(each)
    store.tasks.report(NAMESPACE, full.task_id, health(Health.UNHEALTHY, 1_795_345_300.125))
    store.tasks.mark_waited(full)
    for consistent in (True, False):
        found = {each.task_id: each for each in store.tasks.all(NAMESPACE, consistent)}
        assert found == store.tasks.get_all(NAMESPACE, found)
        assert found[full.task_id].health_at == 1_795_345_300.125
        assert found["cc"].gone


def test_a_long_query_is_read_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.dynamodb.task_store.READ_AT_ONCE", 2)
    for number in range(5):
        store.tasks.apply(task(f"t{number}"))
    assert [each.task_id for each in store.tasks.all(NAMESPACE)] == [f"t{number}" for number in range(5)]
