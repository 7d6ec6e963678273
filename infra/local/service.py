"""An ECS service: what it should be, and how DescribeServices shows it."""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from infra.local.scheduler import Deployment, Member, Wish
from infra.local.settings import ACCOUNT
from infra.local.state import Status

_EVENTS_KEPT: Final = 100


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
    steady: bool = False
    completed: str = ""  # the last deployment that was
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

    def note(self, message: str, now: float) -> None:
        """Add a line to the service's events."""
        text = f"(service {self.name}) {message}"
        self.events.appendleft({"id": str(uuid.uuid4()), "createdAt": round(now, 3), "message": text})

    def judge(self, members: Sequence[Member], now: float) -> None:
        """Note when a steady state is reached: all tasks that were wished for, ready, and no others."""
        steady = (
            len(self.deployments) == 1
            and len(members) == self.desired_count
            and all(m.ready and m.desired is Status.RUNNING for m in members)
        )
        if steady and not self.steady:
            self.note("has reached a steady state.", now)
        self.steady = steady


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
    complete = is_primary and service.steady
    return {
        "id": deployment.deployment_id,
        "status": "PRIMARY" if is_primary else "ACTIVE",
        "taskDefinition": deployment.definition_arn,
        "desiredCount": service.desired_count if is_primary else 0,
        "runningCount": _count(members, running=True),
        "pendingCount": _count(members, running=False),
        "failedTasks": deployment.failed_starts,
        "createdAt": round(deployment.created_at, 3),
        "updatedAt": round(deployment.created_at, 3),
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
        "rolloutState": "COMPLETED" if complete else "IN_PROGRESS",
        "rolloutStateReason": f"ECS deployment {deployment.deployment_id} "
        + ("completed." if complete else "in progress."),
    }
