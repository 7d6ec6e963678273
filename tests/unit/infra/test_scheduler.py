from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.scheduler import Breaker, Deployment, Member, Rollout, Wish, decide, next_zone
from infra.local.state import Health, Status

OLD = Deployment("ecs-svc/1", "orders:1", 1.0)
NEW = Deployment("ecs-svc/2", "orders:2", 2.0)
ZONES = ["z-a", "z-b", "z-c"]


def wish(count: int, *deployments: Deployment, least: int = 100, most: int = 200) -> Wish:
    return Wish(count, least, most, deployments or (OLD,))


def member(name: str, *, of: Deployment = OLD, ready: bool = True, zone: str = "z-a", at: float = 0.0) -> Member:
    status = Status.RUNNING if ready else Status.PENDING
    return Member(name, of.deployment_id, zone, status, Status.RUNNING, Health.UNKNOWN, ready, at)


def stopping(name: str, of: Deployment = OLD) -> Member:
    return replace(member(name, of=of), desired=Status.STOPPED)


def stopped_ids(wish: Wish, members: list[Member]) -> list[str]:
    return [stop.task_id for stop in decide(wish, members, 10.0).stop]


def test_a_new_service_starts_all_its_tasks() -> None:
    assert decide(wish(3), [], 10.0).start == 3


def test_enough_is_enough() -> None:
    decision = decide(wish(2), [member("a"), member("b", ready=False)], 10.0)
    assert (decision.start, decision.stop) == (0, ())


def test_a_task_that_stops_is_replaced_at_once() -> None:
    assert decide(wish(2), [member("a"), stopping("b")], 10.0).start == 1


def test_an_unhealthy_task_is_stopped_and_replaced() -> None:
    sick = replace(member("b"), health=Health.UNHEALTHY, ready=False)
    decision = decide(wish(2), [member("a"), sick], 10.0)
    assert [stop.task_id for stop in decision.stop] == ["b"]
    assert "health checks" in decision.stop[0].reason
    assert decision.start == 1


def test_scaling_in_takes_what_does_not_run_first_then_the_fullest_zone_then_the_youngest() -> None:
    members = [
        member("old", zone="z-a", at=1.0),
        member("young", zone="z-a", at=2.0),
        member("other", zone="z-b", at=3.0),
        member("pending", ready=False, zone="z-c", at=0.0),
    ]
    assert stopped_ids(wish(3), members) == ["pending"]
    assert stopped_ids(wish(2), members) == ["pending", "young"]
    assert stopped_ids(wish(0), members) == ["pending", "young", "other", "old"]


def test_a_rolling_deployment_starts_the_new_ones_first() -> None:
    old = [member(name) for name in "abc"]
    decision = decide(wish(3, NEW, OLD), old, 10.0)
    assert (decision.start, decision.stop) == (3, ())


def test_an_old_task_stops_for_every_new_one_that_is_ready() -> None:
    old = [member(name, at=number) for number, name in enumerate("abc")]
    new = [member("x", of=NEW), member("y", of=NEW, ready=False), member("z", of=NEW, ready=False)]
    decision = decide(wish(3, NEW, OLD), old + new, 10.0)
    assert [stop.task_id for stop in decision.stop] == ["a"]
    assert "ecs-svc/2" in decision.stop[0].reason
    assert decision.start == 0


def test_old_tasks_that_do_not_run_stop_without_waiting() -> None:
    assert stopped_ids(wish(2, NEW, OLD), [member("a", ready=False), member("b")]) == ["a"]


def test_with_little_room_a_deployment_goes_in_steps() -> None:
    old = [member(name) for name in "abc"]
    assert decide(wish(3, NEW, OLD, most=134), old, 10.0).start == 1
    fewer = decide(wish(4, NEW, OLD, least=50, most=100), [member(name) for name in "abcd"], 10.0)
    assert (len(fewer.stop), fewer.start) == (2, 2)


def test_a_deployment_without_tasks_is_finished() -> None:
    new = [member("x", of=NEW)]
    assert decide(wish(1, NEW, OLD), new, 10.0).finished == ("ecs-svc/1",)
    assert decide(wish(1, NEW, OLD), [*new, stopping("a")], 10.0).finished == ()


def test_starts_that_fail_again_and_again_come_slower() -> None:
    failing = replace(OLD, failed_tasks=3, last_failure_at=8.0)
    decision = decide(wish(1, failing), [], 10.0)
    assert (decision.start, decision.wake_at) == (0, 12.0)
    assert decide(wish(1, failing), [], 12.0).start == 1


@pytest.mark.parametrize("failures", [10, 1000])
def test_the_pause_has_an_end(failures: int) -> None:
    assert replace(OLD, failed_tasks=failures, last_failure_at=0.0).next_start_at() == 60.0


@pytest.mark.parametrize(("desired", "least"), [(1, 3), (6, 3), (7, 4), (25, 13), (1000, 200)])
def test_the_circuit_breaker_opens_at_half_of_the_desired_count_but_at_3_to_200_failures(
    desired: int, least: int
) -> None:
    assert Breaker().opens(replace(NEW, failed_tasks=least), desired)
    assert not Breaker().opens(replace(NEW, failed_tasks=least - 1), desired)


@pytest.mark.parametrize("rollout", [Rollout.COMPLETED, Rollout.FAILED])
def test_the_circuit_breaker_judges_a_deployment_in_progress_only(rollout: Rollout) -> None:
    assert not Breaker().opens(replace(NEW, failed_tasks=100, rollout=rollout), 1)


def test_a_deployment_that_failed_gets_no_more_tasks_and_leaves_the_old_ones_alone() -> None:
    failed = replace(NEW, failed_tasks=3, last_failure_at=8.0, rollout=Rollout.FAILED)
    decision = decide(wish(2, failed, OLD), [member("a"), member("b")], 1e9)
    assert (decision.start, decision.stop, decision.wake_at) == (0, (), None)


def test_tasks_are_spread_over_zones() -> None:
    assert next_zone(ZONES, []) == "z-a"
    assert next_zone(ZONES, [member("a", zone="z-a"), member("b", zone="z-b")]) == "z-c"
    assert next_zone(ZONES, [stopping("a"), member("b", zone="z-b")]) == "z-a"


MEMBERS = st.lists(
    st.builds(
        Member,
        task_id=st.uuids().map(str),
        deployment_id=st.sampled_from([OLD.deployment_id, NEW.deployment_id]),
        zone=st.sampled_from(ZONES),
        status=st.just(Status.RUNNING),
        desired=st.sampled_from([Status.RUNNING, Status.STOPPED]),
        health=st.just(Health.UNKNOWN),
        ready=st.booleans(),
        created_at=st.floats(0, 10),
    ),
    max_size=12,
    unique_by=lambda m: m.task_id,
)


@given(MEMBERS, st.integers(0, 5), st.integers(0, 100), st.integers(100, 200))
def test_a_deployment_never_leaves_its_limits(members: list[Member], count: int, least: int, most: int) -> None:
    decision = decide(wish(count, NEW, OLD, least=least, most=most), members, 10.0)
    leaving = {stop.task_id for stop in decision.stop}
    wanted = [m for m in members if m.desired is Status.RUNNING]
    assert leaving <= {m.task_id for m in wanted}
    staying = [m for m in wanted if m.task_id not in leaving]
    ready_before, ready_after = (sum(m.ready for m in group) for group in (wanted, staying))
    ready_new = sum(m.ready for m in wanted if m.deployment_id == NEW.deployment_id)
    # Never below the least because of an old task; what is above the count of the new ones may always go.
    assert ready_after >= min(ready_before, -(-count * least // 100)) or ready_new > count
    assert len(staying) + decision.start <= max(len(staying), most * count // 100, 1)
