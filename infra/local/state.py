"""The state of a task: values without behaviour. How one follows from another is in lifecycle.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from infra.local.definition import Condition


class Status(StrEnum):
    """lastStatus of a task."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


NEXT: Final[dict[Status, frozenset[Status]]] = {
    Status.PROVISIONING: frozenset({Status.PENDING, Status.DEPROVISIONING}),
    Status.PENDING: frozenset({Status.ACTIVATING, Status.STOPPING}),
    Status.ACTIVATING: frozenset({Status.RUNNING}),
    Status.RUNNING: frozenset({Status.DEACTIVATING}),
    Status.DEACTIVATING: frozenset({Status.STOPPING}),
    Status.STOPPING: frozenset({Status.DEPROVISIONING}),
    Status.DEPROVISIONING: frozenset({Status.STOPPED}),
    Status.STOPPED: frozenset(),
}
"""Which status may follow which."""


class Health(StrEnum):
    """Health of a container or task."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


class StopCode(StrEnum):
    """Why a task stopped, for programs."""

    TASK_FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_CONTAINER_EXITED = "EssentialContainerExited"
    USER_INITIATED = "UserInitiated"
    SERVICE_SCHEDULER_INITIATED = "ServiceSchedulerInitiated"
    SPOT_INTERRUPTION = "SpotInterruption"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container. `launched`: it was told to start, `terminated`: it was told to end."""

    name: str
    essential: bool
    depends_on: tuple[tuple[str, Condition], ...]
    has_health_check: bool
    launched: bool = False
    terminated: bool = False
    status: Status = Status.PENDING  # PENDING, RUNNING or STOPPED
    health: Health = Health.UNKNOWN
    health_at: float = 0.0  # when the health became so
    exit_code: int | None = None
    reason: str | None = None

    @property
    def alive(self) -> bool:
        """True from the order to start until the end was seen."""
        return self.launched and self.status is not Status.STOPPED


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task. Times are Unix times in seconds, None until they come."""

    containers: tuple[ContainerState, ...]
    status: Status = Status.PROVISIONING
    desired: Status = Status.RUNNING  # RUNNING or STOPPED
    attachment: str = "PRECREATED"
    version: int = 0
    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    connectivity_at: float | None = None
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    execution_stopped_at: float | None = None
    stopped_at: float | None = None

    @property
    def health(self) -> Health:
        """Health judged, as ECS does, on the essential containers that have a health check."""
        judged = [c.health for c in self.containers if c.essential and c.has_health_check]
        if not judged or (Health.UNKNOWN in judged and Health.UNHEALTHY not in judged):
            return Health.UNKNOWN
        return Health.UNHEALTHY if Health.UNHEALTHY in judged else Health.HEALTHY

    def container(self, name: str) -> ContainerState:
        """Return the container of that name."""
        return next(container for container in self.containers if container.name == name)
