from __future__ import annotations

import pytest

from registry.aws.pacing import PacedEcs, TokenBucket
from tests.support.control_plane.ecs import CLUSTER, FakeEcs, definition_arn, task_definition


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize("rate", [0.5, 1, 10, 20])
def test_no_more_calls_than_the_rate_allows(rate: float) -> None:
    time = Time()
    bucket = TokenBucket(rate, time, time.sleep)
    for _ in range(200):
        bucket.take()
    assert (time.now - 100) * rate + max(1, rate) + 1e-6 >= 200
    assert time.now - 100 == pytest.approx((200 - max(1, rate)) / rate)


def test_rest_is_saved_for_a_second_only() -> None:
    time = Time()
    bucket = TokenBucket(10, time, time.sleep)
    time.now += 3600
    for _ in range(10):
        bucket.take()
    assert time.slept == []
    bucket.take()
    assert time.slept == [pytest.approx(0.1)]


def test_slow_calls_do_not_wait() -> None:
    time = Time()
    bucket = TokenBucket(10, time, time.sleep)
    for _ in range(100):
        bucket.take()
        time.now += 0.1
    assert time.slept == []


def test_every_call_of_ecs_takes_its_turn() -> None:
    time, ecs = Time(), FakeEcs(task_definition())
    ecs.tasks[CLUSTER] = []
    paced = PacedEcs(ecs, TokenBucket(1, time, time.sleep))
    paced.list_clusters()
    paced.list_tasks(cluster=CLUSTER, desiredStatus="RUNNING")
    paced.describe_tasks(cluster=CLUSTER, tasks=[])
    paced.describe_task_definition(taskDefinition=definition_arn("orders:7"))
    paced.describe_container_instances(cluster=CLUSTER, containerInstances=["x"])
    assert len(ecs.calls) == 5
    assert time.slept == [1.0] * 4
