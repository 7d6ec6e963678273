"""What the ECS service scheduler decides, without IO: a service and its tasks in, what to start and stop out.

Rules, from "Amazon ECS services" and "Deploy Amazon ECS services by replacing tasks" in the ECS developer
guide:

1. The newest deployment is PRIMARY; only it gets new tasks, up to the desired count.
2. A rolling deployment keeps at least minimumHealthyPercent of the desired count (rounded up) RUNNING and
   healthy, and has at most maximumPercent (rounded down) tasks that are not to stop.
3. Tasks of older deployments stop as soon as rule 2 allows; those that do not run first.
4. More tasks than desired: those that do not run go first, then from the zone with the most tasks, the
   youngest.
5. An UNHEALTHY task is replaced.
6. When tasks of a deployment end again and again before they ever ran, the next is started after a pause that
   doubles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from infra.local.state import Health, Status

_LONGEST_PAUSE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment. `failed_starts`: tasks in a row that ended before they ran; times in seconds."""

    deployment_id: str
    definition_arn: str
    created_at: float
    failed_starts: int = 0
    last_failure_at: float = 0.0

    def next_start_at(self) -> float:
        """Return the time from which a task may be started."""
        if not self.failed_starts:
            return 0.0
        return self.last_failure_at + min(_LONGEST_PAUSE, 2.0 ** (self.failed_starts - 1))


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


@dataclass(frozen=True, slots=True)
class Wish:
    """What a service should be. `deployments`: the newest first."""

    desired_count: int
    minimum_healthy_percent: int
    maximum_percent: int
    deployments: tuple[Deployment, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """A task to stop and why."""

    task_id: str
    reason: str


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
        Stop(m.task_id, f"(service) (task {m.task_id}) failed container health checks.")
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
        start, wake_at = 0, primary.next_start_at()

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
