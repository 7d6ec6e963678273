"""What the ECS service scheduler decides, without IO: a service and its tasks in, what to start and stop out.

Rules, from "Amazon ECS services" and "Deploy Amazon ECS services by replacing tasks" in the ECS developer
guide:

1. The newest deployment is PRIMARY; only it gets new tasks, up to the desired count.
2. A rolling deployment keeps at least minimumHealthyPercent of the desired count (rounded up) RUNNING and
   healthy, and has at most maximumPercent (rounded down) tasks that are not to stop.
3. Tasks of older deployments stop in the moment in which rule 2 allows it; those that do not run first.
4. More tasks than desired: those that do not run go first, then from the zone with the most tasks, the
   youngest.
5. An UNHEALTHY task is replaced.
6. A task fails if it ends by itself, or is UNHEALTHY, before it has been ready for a moment. After tasks of a
   deployment that failed, the next is started after a pause that doubles.
7. The deployment circuit breaker ends a deployment of which as many tasks failed as half of the desired count, at least
   3 and at most 200: it gets no more tasks. With `rollback` the definition that was last deployed with success becomes
   the newest deployment.

A deployment is IN_PROGRESS → COMPLETED (the service is steady) or → FAILED (rule 7).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from infra.local.state import Health, Status

_LONGEST_PAUSE: Final = 60.0
_LEAST_FAILURES: Final = 3
_MOST_FAILURES: Final = 200


class Rollout(StrEnum):
    """rolloutState of a deployment."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Breaker:
    """The deployment circuit breaker of a service, and whether it rolls back."""

    rollback: bool = False

    def opens(self, deployment: Deployment, desired_count: int) -> bool:
        """Say whether so many tasks of the deployment failed that it ends."""
        half = math.ceil(desired_count / 2)
        threshold = min(max(half, _LEAST_FAILURES), _MOST_FAILURES)
        return deployment.rollout is Rollout.IN_PROGRESS and deployment.failed_tasks >= threshold


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment. `failed_tasks`: since it was last steady; times in seconds."""

    deployment_id: str
    definition_arn: str
    created_at: float
    failed_tasks: int = 0
    last_failure_at: float = 0.0
    rollout: Rollout = Rollout.IN_PROGRESS
    reason: str = "in progress."

    def next_start_at(self) -> float:
        """Return the time from which a task may be started, infinity if none may."""
        if self.rollout is Rollout.FAILED:
            return math.inf
        if not self.failed_tasks:
            return 0.0
        return self.last_failure_at + min(_LONGEST_PAUSE, 2.0 ** (self.failed_tasks - 1))

    def after_failure(self, now: float) -> Deployment:
        """Return it after one more of its tasks failed."""
        return replace(self, failed_tasks=self.failed_tasks + 1, last_failure_at=now)


@dataclass(frozen=True, slots=True)
class Member:
    """A task of the service that has not STOPPED."""

    task_id: str
    deployment_id: str
    zone: str
    status: Status
    desired: Status
    health: Health
    ready: bool  # RUNNING, and HEALTHY if it can be
    created_at: float
    ready_at: float = 0.0  # when it became so


@dataclass(frozen=True, slots=True)
class Wish:
    """What a service should be. `deployments`: the newest first."""

    desired_count: int
    minimum_healthy_percent: int
    maximum_percent: int
    deployments: tuple[Deployment, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """A task to stop and why. `unhealthy`: by rule 5."""

    task_id: str
    reason: str
    unhealthy: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now. `wake_at`: when to decide again though nothing happened."""

    start: int = 0
    stop: tuple[Stop, ...] = ()
    finished: tuple[str, ...] = ()  # ids of older deployments without tasks
    wake_at: float | None = None


def decide(wish: Wish, members: Sequence[Member], now: float) -> Decision:
    """Return the next step towards the wish."""
    primary = wish.deployments[0]
    wanted = [m for m in members if m.desired is Status.RUNNING]
    stops = [
        Stop(m.task_id, f"(service) (task {m.task_id}) failed container health checks.", unhealthy=True)
        for m in wanted
        if m.health is Health.UNHEALTHY
    ]
    wanted = [m for m in wanted if m.health is not Health.UNHEALTHY]
    ours = [m for m in wanted if m.deployment_id == primary.deployment_id]
    older = [m for m in wanted if m.deployment_id != primary.deployment_id]

    reason = f"Scaling activity initiated by (deployment {primary.deployment_id})"
    surplus = len(ours) - wish.desired_count
    if surplus > 0:
        leaving = _to_leave(ours, surplus)
        stops += [Stop(m.task_id, reason) for m in leaving]
        wanted = [m for m in wanted if m not in leaving]

    least = math.ceil(wish.desired_count * wish.minimum_healthy_percent / 100)
    spare = sum(m.ready for m in wanted) - least
    for member in sorted(older, key=lambda m: (m.ready, m.created_at)):
        if member.ready and spare <= 0:
            break
        spare -= member.ready
        stops.append(Stop(member.task_id, reason))
        wanted.remove(member)

    missing = wish.desired_count - len(ours)
    room = max(wish.maximum_percent * wish.desired_count // 100, 1) - len(wanted)
    start = max(0, min(missing, room))
    wake_at = None
    if start and now < primary.next_start_at():
        start = 0
        wake_at = None if math.isinf(primary.next_start_at()) else primary.next_start_at()

    present = {m.deployment_id for m in members}
    finished = tuple(d.deployment_id for d in wish.deployments[1:] if d.deployment_id not in present)
    return Decision(start, tuple(stops), finished, wake_at)


def _to_leave(members: Sequence[Member], count: int) -> list[Member]:
    staying = list(members)
    leaving: list[Member] = []
    while len(leaving) < count:
        crowd = Counter(m.zone for m in staying)
        choice = max(staying, key=lambda m: (not m.ready, crowd[m.zone], m.created_at, m.task_id))
        staying.remove(choice)
        leaving.append(choice)
    return leaving


def next_zone(zones: Sequence[str], members: Sequence[Member]) -> str:
    """Return the zone with the fewest tasks, the first of them if several have as few."""
    crowd = Counter(m.zone for m in members if m.desired is Status.RUNNING)
    return min(zones, key=lambda zone: (crowd[zone], zones.index(zone)))
