from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from pynamodb.exceptions import QueryError, UpdateError

from reconciler.publications import Publications
from reconciler.sweep import ABSENCE_SECONDS, MARGIN_SECONDS, PATIENCE, SETTLING_SECONDS, Report, Sweep
from registrar.app import handle
from registry import metric_names
from registry.aws.ecs import Lookups
from registry.aws.pacing import PacedEcs, TokenBucket
from registry.domain.reports import Health, TaskReport
from registry.domain.rules import State, TaskRecord, state_of
from registry.dynamodb.store import Store
from registry.dynamodb.task_store import TaskStore
from registry.dynamodb.vip_store import VipsExhaustedError
from registry.publishing import Changes, PublishConflictError, Published, Publisher
from tests.support.control_plane import sam
from tests.support.control_plane.ecs import (
    CLUSTER,
    NAMESPACE,
    FakeEcs,
    definition_arn,
    event,
    failure,
    life,
    poison,
    task_definition,
)

NOW = 1_795_349_160.0  # 2026-11-22T12:06:00Z, six minutes after the tasks were made
CHECK = {"command": ["CMD", "true"], "interval": 300, "retries": 10}


def sweep(store: Store, ecs: FakeEcs, *, clusters: tuple[str, ...] = (), now: float = NOW, **more: Any) -> Report:
    """Sweep with nothing remembered."""
    remaining = more.pop("remaining", lambda: 1000.0)
    lookups = Lookups(lambda: ecs, lambda: ecs)
    publications = Publications(store, Publisher(store, lambda: now, lambda _: None), now, silent)
    return Sweep(store, lookups, publications, clusters, now, remaining, silent).run(**more)


def silent(*_: Any, **__: Any) -> None:
    """Log nothing."""


def detail(task_id: str, version: int, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = life(task_id)[version - 1]["detail"]
    return found | changes


def judged(task_id: str, version: int, task_health: str, app_health: str | None = None) -> dict[str, Any]:
    """A task as DescribeTasks has it, with ECS's verdict on the task and on its container `app`."""
    found = copy.deepcopy(detail(task_id, version, healthStatus=task_health))
    for container in found["containers"]:
        is_app = container["name"] == "app"
        container["healthStatus"] = (app_health or task_health) if is_app else "UNKNOWN"
    return found


def state(store: Store, task_id: str) -> State | None:
    found = store.tasks.get(NAMESPACE, task_id)
    return None if found is None else state_of(found)


def test_lost_running_and_lost_stopped_events_are_repaired(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    for each in life("bb")[:4]:
        handle(each, store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("aa", 4), detail("bb", 8)]
    report = sweep(store, ecs)
    assert (report.swept, report.drift, report.next_cluster) == (2, 2, None)
    assert (state(store, "aa"), state(store, "bb")) == (State.READY, State.GONE)
    assert sweep(store, ecs).drift == 0


def test_newer_state_is_never_overwritten(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[4], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("aa", 4)]
    assert sweep(store, ecs).drift == 0
    assert state(store, "aa") is State.DRAINING


def test_an_event_that_overtakes_the_sweep_is_no_drift(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    ecs.tasks[CLUSTER] = [detail("aa", 4)]
    ecs.on_list_tasks = lambda: handle(life("aa")[4], store, lookups, NOW)
    assert sweep(store, ecs).drift == 0
    assert state(store, "aa") is State.DRAINING


def test_all_pages_of_all_clusters_are_swept(store: Store, ecs: FakeEcs) -> None:
    ecs.page_size = 2
    for number in range(3):
        arn = f"arn:aws:ecs:us-east-1:123456789012:cluster/c{number}"
        ecs.tasks[arn] = [detail(f"t{number}x{each}", 1) for each in range(5)]
    report = sweep(store, ecs)
    assert report.swept == 15
    assert ecs.count("describe_tasks") == 3  # pages are gathered up to 100
    assert len(list(store.tasks.all(NAMESPACE))) == 15


def test_a_large_cluster_is_described_by_the_hundred(store: Store) -> None:
    ecs = FakeEcs(plain())
    ecs.tasks[CLUSTER] = [detail(f"t{each:03d}", 4) for each in range(250)]
    assert sweep(store, ecs).swept == 250
    assert ecs.count("describe_tasks") == 3


def test_only_the_named_clusters_are_swept(store: Store, ecs: FakeEcs) -> None:
    ecs.tasks = {CLUSTER: [detail("aa", 4)], CLUSTER + "2": [detail("bb", 4)]}
    assert sweep(store, ecs, clusters=("example",)).swept == 1
    assert ecs.count("list_clusters") == 0


def test_tasks_of_a_cluster_that_was_taken_off_the_list_end(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    """They stay for as long as they run, and a stop that nobody heard of is found."""
    for task in ("aa", "bb"):
        handle(life(task)[3], store, lookups, NOW)
    ecs.tasks = {CLUSTER: [detail("aa", 4), detail("bb", 8), detail("cc", 4)], CLUSTER + "2": []}
    sweep(store, ecs, clusters=("example2",))
    assert (state(store, "aa"), state(store, "bb"), state(store, "cc")) == (State.READY, State.GONE, None)


def test_health_is_learned(store: Store, ecs: FakeEcs) -> None:
    ecs = FakeEcs(task_definition(health_check=CHECK))
    ecs.tasks[CLUSTER] = [judged("aa", 4, "UNKNOWN")]
    sweep(store, ecs)
    assert state(store, "aa") is State.STARTING
    ecs.tasks[CLUSTER] = [judged("aa", 4, "HEALTHY")]
    assert sweep(store, ecs).health_learned == 1
    assert state(store, "aa") is State.READY
    assert sweep(store, ecs, now=NOW + 60).health_learned == 0
    ecs.tasks[CLUSTER] = [judged("aa", 4, "UNKNOWN")]
    assert sweep(store, ecs, now=NOW + 120).health_learned == 0
    assert state(store, "aa") is State.READY
    ecs.tasks[CLUSTER] = [judged("aa", 4, "UNHEALTHY")]
    assert sweep(store, ecs, now=NOW + 180).health_learned == 1
    assert state(store, "aa") is State.UNHEALTHY


def test_what_a_sidecar_reported_a_moment_ago_is_newer_than_what_ecs_says(store: Store, lookups: Lookups) -> None:
    ecs = FakeEcs(task_definition(health_check=CHECK))
    handle(life("aa")[3], store, Lookups(lambda: ecs, lambda: ecs), NOW - 300)
    store.tasks.report(NAMESPACE, "aa", TaskReport(NOW - 5, Health.HEALTHY, NOW - 5))
    ecs.tasks[CLUSTER] = [judged("aa", 4, "UNHEALTHY")]
    assert sweep(store, ecs).health_learned == 0
    assert state(store, "aa") is State.READY
    ecs.tasks[CLUSTER] = [judged("aa", 3, "UNHEALTHY")]
    assert sweep(store, ecs, now=NOW + 60).health_learned == 0, "an answer of an earlier version says nothing"
    ecs.tasks[CLUSTER] = [judged("aa", 4, "UNHEALTHY")]
    assert sweep(store, ecs, now=NOW + 60).health_learned == 1


def test_health_comes_with_the_first_sight_of_a_task(store: Store) -> None:
    ecs = FakeEcs(task_definition(health_check=CHECK))
    ecs.tasks[CLUSTER] = [judged("aa", 4, "HEALTHY")]
    report = sweep(store, ecs)
    assert (report.drift, report.health_learned) == (1, 1)
    assert state(store, "aa") is State.READY


@pytest.mark.parametrize("gate", ["UNKNOWN", "UNHEALTHY"])
def test_a_gate_that_still_waits_does_not_keep_the_endpoints_from_traffic(store: Store, gate: str) -> None:
    definition = task_definition(health_check=CHECK)
    definition["containerDefinitions"].append(
        {"name": "gate", "healthCheck": CHECK, "dockerLabels": {"tramo.gate": "true"}}
    )
    ecs = FakeEcs(definition)
    ecs.tasks[CLUSTER] = [judged("aa", 4, task_health=gate, app_health="HEALTHY")]
    assert sweep(store, ecs).health_learned == 1
    assert state(store, "aa") is State.READY
    assert sweep(store, ecs, now=NOW + 60).health_learned == 0


def test_eight_minutes_without_health_are_enough(store: Store) -> None:
    ecs = FakeEcs(task_definition(health_check=CHECK))
    ecs.tasks[CLUSTER] = [judged("aa", 4, "UNKNOWN")]
    sweep(store, ecs)
    record = store.tasks.get(NAMESPACE, "aa")
    assert record is not None
    assert record.started_at is not None
    assert sweep(store, ecs, now=record.started_at + 479).waits_over == 0
    assert state(store, "aa") is State.STARTING
    assert sweep(store, ecs, now=record.started_at + 480).waits_over == 1
    assert state(store, "aa") is State.READY
    assert sweep(store, ecs, now=record.started_at + 540).waits_over == 0


def test_tasks_that_ecs_forgot_become_tombstones(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    handle(life("bb")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("bb", 4)]
    assert sweep(store, ecs).entombed == 0
    assert state(store, "aa") is State.READY
    report = sweep(store, ecs, now=NOW + 60)
    assert (report.entombed, report.drift) == (1, 1)
    assert (state(store, "aa"), state(store, "bb")) == (State.GONE, State.READY)
    assert sweep(store, ecs, now=NOW + 120).entombed == 0


def test_a_second_look_at_once_proves_no_absence(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = []
    for later in (0.0, 1.0, ABSENCE_SECONDS - 1):
        assert sweep(store, ecs, now=NOW + later).entombed == 0
    assert sweep(store, ecs, now=NOW + ABSENCE_SECONDS).entombed == 1


def test_a_task_that_was_missing_once_counts_from_its_next_absence(
    store: Store, lookups: Lookups, ecs: FakeEcs
) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    for minute, shown in enumerate((False, True, False)):
        ecs.tasks[CLUSTER] = [detail("aa", 4)] if shown else []
        assert sweep(store, ecs, now=NOW + 60 * minute).entombed == 0
    assert state(store, "aa") is State.READY


@pytest.mark.parametrize(("version", "expected"), [(4, State.READY), (5, State.DRAINING)])
def test_a_tombstone_made_of_absence_yields_to_a_sighting(
    store: Store, lookups: Lookups, ecs: FakeEcs, version: int, expected: State
) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = []
    for minute in (0, 1):
        sweep(store, ecs, now=NOW + 60 * minute)
    assert state(store, "aa") is State.GONE
    assert handle(life("aa")[3], store, lookups, NOW) is metric_names.EVENTS_STALE  # that it once ran proves nothing
    assert state(store, "aa") is State.GONE
    ecs.tasks[CLUSTER] = [detail("aa", version, desiredStatus="RUNNING" if version == 4 else "STOPPED")]
    if version == 5:
        handle(life("aa")[4], store, lookups, NOW)
    assert sweep(store, ecs, now=NOW + 120).drift == (version == 4)
    assert state(store, "aa") is expected
    record = store.tasks.get(NAMESPACE, "aa")
    assert record is not None
    assert (record.absent_at, record.expires_at) == (None, None)


def test_a_tombstone_made_of_a_stop_yields_to_nothing(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[7], store, lookups, NOW)
    for version in (8, 9):
        ecs.tasks[CLUSTER] = [detail("aa", 4) | {"version": version}]
        assert sweep(store, ecs).drift == 0
    assert state(store, "aa") is State.GONE


def test_an_endpoint_without_its_hosts_address_is_completed(store: Store) -> None:
    """EC2 shows an instance a little later than ECS its task; the task gets no new version for that."""
    ecs = FakeEcs(task_definition("orders-bridge:2", network_mode="bridge"))
    running = event("ec2_bridge")["detail"]
    running["clusterArn"] = CLUSTER
    ecs.tasks[CLUSTER] = [running]
    handle(event("ec2_bridge"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    for _ in range(2):
        assert sweep(store, ecs).drift == 0
    (record,) = store.tasks.all(NAMESPACE)
    assert record.address is None
    ecs.instances[running["containerInstanceArn"]] = "i-0123"
    ecs.addresses["i-0123"] = "10.0.9.9"
    assert sweep(store, ecs).drift == 1
    (record,) = store.tasks.all(NAMESPACE)
    assert (record.address, record.endpoints[0].port) == ("10.0.9.9", 32770)
    assert sweep(store, ecs).drift == 0


def test_an_endpoint_without_its_own_address_is_completed(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    late = detail("aa", 4)
    ecs.tasks[CLUSTER] = [{**late, "attachments": [], "containers": []}]
    sweep(store, ecs)
    ecs.tasks[CLUSTER] = [late]
    assert sweep(store, ecs).drift == 1
    record = store.tasks.get(NAMESPACE, "aa")
    assert record is not None
    assert record.address == "10.0.1.5"


def test_a_task_that_changed_a_moment_ago_is_not_yet_missed(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = []
    record = store.tasks.get(NAMESPACE, "aa")
    assert record is not None
    for second in (-61, -1, 0):
        assert sweep(store, ecs, now=record.changed_at + SETTLING_SECONDS + second).entombed == 0
    assert sweep(store, ecs, now=record.changed_at + SETTLING_SECONDS + 60).entombed == 1


def test_tasks_of_a_deleted_cluster_become_tombstones(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    assert sweep(store, ecs).entombed == 0
    assert sweep(store, ecs, now=NOW + 60).entombed == 1
    assert state(store, "aa") is State.GONE


def test_a_cluster_on_the_list_that_was_deleted_keeps_no_tasks(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    for minute, entombed in ((0, 0), (1, 1)):
        report = sweep(store, ecs, clusters=("example",), now=NOW + 60 * minute)
        assert (report.failures, report.entombed) == (0, entombed)
    assert state(store, "aa") is State.GONE


def test_a_task_that_no_list_shows_but_ecs_knows_lives_on(store: Store, lookups: Lookups) -> None:
    class Forgetful(FakeEcs):
        def list_tasks(self, **arguments: Any) -> dict[str, Any]:
            return {"taskArns": []}

    ecs = Forgetful(task_definition())
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("aa", 5)]
    report = sweep(store, ecs)
    assert (report.entombed, report.drift) == (0, 1)
    assert state(store, "aa") is State.DRAINING


@pytest.mark.parametrize("call", ["list_tasks", "describe_tasks"])
def test_a_cluster_in_trouble_is_left_out_and_buries_nobody(
    store: Store, lookups: Lookups, ecs: FakeEcs, call: str
) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    handle(life("cc")[3], store, lookups, NOW)
    other = CLUSTER + "2"
    ecs.tasks = {CLUSTER: [detail("bb", 4)], other: [detail("dd", 4, clusterArn=other)]}
    ecs.fail[call] = failure("ServerException", operation=call)
    ecs.fail_in = CLUSTER
    report = sweep(store, ecs)
    assert (report.failures, report.entombed, report.next_cluster) == (1, 0, None)
    assert (state(store, "aa"), state(store, "cc")) == (State.READY, State.READY)
    assert (state(store, "bb"), state(store, "dd")) == (None, State.READY)


def test_nothing_is_swept_when_the_clusters_cannot_be_listed(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.fail["list_clusters"] = failure("ServerException", operation="ListClusters")
    report = sweep(store, ecs, start="where the last one stopped")
    assert (report.swept, report.failures, report.next_cluster) == (0, 1, "where the last one stopped")
    assert state(store, "aa") is State.READY


def test_a_sweep_stops_in_time_and_the_next_goes_on_from_there(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    clusters = [f"arn:aws:ecs:us-east-1:123456789012:cluster/c{number}" for number in range(3)]
    for number, arn in enumerate(clusters):
        ecs.tasks[arn] = [detail(f"t{number}", 4)]
    handle(life("zz")[3], store, lookups, NOW)
    report = sweep(store, ecs, remaining=lambda: MARGIN_SECONDS - (ecs.count("list_tasks") > 1))
    assert (report.swept, report.next_cluster) == (1, clusters[1])
    assert report.entombed == 0
    assert state(store, "zz") is State.READY
    order: list[str] = []
    ecs.calls.clear()
    assert sweep(store, ecs, start=clusters[1]).next_cluster is None
    order = [arguments["cluster"] for call, arguments in ecs.calls if call == "list_tasks"]
    assert order == [clusters[1], clusters[2], clusters[0]]
    assert sweep(store, ecs, start="a cluster that is no more").next_cluster is None


def test_one_tasks_mistake_does_not_keep_others_back(store: Store) -> None:
    bad = copy.deepcopy(detail("aa", 4))
    bad["taskDefinitionArn"] = bad["taskDefinitionArn"].replace("orders:7", "broken:1")
    unknown = detail("bb", 4) | {"taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/ghost:1"}
    broken = task_definition("broken:1", services=[{"portName": "htp"}])
    ecs = FakeEcs(task_definition(), broken)
    ecs.tasks[CLUSTER] = [bad, unknown, detail("cc", 4) | {"version": "4"}, detail("dd", 4)]
    report = sweep(store, ecs)
    assert (report.swept, report.left_out, report.drift) == (4, 3, 1)
    assert state(store, "dd") is State.READY


def test_tasks_that_are_not_ours_are_left_alone(store: Store) -> None:
    ecs = FakeEcs(plain())
    ecs.tasks[CLUSTER] = [event("fargate_running")["detail"]]
    report = sweep(store, ecs)
    assert (report.swept, report.drift, report.left_out) == (1, 0, 0)


def test_health_of_a_task_in_the_registry_only(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    """A report for a task that went between two reads is dropped by the store, not counted."""
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [judged("aa", 4, "UNHEALTHY")]
    ecs.on_list_tasks = lambda: handle(life("aa")[7], store, lookups, NOW)
    assert sweep(store, ecs).health_learned == 0
    found = store.tasks.get(NAMESPACE, "aa")
    assert found is not None
    assert found.health is not Health.UNHEALTHY


def test_what_was_not_published_is_and_is_counted(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("aa", 4)]
    first, second = sweep(store, ecs), sweep(store, ecs)
    assert (first.published, first.services, first.endpoints) == (1, 0, 0)
    assert (second.published, second.services, second.endpoints) == (0, 1, 1)


def test_a_namespace_that_cannot_be_published_does_not_stop_the_sweep(
    store: Store, lookups: Lookups, ecs: FakeEcs
) -> None:
    class Overtaken(Publisher):
        def publish(self, namespace: str, changes: Changes) -> Published:
            raise PublishConflictError("for a test")

    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("aa", 5)]
    publications = Publications(store, Overtaken(store), NOW, silent)
    report = Sweep(store, lookups, publications, (), NOW, lambda: 1000.0, silent).run()
    assert (report.failures, report.drift) == (1, 1)


def test_a_namespace_that_cannot_be_read_does_not_stop_the_sweep(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    class Unreadable(TaskStore):
        def all(self, namespace: str, consistent: bool = True) -> Iterator[TaskRecord]:
            raise QueryError("for a test")

    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("aa", 5), detail("bb", 4)]
    report = sweep(dataclasses.replace(store, tasks=Unreadable(store.tasks._table)), ecs)
    assert (report.failures, report.drift, report.entombed) == (1, 1, 0)


class BrokenTaskStore(TaskStore):
    """A store that fails for the tasks whose ids are in `broken`, with the given error."""

    broken: dict[str, Exception]

    def apply(self, record: TaskRecord) -> bool:
        if record.task_id in self.broken:
            raise self.broken[record.task_id]
        return super().apply(record)


def breaking(store: Store, broken: dict[str, Exception]) -> Store:
    tasks = BrokenTaskStore(store.tasks._table)
    tasks.broken = broken
    return dataclasses.replace(store, tasks=tasks)


def test_no_poison_keeps_a_sweep_from_the_tasks_after_it(store: Store) -> None:
    """Of each kind one task in the first cluster: what stands behind them, and the next cluster, are swept."""
    definitions = poison()
    ecs = FakeEcs(task_definition(), *definitions.values())
    bad = [detail(f"a{number}", 4) | {"taskDefinitionArn": arn} for number, arn in enumerate(definitions)]
    late = detail("alate", 4) | {"startedAt": 1_795_349_160_000}
    wrong = copy.deepcopy(detail("aaddress", 4))
    wrong["attachments"][0]["details"][-1]["value"] = "10.0.1.5/24"
    ecs.tasks = {
        CLUSTER: [*bad, late, wrong, {**detail("atext", 4), "version": None}, detail("zz", 4)],
        CLUSTER + "2": [detail("yy", 4, clusterArn=CLUSTER + "2")],
    }
    report = sweep(store, ecs)
    assert (report.left_out, report.failures, report.drift, report.next_cluster) == (6, 0, 2, None)
    assert (state(store, "zz"), state(store, "yy")) == (State.READY, State.READY)
    assert sweep(store, ecs, now=NOW + 60).drift == 0


@pytest.mark.parametrize(
    "error",
    [UpdateError("throttled"), VipsExhaustedError("none is free"), RecursionError(), KeyError("a bug")],
    ids=repr,
)
def test_a_task_for_which_anything_fails_costs_that_task(store: Store, ecs: FakeEcs, error: Exception) -> None:
    ecs.tasks = {CLUSTER: [detail("aa", 4), detail("bb", 4)], CLUSTER + "2": [detail("cc", 4)]}
    report = sweep(breaking(store, {"aa": error}), ecs)
    assert (report.left_out, report.failures, report.drift, report.next_cluster) == (1, 0, 2, None)
    assert (state(store, "aa"), state(store, "bb"), state(store, "cc")) == (None, State.READY, State.READY)


def test_when_call_after_call_fails_the_cluster_is_left_out(store: Store, ecs: FakeEcs) -> None:
    ids = [f"a{number}" for number in range(2 * PATIENCE)]
    ecs.tasks = {CLUSTER: [detail(each, 4) for each in ids], CLUSTER + "2": [detail("cc", 4)]}
    report = sweep(breaking(store, {each: UpdateError("throttled") for each in ids}), ecs)
    assert (report.left_out, report.failures, report.drift) == (PATIENCE, 1, 1)


def test_a_task_on_a_machine_outside_of_ec2_costs_that_task(store: Store) -> None:
    ecs = FakeEcs(task_definition(), task_definition("anywhere:1", network_mode="bridge"))
    instance = f"{CLUSTER.replace(':cluster/', ':container-instance/')}/0123"
    ecs.instances[instance] = "mi-0123456789abcdef0"
    ecs.fail["describe_instances"] = failure("InvalidInstanceID.Malformed", operation="DescribeInstances")
    external = detail("aa", 4) | {
        "taskDefinitionArn": definition_arn("anywhere:1"),
        "containerInstanceArn": instance,
        "launchType": "EXTERNAL",
    }
    ecs.tasks[CLUSTER] = [external, detail("bb", 4)]
    report = sweep(store, ecs)
    assert (report.left_out, report.failures, state(store, "bb")) == (1, 0, State.READY)


def test_a_sweep_that_is_killed_leaves_the_next_one_another_start(store: Store, ecs: FakeEcs) -> None:
    class KilledError(BaseException):
        pass

    def killed() -> None:
        raise KilledError

    clusters = [f"{CLUSTER}{number}" for number in range(3)]
    ecs.tasks = {cluster: [detail(f"t{number}", 4)] for number, cluster in enumerate(clusters)}
    ecs.on_list_tasks = killed
    with pytest.raises(KilledError):
        sweep(store, ecs)
    assert store.sweeps.next_cluster() == clusters[1]
    ecs.on_list_tasks = None
    assert sweep(store, ecs, start=clusters[1]).next_cluster is None
    assert store.sweeps.next_cluster() is None


def test_a_cluster_that_no_sweep_finishes_does_not_keep_others_waiting(store: Store) -> None:
    ecs = FakeEcs(plain())
    clusters = [f"arn:aws:ecs:us-east-1:123456789012:cluster/c{number}" for number in range(3)]
    for number, arn in enumerate(clusters):
        ecs.tasks[arn] = [detail(f"t{number}", 4)]
    report = sweep(store, ecs, remaining=lambda: 0.0, start=clusters[1])
    assert (report.swept, report.next_cluster) == (0, clusters[2])
    assert sweep(store, ecs, remaining=lambda: 0.0, start=clusters[2]).next_cluster == clusters[0]


def plain() -> dict[str, Any]:
    """A task definition without a label of ours."""
    definition = task_definition()
    definition["containerDefinitions"][0].pop("dockerLabels")
    return definition


class QuotaEcs(FakeEcs):
    """ECS with its quota (20 reads a second, bursts of 100) and 30 ms for each call, on a clock of its own."""

    def __init__(self, *definitions: dict[str, Any]) -> None:
        super().__init__(*definitions)
        self.now = 0.0
        self._tokens = 100.0
        self._at = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _called(self, call: str, arguments: dict[str, Any]) -> None:
        self.now += 0.03
        self._tokens = min(100.0, self._tokens + (self.now - self._at) * 20)
        self._at = self.now
        if self._tokens < 1:
            raise failure("ThrottlingException", "Rate exceeded", call)
        self._tokens -= 1
        super()._called(call, arguments)


def region(clusters: int, tasks: int) -> QuotaEcs:
    ecs = QuotaEcs(plain())
    each = detail("aa", 4)
    for cluster in range(clusters):
        arn = f"arn:aws:ecs:us-east-1:123456789012:cluster/c{cluster:02d}"
        ecs.tasks[arn] = [each | {"taskArn": f"{arn}/t{task:03d}", "clusterArn": arn} for task in range(tasks)]
    return ecs


def paced(ecs: QuotaEcs, store: Store, rate: float) -> Report:
    lookups = Lookups(lambda: PacedEcs(ecs, TokenBucket(rate, lambda: ecs.now, ecs.sleep)), lambda: ecs)
    publications = Publications(store, Publisher(store), NOW, silent)
    timeout = sam.functions()["Reconciler"].timeout
    return Sweep(store, lookups, publications, (), NOW, lambda: timeout - ecs.now, silent).run()


def test_a_region_of_50_clusters_and_20_000_tasks_is_swept_in_its_schedule(store: Store) -> None:
    ecs = region(50, 400)
    report = paced(ecs, store, sam.read()["Parameters"]["EcsCallsPerSecond"]["Default"])
    assert (report.swept, report.failures, report.next_cluster) == (20_000, 0, None)
    assert ecs.now < sam.functions()["Reconciler"].timeout - MARGIN_SECONDS


def test_without_the_rate_limit_the_quota_would_be_exceeded(store: Store) -> None:
    assert paced(region(50, 400), store, 1000).failures > 0
