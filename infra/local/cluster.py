"""One ECS cluster: its task definitions, services and tasks, and the loop that keeps services as they should be.

Everything here belongs to one event loop. What changes a service or a task wakes the scheduler; the scheduler
never waits for a time, except where a service's tasks fail to start again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infra.local import api_model, ecs_rules, events
from infra.local import definition as definitions
from infra.local.definition import TaskDefinition
from infra.local.environment import Endpoints
from infra.local.network import Network
from infra.local.process import Launcher
from infra.local.runner import TaskRunner
from infra.local.scheduler import Breaker, Member, decide, next_zone
from infra.local.service import Failure, Service, new_deployment
from infra.local.settings import ACCOUNT, MEBIBYTES_PER_TASK, LocalError, Settings
from infra.local.state import Status, StopCode, TaskState
from infra.local.task import TaskIdentity, event_detail, failure, is_healthy, new_identity, ready_at, zones

_KEEP_STOPPED_SECONDS: Final = 3600.0  # DescribeTasks answers for stopped tasks for about an hour

_PLACE_AGAIN_SECONDS: Final = 5.0
_FAILURES: Final = (StopCode.TASK_FAILED_TO_START, StopCode.ESSENTIAL_CONTAINER_EXITED)


class EcsError(Exception):
    """A request that ECS refuses. `code` is the name of the exception in the ECS API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Cluster:
    """A cluster. `publish` takes the `detail` of each task state change, `tell` the events of services."""

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        launcher: Launcher,
        network: Network,
        endpoints: Endpoints,
        private_hosts: bool,
        publish: Callable[[Mapping[str, Any]], None],
        tell: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.name = name
        self.settings = settings
        self._launcher = launcher
        self._network = network
        self._endpoints = endpoints
        self._private_hosts = private_hosts
        self._publish = publish
        self._tell = tell
        self._families: dict[str, list[TaskDefinition]] = {}
        self.services: dict[str, Service] = {}
        self.tasks: dict[str, TaskRunner] = {}
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._loop: asyncio.Task[None] | None = None
        self._notifications: set[asyncio.Task[None]] = set()

    @property
    def arn(self) -> str:
        """Return the cluster's ARN."""
        return f"arn:aws:ecs:{self.settings.region}:{ACCOUNT}:cluster/{self.name}"

    def start(self) -> None:
        """Start the scheduler."""
        self._loop = asyncio.create_task(self._schedule(), name="service scheduler")

    # ------------------------------------------------------------------------------- task definitions

    def register(self, document: Mapping[str, Any]) -> TaskDefinition:
        """Register a task definition as the next revision of its family. Raises DefinitionError."""
        revisions = self._families.get(str(document.get("family")), [])
        made = definitions.parse(document, revision=len(revisions) + 1, region=self.settings.region)
        self._families.setdefault(made.family, []).append(made)
        return made

    def definition(self, reference: str) -> TaskDefinition:
        """Return a definition by ARN, family:revision or family. Raises EcsError."""
        family, _, revision = reference.rpartition("task-definition/")[2].partition(":")
        revisions = self._families.get(family, [])
        if revisions and not revision:
            return revisions[-1]
        if revision.isdecimal() and 1 <= int(revision) <= len(revisions):
            return revisions[int(revision) - 1]
        known = api_model.meant(family, self._families) if not revisions else f"the last revision is {len(revisions)}"
        raise EcsError(
            "ClientException", f"Unable to describe task definition. {reference!r} is not registered: {known}"
        )

    # ---------------------------------------------------------------------------------------- services

    def create_service(self, request: Mapping[str, Any]) -> Service:
        """Create a service from a CreateService input. Raises EcsError."""
        if mistakes := api_model.mistakes("CreateService", request) or ecs_rules.service(request):
            raise EcsError("InvalidParameterException", "; ".join(mistakes))
        name = request["serviceName"]
        if name in self.services:
            raise EcsError("InvalidParameterException", f"Creation of service {name} was not idempotent.")
        wanted = self.definition(str(request.get("taskDefinition")))
        limits = request.get("deploymentConfiguration", {})
        now = time.time()
        service = Service(
            name=name,
            cluster=self.name,
            region=self.settings.region,
            desired_count=self._count(request.get("desiredCount", 1), name),
            deployments=[new_deployment(wanted.arn, now)],
            created_at=now,
            minimum_healthy_percent=int(limits.get("minimumHealthyPercent", 100)),
            maximum_percent=int(limits.get("maximumPercent", 200)),
            settle_seconds=self.settings.settle_seconds,
            breaker=_breaker(limits.get("deploymentCircuitBreaker", {})),
        )
        self.services[name] = service
        self._tell_deployment(service, "SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO")
        self._wake.set()
        return service

    def service(self, reference: str) -> Service:
        """Return a service by name or ARN. Raises EcsError."""
        service = self.services.get(reference.rpartition("/")[2])
        if service is None:
            raise EcsError("ServiceNotFoundException", f"Service not found: {reference}")
        return service

    def update_service(
        self, reference: str, *, desired_count: int | None, definition: str | None, force: bool
    ) -> Service:
        """Change what a service should be; another definition or `force` makes a new deployment. Raises EcsError."""
        service = self.service(reference)
        wanted = self.definition(definition).arn if definition else service.primary.definition_arn
        if desired_count is not None:
            service.desired_count = self._count(desired_count, service.name)
            service.steady = False
            self._tell_action(service, "SERVICE_DESIRED_COUNT_UPDATED", "INFO")
        if force or wanted != service.primary.definition_arn:
            service.deploy(wanted, time.time())
            self._tell_deployment(service, "SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO")
        self._wake.set()
        return service

    def _count(self, value: int, service: str) -> int:
        """Return a desired count that ECS would take and this machine can hold. Raises EcsError."""
        if mistake := ecs_rules.desired_count(value):
            raise EcsError("InvalidParameterException", mistake)
        others = sum(each.desired_count for each in self.services.values() if each.name != service)
        if value + others > self.settings.capacity:
            raise EcsError(
                "InvalidParameterException",
                f"desiredCount {value} is too much for this machine: it holds {self.settings.capacity} tasks at "
                f"{MEBIBYTES_PER_TASK} MiB of its memory each, and {others} are wanted by other services",
            )
        return value

    def members(self, service: Service) -> list[Member]:
        """Return the service's tasks that have not STOPPED."""
        return [
            Member(
                task_id=runner.identity.task_id,
                deployment_id=str(runner.identity.started_by),
                zone=runner.identity.zone,
                status=runner.state.status,
                desired=runner.state.desired,
                health=runner.state.health,
                ready=runner.state.status is Status.RUNNING and is_healthy(runner.state),
                created_at=runner.state.created_at,
                ready_at=ready_at(runner.state),
            )
            for runner in self.tasks.values()
            if runner.identity.service == service.name and runner.state.status is not Status.STOPPED
        ]

    # ------------------------------------------------------------------------------------------- tasks

    def run_task(
        self,
        reference: str,
        *,
        group: str | None = None,
        started_by: str | None = None,
        overrides: Sequence[Mapping[str, Any]] = (),
    ) -> TaskRunner:
        """Start a task that belongs to no service. Raises EcsError, and LocalError without a free network."""
        definition = self.definition(reference)
        names = {container.name for container in definition.containers}
        for override in overrides:
            if override.get("name") not in names:
                message = (
                    f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
                )
                raise EcsError("InvalidParameterException", message)
        zone = zones(self.settings.region)[len(self.tasks) % 3]
        return self._start_task(definition, group or f"family:{definition.family}", started_by, zone, overrides)

    def task(self, reference: str) -> TaskRunner:
        """Return a task by id or ARN, or by the beginning of its id if only one has it. Raises EcsError."""
        wanted = reference.rpartition("/")[2]
        if wanted in self.tasks:
            return self.tasks[wanted]
        found = [runner for task_id, runner in self.tasks.items() if wanted and task_id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        raise EcsError("InvalidParameterException", "The referenced task was not found.")

    def stop_task(self, reference: str, reason: str | None) -> TaskRunner:
        """Stop a task. Raises EcsError."""
        runner = self.task(reference)
        runner.stop(StopCode.USER_INITIATED, reason or "Task stopped by user")
        return runner

    def _start_task(
        self,
        definition: TaskDefinition,
        group: str,
        started_by: str | None,
        zone: str,
        overrides: Sequence[Mapping[str, Any]] = (),
    ) -> TaskRunner:
        identity = new_identity(
            definition,
            cluster=self.name,
            region=self.settings.region,
            zone=zone,
            group=group,
            started_by=started_by,
            address=self._network.take(),
            overrides=overrides,
        )
        runner = TaskRunner(
            identity,
            settings=self.settings,
            launcher=self._launcher,
            network=self._network,
            endpoints=self._endpoints,
            private_hosts=self._private_hosts,
            on_change=self._task_changed,
            on_health=lambda _: self._notify(),
        )
        self.tasks[identity.task_id] = runner
        runner.start()
        return runner

    def _task_changed(self, runner: TaskRunner, state: TaskState) -> None:
        identity = runner.identity
        self._publish(event_detail(identity, state))
        if state.status is Status.STOPPED:
            self._network.give_back(identity.address)
            asyncio.get_running_loop().call_later(_KEEP_STOPPED_SECONDS, self.tasks.pop, identity.task_id, None)
        self._count_failures(identity, state)
        self._notify()

    def _count_failures(self, identity: TaskIdentity, state: TaskState) -> None:
        """Count a task of a service that ended by itself, as soon as it is known: it is replaced in the same moment."""
        service = self.services.get(identity.service or "")
        first_seen = state.desired is Status.STOPPED and state.status in (Status.PENDING, Status.RUNNING)
        if service is None or not first_seen or state.stop_code not in _FAILURES:
            return
        if state.started_at is not None and time.time() - ready_at(state) >= self.settings.settle_seconds:
            return  # it ran: ECS replaces it silently
        self._failed(service, failure(identity, state))

    def _failed(self, service: Service, failed: Failure) -> None:
        now = time.time()
        service.note(f"was unable to start a task: {failed.reason}", now)
        self._tell_action(service, "SERVICE_TASK_START_IMPAIRED", "WARN", failed.reason)
        if not service.failed(failed, now):
            return
        self._tell_deployment(service, "SERVICE_DEPLOYMENT_FAILED", "ERROR")
        service.note(f"(deployment {service.primary.deployment_id}) deployment failed: tasks failed to start.", now)
        if service.roll_back():
            service.note(f"rolling back to {service.primary.definition_arn.rpartition('/')[2]}.", now)
            self._tell_deployment(service, "SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO")

    # --------------------------------------------------------------------------------------- scheduler

    def _notify(self) -> None:
        """Wake the scheduler and those that wait for something to be so."""
        self._wake.set()

        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.create_task(tell(), name="notification")
        self._notifications.add(task)
        task.add_done_callback(self._notifications.discard)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Return True as soon as the condition about this cluster holds, False if it does not in time."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            return False
        return True

    async def _schedule(self) -> None:
        while True:
            self._wake.clear()
            wake_at = min((self._step(service) for service in self.services.values()), default=math.inf)
            pause = None if math.isinf(wake_at) else max(0.0, wake_at - time.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _step(self, service: Service) -> float:
        """Bring one service a step nearer to its wish; return the time of the next step if no change comes before."""
        members = self.members(service)
        decision = decide(service.wish(), members, time.time())
        for stop in decision.stop:
            runner = self.tasks[stop.task_id]
            if stop.unhealthy:
                self._failed(service, failure(runner.identity, runner.state, stop.reason))
            runner.stop(StopCode.SERVICE_SCHEDULER_INITIATED, stop.reason)
        for _ in range(decision.start):
            zone = next_zone(zones(self.settings.region), self.members(service))
            definition = self.definition(service.primary.definition_arn)
            try:
                self._start_task(definition, f"service:{service.name}", service.primary.deployment_id, zone)
            except LocalError as error:
                service.note(f"was unable to place a task: {error}", time.time())
                self._tell_action(service, "SERVICE_TASK_PLACEMENT_FAILURE", "ERROR", str(error))
                return time.time() + _PLACE_AGAIN_SECONDS
        service.deployments = [d for d in service.deployments if d.deployment_id not in decision.finished]
        was_steady = service.steady
        judge_at = service.judge(self.members(service), time.time())
        if service.steady and not was_steady:
            self._tell_action(service, "SERVICE_STEADY_STATE", "INFO")
            if service.complete():
                self._tell_deployment(service, "SERVICE_DEPLOYMENT_COMPLETED", "INFO")
            self._notify()
        return min(judge_at, math.inf if decision.wake_at is None else decision.wake_at)

    def _tell_action(self, service: Service, name: str, level: str, reason: str | None = None) -> None:
        region, now = self.settings.region, time.time()
        self._tell(events.service_action(service.arn, self.arn, name, level, reason, region, now))

    def _tell_deployment(self, service: Service, name: str, level: str) -> None:
        deployment, region, now = service.primary, self.settings.region, time.time()
        reason = f"ECS deployment {deployment.deployment_id} {deployment.reason}"
        self._tell(events.deployment_change(service.arn, deployment.deployment_id, name, level, reason, region, now))

    # --------------------------------------------------------------------------------------------- end

    def steady(self) -> bool:
        """Say whether every service is in its steady state."""
        return all(service.steady for service in self.services.values())

    async def stop(self) -> None:
        """Stop every task as StopTask does, and wait for it."""
        await self._stop_scheduler()
        runners = [runner for runner in self.tasks.values() if runner.state.status is not Status.STOPPED]
        for runner in runners:
            runner.stop(StopCode.USER_INITIATED, "The cluster goes down")
        await asyncio.gather(*(runner.stopped.wait() for runner in runners))

    async def close(self) -> None:
        """End everything at once."""
        await self._stop_scheduler()
        await asyncio.gather(*(runner.close() for runner in self.tasks.values()))

    async def _stop_scheduler(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None


def _breaker(raw: Mapping[str, Any]) -> Breaker | None:
    return Breaker(rollback=bool(raw.get("rollback", False))) if raw.get("enable") else None
