from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.definition import parse
from registry.domain.events import parse_event, parse_task
from registry.domain.offer import Definition
from registry.domain.reports import Finding, Health, Level, TaskReport
from registry.domain.rules import (
    TOMBSTONE_SECONDS,
    Endpoint,
    State,
    TaskRecord,
    accepts,
    apply_report,
    entomb,
    health_of,
    is_over,
    lacks_address,
    record_of,
    sight,
    since_of,
    state_of,
    wait_is_over,
)
from tests.support.control_plane.ecs import event, life, task_definition
from tests.support.control_plane.registry_model import apply_record

CHECK = {"command": ["CMD", "true"], "interval": 300, "retries": 10}


def definition(**arguments: Any) -> Definition:
    found = parse(task_definition(**arguments))
    assert found is not None
    return found


def record(name: str = "fargate_running", **changes: Any) -> TaskRecord:
    return dataclasses.replace(record_of(parse_event(event(name)), definition(), None), **changes)


def fold(records: Sequence[TaskRecord]) -> TaskRecord:
    known: TaskRecord | None = None
    for each in records:
        known = apply_record(known, each)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("last", "desired", "expected"),
    [
        ("PROVISIONING", "RUNNING", State.STARTING),
        ("PENDING", "RUNNING", State.STARTING),
        ("ACTIVATING", "RUNNING", State.STARTING),
        ("RUNNING", "RUNNING", State.READY),
        ("PENDING", "STOPPED", State.DRAINING),
        ("RUNNING", "STOPPED", State.DRAINING),
        ("DEACTIVATING", "RUNNING", State.DRAINING),
        ("DEACTIVATING", "STOPPED", State.DRAINING),
        ("STOPPING", "STOPPED", State.DRAINING),
        ("DEPROVISIONING", "STOPPED", State.DRAINING),
        ("STOPPED", "STOPPED", State.GONE),
        ("STOPPED", "RUNNING", State.GONE),
        ("DELETED", "STOPPED", State.GONE),
        ("HIBERNATING", "RUNNING", State.STARTING),
        ("HIBERNATING", "STOPPED", State.DRAINING),
    ],
)
def test_states_by_status(last: str, desired: str, expected: State) -> None:
    changed = event("fargate_running")
    changed["detail"].update(lastStatus=last, desiredStatus=desired)
    task = parse_event(changed)
    assert state_of(record_of(task, definition(), None)) is expected
    assert is_over(task) is (expected is State.GONE)


@pytest.mark.parametrize(
    ("health_wait", "health", "waited", "expected"),
    [
        (None, None, False, State.READY),
        (None, Health.UNHEALTHY, False, State.UNHEALTHY),
        (None, Health.HEALTHY, False, State.READY),
        (480.0, None, False, State.STARTING),
        (480.0, None, True, State.READY),
        (480.0, Health.HEALTHY, False, State.READY),
        (480.0, Health.UNHEALTHY, False, State.UNHEALTHY),
        (480.0, Health.UNHEALTHY, True, State.UNHEALTHY),
    ],
)
def test_states_of_a_running_task(
    health_wait: float | None, health: Health | None, waited: bool, expected: State
) -> None:
    assert state_of(record(health_wait=health_wait, health=health, waited=waited)) is expected


@pytest.mark.parametrize("name", ["fargate_draining", "fargate_stopped"])
def test_health_means_nothing_to_a_task_on_its_way_out(name: str) -> None:
    expected = state_of(record(name))
    assert state_of(record(name, health=Health.UNHEALTHY)) is expected
    assert state_of(record(name, health=Health.HEALTHY)) is expected


def test_since_is_when_the_state_was_reached() -> None:
    running = record()
    assert running.started_at is not None
    assert since_of(running) == running.started_at
    assert since_of(record(started_at=None)) == running.changed_at
    assert since_of(record(health_wait=480.0, waited=True)) == running.started_at + 480
    later = running.started_at + 20
    assert since_of(record(health_wait=480.0, health=Health.HEALTHY, health_at=later)) == later
    assert since_of(record(health=Health.UNHEALTHY, health_at=later)) == later
    assert since_of(record(health=Health.HEALTHY, health_at=running.started_at - 5)) == running.started_at
    assert since_of(record(health_wait=480.0)) == running.created_at
    draining, gone = record("fargate_draining"), record("fargate_stopped")
    assert since_of(draining) == draining.stopping_at
    assert since_of(record("fargate_draining", stopping_at=None)) == draining.changed_at
    assert since_of(gone) == gone.stopped_at


def test_the_address_of_a_bridge_task_is_its_hosts() -> None:
    bridge = definition(name="orders-bridge:2", network_mode="bridge")
    found = record_of(parse_event(event("ec2_bridge")), bridge, "10.0.9.9")
    assert found.address == "10.0.9.9"
    assert [(each.service, each.port, each.container_port) for each in found.endpoints] == [("orders", 32770, 8080)]


def test_a_bridge_port_may_come_late() -> None:
    bridge = definition(name="orders-bridge:2", network_mode="bridge")
    found = record_of(parse_event(event("ec2_bridge_bindings_late")), bridge, "10.0.9.9")
    assert [each.port for each in found.endpoints] == [None]


def test_a_host_mode_task_has_its_hosts_address_and_its_own_port() -> None:
    found = record_of(parse_event(event("ec2_bridge")), definition(network_mode="host"), "10.0.9.9")
    assert (found.address, found.endpoints[0].port) == ("10.0.9.9", 15100)


@pytest.mark.parametrize(
    ("group", "started_by", "of_a_service"),
    [
        ("service:orders", "ecs-svc/1", True),
        ("family:orders", "ecs-svc/1", False),
        ("service:orders", "somebody", False),
        ("service:orders", None, False),
        ("family:orders", None, False),
        (None, None, False),
    ],
)
def test_a_task_that_no_service_started_offers_nothing_unless_its_label_says_so(
    group: str | None, started_by: str | None, of_a_service: bool
) -> None:
    started = event("fargate_running")
    started["detail"] |= {"group": group, "startedBy": started_by}
    task = parse_event(started)
    assert bool(record_of(task, definition(), None).endpoints) is of_a_service
    alone = dataclasses.replace(definition(), standalone=True)
    assert len(record_of(task, alone, None).endpoints) == 1


def test_a_task_has_the_role_of_its_definition_or_the_one_that_runtask_gave() -> None:
    assert record().task_role == "arn:aws:iam::123456789012:role/orders"
    started = event("fargate_running")
    started["detail"]["overrides"]["taskRoleArn"] = "arn:aws:iam::123456789012:role/other"
    assert record_of(parse_event(started), definition(), None).task_role == "arn:aws:iam::123456789012:role/other"


def test_tombstones_expire() -> None:
    gone = record("fargate_stopped")
    assert gone.gone
    assert gone.stopped_at is not None
    assert gone.expires_at == int(gone.stopped_at) + TOMBSTONE_SECONDS
    assert record().expires_at is None


def test_equal_and_lower_versions_change_nothing() -> None:
    known = record(version=5)
    assert apply_record(known, record(version=5, zone="elsewhere")) is known
    assert apply_record(known, record(version=4, zone="elsewhere")) is known
    assert apply_record(known, record(version=6, zone="elsewhere")).zone == "elsewhere"


def test_a_tombstone_is_never_revived() -> None:
    gone = record("fargate_stopped")
    assert apply_record(gone, record(version=99)) is gone
    assert not accepts(gone, 99, gone=False)
    later = record("fargate_stopped", version=99, stopped_reason="said later")
    assert apply_record(gone, later).stopped_reason == "said later"


def test_health_survives_events_but_not_the_task() -> None:
    healthy = apply_report(record(), TaskReport(100.0, Health.HEALTHY, 100.0))
    assert healthy is not None
    assert apply_record(healthy, record(version=4)).health is Health.HEALTHY
    gone = apply_record(healthy, record("fargate_stopped"))
    assert (gone.health, gone.health_at, gone.waited) == (None, None, False)


def test_the_latest_health_report_wins() -> None:
    healthy = apply_report(record(), TaskReport(100.0, Health.HEALTHY, 100.0))
    assert apply_report(healthy, TaskReport(99.0, Health.UNHEALTHY, 99.0)) is healthy
    assert apply_report(healthy, TaskReport(100.0, Health.UNHEALTHY, 100.0)) is healthy
    changed = apply_report(healthy, TaskReport(101.0, Health.UNHEALTHY, 101.0))
    assert changed is not None
    assert changed.health is Health.UNHEALTHY


def test_a_report_of_the_health_that_is_known_is_no_news() -> None:
    healthy = apply_report(record(), TaskReport(100.0, Health.HEALTHY, 100.0))
    assert apply_report(healthy, TaskReport(200.0, Health.HEALTHY, 200.0)) is healthy


FINDING = Finding("TRM0301", Level.ERROR, "orders:80", "Two listeners want the port.", "Give the app another port.")


def test_a_task_that_must_stop_drains_whatever_comes_later() -> None:
    stopping = apply_report(record(version=2), TaskReport(100.0, is_stopping=True))
    assert stopping is not None
    assert (state_of(stopping), since_of(stopping)) == (State.DRAINING, 100.0)
    assert apply_report(stopping, TaskReport(200.0, is_stopping=True)) is stopping
    healthy = apply_report(stopping, TaskReport(300.0, Health.HEALTHY, 300.0, findings=()))
    assert healthy is not None
    assert state_of(healthy) is State.DRAINING
    late = apply_record(healthy, record(version=3))
    assert late.desired_status == "RUNNING"
    assert state_of(late) is State.DRAINING
    assert not wait_is_over(dataclasses.replace(late, health=None, health_wait=1.0), 1e12)
    assert state_of(apply_record(late, record("fargate_stopped"))) is State.GONE


def test_findings_are_kept_until_the_next_ones() -> None:
    found = apply_report(record(), TaskReport(1.0, findings=(FINDING,)))
    assert found is not None
    assert found.findings == (FINDING,)
    assert apply_report(found, TaskReport(2.0, findings=(FINDING,))) is found
    assert apply_record(found, record(version=9)).findings == (FINDING,)
    healthy = apply_report(found, TaskReport(3.0, Health.HEALTHY, 3.0))
    assert healthy is not None
    assert healthy.findings == (FINDING,)
    none = apply_report(healthy, TaskReport(4.0, findings=()))
    assert none is not None
    assert none.findings == ()


def test_nobody_reports_for_the_dead_or_unknown() -> None:
    gone = record("fargate_stopped")
    assert apply_report(gone, TaskReport(1e12, Health.HEALTHY, 1e12)) is gone
    assert apply_report(None, TaskReport(1.0, Health.HEALTHY, 1.0)) is None


def test_the_wait_for_health_ends() -> None:
    waiting = record(health_wait=480.0)
    assert waiting.started_at is not None
    end = waiting.started_at + 480
    assert not wait_is_over(waiting, end - 0.001)
    assert wait_is_over(waiting, end)
    assert wait_is_over(record(health_wait=480.0, started_at=None), waiting.changed_at + 480)


@pytest.mark.parametrize(
    "other",
    [
        record(),
        record(health_wait=480.0, waited=True),
        record(health_wait=480.0, health=Health.UNHEALTHY),
        record(health_wait=480.0, last_status="PENDING"),
        record("fargate_draining", health_wait=480.0),
        record("fargate_stopped", health_wait=480.0),
    ],
)
def test_only_a_waiting_task_has_a_wait_that_ends(other: TaskRecord) -> None:
    assert not wait_is_over(other, 1e12)


def test_entombing() -> None:
    known = record(health=Health.HEALTHY, health_at=1.0, waited=True, stop_seen_at=1.0, findings=(FINDING,))
    tomb = entomb(known, 1000.0)
    assert state_of(tomb) is State.GONE
    assert tomb.expires_at == 1000 + TOMBSTONE_SECONDS
    assert (tomb.health, tomb.stop_seen_at, tomb.findings) == (None, None, ())
    assert entomb(tomb, 2000.0) is tomb
    assert tomb.absent_at == 1000.0


def test_only_a_tombstone_made_of_absence_yields() -> None:
    absent = entomb(record(version=3), 1000.0)
    assert sight(absent) == record(version=3)
    assert apply_record(absent, record(version=4)) == record(version=4)
    assert apply_record(absent, record(version=3)) is absent
    stopped = record("fargate_stopped", version=3)
    assert sight(stopped) is stopped
    assert apply_record(stopped, record(version=4)) is stopped


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("fargate_running", {}, False),
        ("fargate_running", {"address": None}, True),
        ("fargate_running", {"address": None, "endpoints": ()}, False),
        ("fargate_running", {"endpoints": (Endpoint("orders", "http", "http", None, 8080),)}, True),
        ("fargate_draining", {"address": None}, False),
        ("fargate_stopped", {"address": None}, False),
    ],
)
def test_whose_endpoints_nobody_can_reach(name: str, changes: dict[str, Any], expected: bool) -> None:
    assert lacks_address(record(name, **changes)) is expected


LIFE = [record_of(parse_event(each), definition(health_check=CHECK), None) for each in life("0123abcd")]


@given(st.data())
def test_any_order_with_any_repetition_ends_in_the_same_record(data: st.DataObject) -> None:
    seen = data.draw(st.lists(st.sampled_from(LIFE), min_size=1, max_size=24))
    last = max(seen, key=lambda each: each.version)
    assert fold(seen) == last
    everything = data.draw(st.permutations(LIFE + seen))
    assert fold(everything) == fold(LIFE) == LIFE[-1]


@given(
    st.permutations(LIFE),
    st.lists(st.tuples(st.integers(0, len(LIFE)), st.sampled_from(Health), st.floats(0, 1e9)), max_size=6),
)
def test_health_reports_between_events_leave_no_trace_on_a_tombstone(
    events: list[TaskRecord], reports: list[tuple[int, Health, float]]
) -> None:
    known: TaskRecord | None = None
    for place, each in enumerate(events):
        for at_place, health, at in reports:
            if at_place == place:
                known = apply_report(known, TaskReport(at, health, at))
        known = apply_record(known, each)
    assert known == LIFE[-1]


@given(st.permutations(LIFE[:4]), st.lists(st.tuples(st.sampled_from(Health), st.integers(0, 99)), max_size=5))
def test_health_reports_of_a_living_task_end_with_the_latest(
    events: list[TaskRecord], reports: list[tuple[Health, int]]
) -> None:
    reports = [(health, at) for at, health in sorted({at: health for health, at in reports}.items())]
    known: TaskRecord | None = fold(events)
    for health, at in reports:
        known = apply_report(known, TaskReport(float(at), health, float(at)))
    assert known is not None
    latest = max(reports, key=lambda report: report[1], default=None)
    assert known.health is (latest[0] if latest else None)


@pytest.mark.parametrize(
    ("statuses", "health"),
    [
        ({"app": "HEALTHY", "worker": "HEALTHY", "gate": "UNKNOWN"}, Health.HEALTHY),
        ({"app": "HEALTHY", "worker": "HEALTHY", "gate": "UNHEALTHY"}, Health.HEALTHY),
        ({"app": "HEALTHY", "worker": "UNKNOWN", "gate": "HEALTHY"}, None),
        ({"app": "UNKNOWN", "worker": "UNHEALTHY", "gate": "HEALTHY"}, Health.UNHEALTHY),
        ({"app": "HEALTHY", "gate": "HEALTHY"}, None),
        ({}, None),
    ],
)
def test_the_health_that_counts_leaves_the_gate_out(statuses: dict[str, str], health: Health | None) -> None:
    containers = [{"name": name, "healthStatus": status} for name, status in statuses.items()]
    told = parse_task(event("fargate_running")["detail"] | {"containers": containers}, 0.0)
    judged = dataclasses.replace(definition(), health_checked=("app", "worker"))
    assert health_of(told, judged) is health


def test_without_health_checks_there_is_no_health() -> None:
    containers = [{"name": "gate", "healthStatus": "HEALTHY"}]
    told = parse_task(event("fargate_running")["detail"] | {"containers": containers}, 0.0)
    assert health_of(told, definition()) is None
