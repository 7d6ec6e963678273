"""An ECS service: what it should be, how its deployments go, and how DescribeServices shows it."""

from __future__ import annotations

import math
import random
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from infra.local.scheduler import Breaker, Deployment, Member, Rollout, Wish
from infra.local.settings import ACCOUNT
from infra.local.state import Status

_EVENTS_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed: the container that ended, with its exit code if it has one, and why the task stopped."""

    task_id: str
    deployment_id: str
    container: str | None
    exit_code: int | None
    reason: str


@dataclass(slots=True)
class Service:
    """A service. `deployments`: the newest, PRIMARY, first."""

    name: str
    cluster: str
    region: str
    desired_count: int
    deployments: list[Deployment]
    created_at: float
    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    breaker: Breaker | None = None
    settle_seconds: float = 0.0
    steady: bool = False
    completed: Deployment | None = None  # the last one that was
    last_failure: Failure | None = None
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_EVENTS_KEPT))

    @property
    def arn(self) -> str:
        """Return the service's ARN."""
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:service/{self.cluster}/{self.name}"

    @property
    def cluster_arn(self) -> str:
        """Return the cluster's ARN."""
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:cluster/{self.cluster}"

    @property
    def primary(self) -> Deployment:
        """Return the newest deployment."""
        return self.deployments[0]

    def wish(self) -> Wish:
        """Return what the scheduler needs to know."""
        return Wish(self.desired_count, self.minimum_healthy_percent, self.maximum_percent, tuple(self.deployments))

    def deploy(self, definition_arn: str, now: float) -> None:
        """Make a new PRIMARY deployment."""
        self.deployments.insert(0, new_deployment(definition_arn, now))
        self.steady = False

    def failed(self, failure: Failure, now: float) -> bool:
        """Count a task that failed; return whether the circuit breaker has ended its deployment."""
        self.last_failure = failure
        for number, deployment in enumerate(self.deployments):
            if deployment.deployment_id != failure.deployment_id:
                continue
            after = deployment.after_failure(now)
            opens = number == 0 and self.breaker is not None and self.breaker.opens(after, self.desired_count)
            if opens:
                after = replace(after, rollout=Rollout.FAILED, reason="circuit breaker: tasks failed to start.")
            self.deployments[number] = after
            return opens
        return False

    def roll_back(self) -> bool:
        """Make the last COMPLETED deployment PRIMARY again, if that is wanted; return whether it was."""
        if self.breaker is None or not self.breaker.rollback or self.completed is None:
            return False
        to = self.completed
        reason = f"circuit breaker: rolling back to deploymentId {to.deployment_id}."
        self.deployments = [d for d in self.deployments if d.deployment_id != to.deployment_id]
        self.deployments.insert(0, replace(to, rollout=Rollout.IN_PROGRESS, failed_tasks=0, reason=reason))
        self.steady = False
        return True

    def note(self, message: str, now: float) -> None:
        """Add a line to the service's events."""
        text = f"(service {self.name}) {message}"
        self.events.appendleft({"id": str(uuid.uuid4()), "createdAt": round(now, 3), "message": text})

    def judge(self, members: Sequence[Member], now: float) -> float:
        """Note when a steady state is reached: all tasks that were wished for, ready for a moment, and no others.

        Return when to judge again though nothing changes, infinity for never.
        """
        complete = (
            len(self.deployments) == 1
            and len(members) == self.desired_count
            and all(m.ready and m.desired is Status.RUNNING for m in members)
        )
        settled_at = max((m.ready_at for m in members), default=0.0) + self.settle_seconds
        # A steady state ends with a change alone, and not when a clock was set back.
        steady = complete and (self.steady or now >= settled_at)
        if steady and not self.steady:
            self.note("has reached a steady state.", now)
            self.deployments[0] = replace(self.primary, failed_tasks=0)
            self.last_failure = None
        self.steady = steady
        return settled_at if complete and not steady else math.inf

    def complete(self) -> bool:
        """Note that the PRIMARY deployment is COMPLETED; return whether it was not before."""
        if self.primary.rollout is not Rollout.IN_PROGRESS:
            return False
        self.completed = self.deployments[0] = replace(self.primary, rollout=Rollout.COMPLETED, reason="completed.")
        return True


def new_deployment(definition_arn: str, now: float) -> Deployment:
    """Return a deployment with an id of the form that ECS gives."""
    identifier = f"ecs-svc/{random.randrange(10**18, 10**19)}"  # noqa: S311 - a name
    return Deployment(identifier, definition_arn, now)


def describe(service: Service, members: Sequence[Member]) -> Mapping[str, Any]:
    """Return the service as DescribeServices has it."""
    return {
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": service.cluster_arn,
        "loadBalancers": [],
        "serviceRegistries": [],
        "status": "ACTIVE",
        "desiredCount": service.desired_count,
        "runningCount": _count(members, running=True),
        "pendingCount": _count(members, running=False),
        "launchType": "FARGATE",
        "platformVersion": "LATEST",
        "taskDefinition": service.primary.definition_arn,
        "deploymentConfiguration": {
            "minimumHealthyPercent": service.minimum_healthy_percent,
            "maximumPercent": service.maximum_percent,
            "deploymentCircuitBreaker": {
                "enable": service.breaker is not None,
                "rollback": service.breaker is not None and service.breaker.rollback,
            },
        },
        "deployments": [
            _describe_deployment(
                service, deployment, [m for m in members if m.deployment_id == deployment.deployment_id]
            )
            for deployment in service.deployments
        ],
        "events": list(service.events),
        "createdAt": round(service.created_at, 3),
        "placementConstraints": [],
        "placementStrategy": [],
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "enableECSManagedTags": False,
        "propagateTags": "NONE",
        "enableExecuteCommand": False,
    }


def _count(members: Sequence[Member], *, running: bool) -> int:
    wanted = [m for m in members if m.desired is Status.RUNNING]
    return sum((m.status is Status.RUNNING) is running for m in wanted)


def _describe_deployment(service: Service, deployment: Deployment, members: Sequence[Member]) -> dict[str, Any]:
    is_primary = deployment is service.primary
    return {
        "id": deployment.deployment_id,
        "status": "PRIMARY" if is_primary else "ACTIVE",
        "taskDefinition": deployment.definition_arn,
        "desiredCount": service.desired_count if is_primary else 0,
        "runningCount": _count(members, running=True),
        "pendingCount": _count(members, running=False),
        "failedTasks": deployment.failed_tasks,
        "createdAt": round(deployment.created_at, 3),
        "updatedAt": round(deployment.created_at, 3),
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
        "rolloutState": deployment.rollout.value,
        "rolloutStateReason": f"ECS deployment {deployment.deployment_id} {deployment.reason}",
    }
