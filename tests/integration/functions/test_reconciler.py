from __future__ import annotations

import copy
from typing import Any

import pytest
from botocore.exceptions import ClientError

from reconciler.sweep import MARGIN_SECONDS, SETTLING_SECONDS, Report, Sweep
from registrar.app import handle
from registry.ecs import Lookups
from registry.rules import Health, State, state_of
from registry.store import Store
from tests.support.ecs import CLUSTER, NAMESPACE, FakeEcs, event, failure, life, task_definition

NOW = 1_795_349_160.0  # 2026-11-22T12:06:00Z, six minutes after the tasks were made
CHECK = {"command": ["CMD", "true"], "interval": 300, "retries": 10}


def sweep(store: Store, ecs: FakeEcs, *, clusters: tuple[str, ...] = (), now: float = NOW, **more: Any) -> Report:
    """Sweep with nothing remembered."""
    remaining = more.pop("remaining", lambda: 1000.0)
    lookups = Lookups(lambda: ecs, lambda: ecs)
    return Sweep(store, lookups, clusters, now, remaining, warn=lambda *_, **__: None).run(**more)


def detail(task_id: str, version: int, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = life(task_id)[version - 1]["detail"]
    return found | changes


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
    definition = task_definition()
    definition["containerDefinitions"][0].pop("dockerLabels")
    ecs = FakeEcs(definition)
    ecs.tasks[CLUSTER] = [detail(f"t{each:03d}", 4) for each in range(250)]
    assert sweep(store, ecs).swept == 250
    assert ecs.count("describe_tasks") == 3


def test_only_the_named_clusters_are_swept(store: Store, ecs: FakeEcs) -> None:
    ecs.tasks = {CLUSTER: [detail("aa", 4)], CLUSTER + "2": [detail("bb", 4)]}
    assert sweep(store, ecs, clusters=("example",)).swept == 1
    assert ecs.count("list_clusters") == 0


def test_health_is_learned(store: Store, ecs: FakeEcs) -> None:
    ecs = FakeEcs(task_definition(health_check=CHECK))
    ecs.tasks[CLUSTER] = [detail("aa", 4, healthStatus="UNKNOWN")]
    sweep(store, ecs)
    assert state(store, "aa") is State.STARTING
    ecs.tasks[CLUSTER] = [detail("aa", 4, healthStatus="HEALTHY")]
    assert sweep(store, ecs).health_learned == 1
    assert state(store, "aa") is State.READY
    assert sweep(store, ecs, now=NOW + 60).health_learned == 0
    ecs.tasks[CLUSTER] = [detail("aa", 4, healthStatus="UNKNOWN")]
    assert sweep(store, ecs, now=NOW + 120).health_learned == 0
    assert state(store, "aa") is State.READY
    ecs.tasks[CLUSTER] = [detail("aa", 4, healthStatus="UNHEALTHY")]
    assert sweep(store, ecs, now=NOW + 180).health_learned == 1
    assert state(store, "aa") is State.UNHEALTHY


def test_health_comes_with_the_first_sight_of_a_task(store: Store) -> None:
    ecs = FakeEcs(task_definition(health_check=CHECK))
    ecs.tasks[CLUSTER] = [detail("aa", 4, healthStatus="HEALTHY")]
    report = sweep(store, ecs)
    assert (report.drift, report.health_learned) == (1, 1)
    assert state(store, "aa") is State.READY


def test_eight_minutes_without_health_are_enough(store: Store) -> None:
    ecs = FakeEcs(task_definition(health_check=CHECK))
    ecs.tasks[CLUSTER] = [detail("aa", 4, healthStatus="UNKNOWN")]
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
    report = sweep(store, ecs)
    assert (report.entombed, report.drift) == (1, 1)
    assert (state(store, "aa"), state(store, "bb")) == (State.GONE, State.READY)
    assert sweep(store, ecs).entombed == 0


def test_a_task_that_changed_a_moment_ago_is_not_yet_missed(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = []
    record = store.tasks.get(NAMESPACE, "aa")
    assert record is not None
    assert sweep(store, ecs, now=record.changed_at + SETTLING_SECONDS - 1).entombed == 0
    assert sweep(store, ecs, now=record.changed_at + SETTLING_SECONDS).entombed == 1


def test_tasks_of_a_deleted_cluster_become_tombstones(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    assert sweep(store, ecs).entombed == 1
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


def test_clusters_that_were_not_asked_for_lose_nothing(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks["arn:aws:ecs:us-east-1:123456789012:cluster/other"] = []
    assert sweep(store, ecs, clusters=("other",)).entombed == 0
    assert state(store, "aa") is State.READY


@pytest.mark.parametrize("call", ["list_clusters", "list_tasks", "describe_tasks"])
def test_a_failing_call_ends_the_sweep_and_buries_nobody(
    store: Store, lookups: Lookups, ecs: FakeEcs, call: str
) -> None:
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("bb", 4)]
    ecs.fail[call] = failure("ServerException", operation=call)
    with pytest.raises(ClientError):
        sweep(store, ecs)
    assert state(store, "aa") is State.READY


def test_a_sweep_stops_in_time_and_the_next_goes_on_from_there(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    clusters = [f"arn:aws:ecs:us-east-1:123456789012:cluster/c{number}" for number in range(3)]
    for number, arn in enumerate(clusters):
        ecs.tasks[arn] = [detail(f"t{number}", 4)]
    handle(life("zz")[3], store, lookups, NOW)
    left = iter([MARGIN_SECONDS + 1, MARGIN_SECONDS - 1])
    report = sweep(store, ecs, remaining=lambda: next(left, 0.0))
    assert (report.swept, report.next_cluster) == (1, clusters[1])
    assert report.entombed == 0
    assert state(store, "zz") is State.READY
    order: list[str] = []
    ecs.calls.clear()
    assert sweep(store, ecs, start=clusters[1]).next_cluster is None
    order = [arguments["cluster"] for call, arguments in ecs.calls if call == "list_tasks"]
    assert order[::2] == [clusters[1], clusters[2], clusters[0]]
    assert sweep(store, ecs, start="a cluster that is no more").next_cluster is None


def test_one_tasks_mistake_does_not_keep_others_back(store: Store) -> None:
    bad = copy.deepcopy(detail("aa", 4))
    bad["taskDefinitionArn"] = bad["taskDefinitionArn"].replace("orders:7", "broken:1")
    unknown = detail("bb", 4) | {"taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/ghost:1"}
    broken = task_definition("broken:1", services=[{"portName": "htp"}])
    ecs = FakeEcs(task_definition(), broken)
    ecs.tasks[CLUSTER] = [bad, unknown, detail("cc", 4) | {"version": "4"}, detail("dd", 4)]
    report = sweep(store, ecs)
    assert (report.swept, report.rejected, report.drift) == (4, 3, 1)
    assert state(store, "dd") is State.READY


def test_tasks_that_are_not_ours_are_left_alone(store: Store) -> None:
    plain = task_definition()
    plain["containerDefinitions"][0].pop("dockerLabels")
    ecs = FakeEcs(plain)
    ecs.tasks[CLUSTER] = [event("fargate_running")["detail"]]
    report = sweep(store, ecs)
    assert (report.swept, report.drift, report.rejected) == (1, 0, 0)


def test_health_of_a_task_in_the_registry_only(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    """A report for a task that went between two reads is dropped by the store, not counted."""
    handle(life("aa")[3], store, lookups, NOW)
    ecs.tasks[CLUSTER] = [detail("aa", 4, healthStatus="UNHEALTHY")]
    ecs.on_list_tasks = lambda: handle(life("aa")[7], store, lookups, NOW)
    assert sweep(store, ecs).health_learned == 0
    found = store.tasks.get(NAMESPACE, "aa")
    assert found is not None
    assert found.health is not Health.UNHEALTHY
