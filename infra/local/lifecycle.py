"""The life of one task, without IO or clock: an input and a time in, the next state and commands out.

Rules, from "Amazon ECS task lifecycle" in the ECS developer guide and from the behaviour of the ECS agent:

1. A task goes PROVISIONING → PENDING → ACTIVATING → RUNNING → DEACTIVATING → STOPPING → DEPROVISIONING →
   STOPPED and never back; it may leave out what it does not need (`NEXT`).
2. Every change that the outside sees is published and raises `version` by one: a status, a desired status,
   the network interface, a container. Health is not among them: ECS sends no event for it.
3. Containers start as their dependencies allow and not before the network interface is attached. The task is
   RUNNING when the last of its containers is.
4. A stop is first seen as desiredStatus STOPPED, while everything still runs. DEACTIVATING is for what a load balancer
   or Cloud Map must be told; a task of the mesh has neither, so SIGTERM follows in the same moment.
5. Containers stop in the reverse order of `dependsOn`: each gets SIGTERM when all that depend on it have ended,
   whatever the condition. The end of an essential container stops the others in the same order.
6. A container that was told to start is there until it was seen to end: what is STOPPING waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from infra.local.definition import Condition, TaskDefinition
from infra.local.state import NEXT, ContainerState, Health, Status, StopCode, TaskState

# Inputs: what happened.


@dataclass(frozen=True, slots=True)
class Placed:
    """A place was found and the network interface is being attached."""


@dataclass(frozen=True, slots=True)
class InterfaceAttached:
    """The task has its address."""


@dataclass(frozen=True, slots=True)
class InterfaceFailed:
    """The task cannot have its network interface."""

    reason: str


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    """The container's process runs."""

    name: str


@dataclass(frozen=True, slots=True)
class ContainerFailed:
    """The container could not be started."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """The container's process ended. 128 + signal number if a signal ended it, as Docker says."""

    name: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """The container's health check has a new verdict."""

    name: str
    health: Health


@dataclass(frozen=True, slots=True)
class DependencyTimedOut:
    """The container did not become what others wait for within its startTimeout."""

    name: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants the task to stop."""

    code: StopCode
    reason: str


@dataclass(frozen=True, slots=True)
class InterfaceDetached:
    """The network interface is gone."""


Input = (
    Placed
    | InterfaceAttached
    | InterfaceFailed
    | ContainerStarted
    | ContainerFailed
    | ContainerExited
    | HealthChanged
    | DependencyTimedOut
    | StopRequested
    | InterfaceDetached
)


# Commands: what to do.


@dataclass(frozen=True, slots=True)
class Publish:
    """Send an event with this state."""

    state: TaskState


@dataclass(frozen=True, slots=True)
class Place:
    """Find a place; answer with Placed."""


@dataclass(frozen=True, slots=True)
class AttachInterface:
    """Attach the network interface; answer with InterfaceAttached or InterfaceFailed."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start the container; answer with ContainerStarted or ContainerFailed, later with ContainerExited."""

    name: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM to the container, SIGKILL after its stopTimeout."""

    name: str


@dataclass(frozen=True, slots=True)
class DetachInterface:
    """Remove the network interface; answer with InterfaceDetached."""


Command = Publish | Place | AttachInterface | StartContainer | Terminate | DetachInterface


def create(definition: TaskDefinition, now: float) -> tuple[TaskState, list[Command]]:
    """Return a new task and its first commands."""
    containers = tuple(
        ContainerState(c.name, c.essential, c.depends_on, c.health_check is not None) for c in definition.containers
    )
    state = TaskState(containers=containers, version=1, created_at=now, updated_at=now)
    return state, [Publish(state), Place()]


def advance(state: TaskState, happened: Input, now: float) -> tuple[TaskState, list[Command]]:
    """Return the state after what happened, and what to do. What comes too late to matter changes nothing."""
    step = _Step(state, now)
    match happened:
        case Placed():
            step.placed()
        case InterfaceAttached():
            step.attached()
        case InterfaceFailed(reason):
            step.stop(StopCode.TASK_FAILED_TO_START, f"ResourceInitializationError: {reason}")
        case ContainerStarted(name):
            step.container_started(name)
        case ContainerFailed(name, reason):
            step.container_ended(name, None, reason, StopCode.TASK_FAILED_TO_START, reason)
        case ContainerExited(name, exit_code):
            reason = "Essential container in task exited"
            step.container_ended(name, exit_code, None, StopCode.ESSENTIAL_CONTAINER_EXITED, reason)
        case HealthChanged(name, health):
            step.change_container(name, health=health, health_at=now)
            step.start_containers()
        case DependencyTimedOut(name):
            step.dependency_timed_out(name)
        case StopRequested(code, reason):
            step.stop(code, reason)
        case InterfaceDetached():
            step.detached()
    return step.state, step.commands


class _Step:
    """One call of `advance`: the state on its way and the commands collected."""

    def __init__(self, state: TaskState, now: float) -> None:
        self.state = state
        self.now = now
        self.commands: list[Command] = []

    def change(self, **values: object) -> None:
        self.state = replace(self.state, **values)  # type: ignore[arg-type]  # the fields of TaskState

    def change_container(self, name: str, **values: object) -> None:
        changed = tuple(
            replace(c, **values) if c.name == name else c  # type: ignore[arg-type]  # the fields of ContainerState
            for c in self.state.containers
        )
        self.change(containers=changed)

    def publish(self, status: Status | None = None) -> None:
        """Publish the state, with the next status if there is one."""
        if status is not None:
            if status not in NEXT[self.state.status]:
                raise AssertionError(f"a task never goes from {self.state.status} to {status}")
            self.change(status=status)
        self.change(version=self.state.version + 1, updated_at=self.now)
        self.commands.append(Publish(self.state))

    @property
    def wanted(self) -> bool:
        return self.state.desired is Status.RUNNING

    def placed(self) -> None:
        if self.state.status is not Status.PROVISIONING:
            return
        self.change(attachment="ATTACHING")
        self.publish(Status.PENDING)
        self.commands.append(AttachInterface())

    def attached(self) -> None:
        if self.state.status is not Status.PENDING:
            return
        self.change(
            attachment="ATTACHED",
            connectivity_at=self.now,
            pull_started_at=self.now,
            pull_stopped_at=self.now,
        )
        self.publish()
        self.start_containers()

    def start_containers(self) -> None:
        """Order the start of every container whose dependencies are met."""
        if not self.wanted or self.state.attachment != "ATTACHED":
            return
        for container in self.state.containers:
            if not container.launched and all(self._met(name, wish) for name, wish in container.depends_on):
                self.change_container(container.name, launched=True)
                self.commands.append(StartContainer(container.name))

    def _met(self, name: str, condition: Condition) -> bool:
        other = self.state.container(name)
        match condition:
            case Condition.START:
                return other.launched and other.status is not Status.PENDING
            case Condition.HEALTHY:
                return other.health is Health.HEALTHY
            case Condition.COMPLETE:
                return other.status is Status.STOPPED
            case Condition.SUCCESS:
                return other.status is Status.STOPPED and other.exit_code == 0

    def container_started(self, name: str) -> None:
        if self.state.container(name).status is not Status.PENDING:
            return
        self.change_container(name, status=Status.RUNNING)
        self.publish()
        self._terminate()  # if the order to stop overtook it
        self.start_containers()
        self._settle()

    def _settle(self) -> None:
        """Become RUNNING once the last container runs, or has run."""
        pending = any(c.status is Status.PENDING for c in self.state.containers)
        if self.state.status is not Status.PENDING or not self.wanted or pending:
            return
        self.publish(Status.ACTIVATING)
        self.change(started_at=self.now)
        self.publish(Status.RUNNING)

    def container_ended(
        self, name: str, exit_code: int | None, reason: str | None, code: StopCode, task_reason: str
    ) -> None:
        container = self.state.container(name)
        if container.status is Status.STOPPED:
            return
        self.change_container(name, status=Status.STOPPED, exit_code=exit_code, reason=reason, health=Health.UNKNOWN)
        if container.essential and self.wanted:
            self.stop(code, task_reason)
            return
        self.publish()
        self.start_containers()
        self._terminate()
        for dependent in self.state.containers:
            if self.wanted and not dependent.launched and self._hopeless(dependent):
                self.stop(
                    StopCode.TASK_FAILED_TO_START,
                    f"{dependent.name} depends on {name}, which ended",
                )
        self._settle()
        self._finish()

    def _hopeless(self, container: ContainerState) -> bool:
        """Say whether a dependency ended that can no longer become what the container waits for."""
        return any(
            self.state.container(name).status is Status.STOPPED and not self._met(name, wish)
            for name, wish in container.depends_on
        )

    def dependency_timed_out(self, name: str) -> None:
        waiting = [
            c.name
            for c in self.state.containers
            if not c.launched and any(n == name and not self._met(n, wish) for n, wish in c.depends_on)
        ]
        if waiting and self.wanted:
            reason = f"{waiting[0]} waited too long for {name}"
            self.stop(StopCode.TASK_FAILED_TO_START, reason)

    def stop(self, code: StopCode, reason: str) -> None:
        """Begin to stop."""
        if not self.wanted:
            return
        self.change(desired=Status.STOPPED, stop_code=code, stopped_reason=reason, stopping_at=self.now)
        self.publish()
        if self.state.status is Status.PROVISIONING:
            self._deprovision()
            return
        if self.state.status is Status.RUNNING:
            self.publish(Status.DEACTIVATING)
        self.publish(Status.STOPPING)
        self._terminate()
        self._finish()

    def _terminate(self) -> None:
        """SIGTERM to every container that runs and that nothing which still lives depends on."""
        if self.state.status is not Status.STOPPING:
            return
        needed = {name for c in self.state.containers if c.alive for name, _ in c.depends_on}
        for container in self.state.containers:
            if container.status is Status.RUNNING and not container.terminated and container.name not in needed:
                self.change_container(container.name, terminated=True)
                self.commands.append(Terminate(container.name))

    def _finish(self) -> None:
        """Leave STOPPING once nothing lives any more."""
        if self.state.status is Status.STOPPING and not any(c.alive for c in self.state.containers):
            self._deprovision()

    def _deprovision(self) -> None:
        never_started = [c.name for c in self.state.containers if c.status is Status.PENDING]
        for name in never_started:
            self.change_container(name, status=Status.STOPPED)
        self.change(execution_stopped_at=self.now)
        self.publish(Status.DEPROVISIONING)
        self.commands.append(DetachInterface())

    def detached(self) -> None:
        if self.state.status is not Status.DEPROVISIONING:
            return
        self.change(attachment="DELETED", stopped_at=self.now)
        self.publish(Status.STOPPED)
