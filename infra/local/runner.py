"""Carries out the life of one task: the commands of lifecycle.py become processes, timers and files.

All of it runs on one event loop; inputs are handled one after the other, in the order in which they come, so a state is
never changed by two. What a command starts in the background belongs to the task and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.local import environment, health, lifecycle, namespace
from infra.local.definition import Condition, Container, HealthCheck
from infra.local.lifecycle import Command, Input
from infra.local.netns import NetworkError
from infra.local.network import Network
from infra.local.process import Launcher, Process
from infra.local.settings import Settings
from infra.local.state import Status, StopCode, TaskState
from infra.local.task import TaskIdentity

log = logging.getLogger(__name__)


class TaskRunner:
    """One task while it lives. `on_change` is called with every state that is published."""

    def __init__(
        self,
        identity: TaskIdentity,
        *,
        settings: Settings,
        launcher: Launcher,
        network: Network,
        endpoints: environment.Endpoints,
        private_hosts: bool,
        on_change: Callable[[TaskRunner, TaskState], None],
        on_health: Callable[[TaskRunner], None],
    ) -> None:
        self.identity = identity
        self._settings = settings
        self._launcher = launcher
        self._network = network
        self._endpoints = endpoints
        self._on_change = on_change
        self._on_health = on_health
        directory = settings.state_directory / "tasks" / identity.task_id
        self.place = environment.Place(identity.address, directory, private_hosts)
        self._containers = {container.name: container for container in identity.definition.containers}
        self._processes: dict[str, Process] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.stopped = asyncio.Event()
        self.state, self._first_commands = lifecycle.create(identity.definition, time.time())

    def start(self) -> None:
        """Begin."""
        namespace.prepare(self.place)
        self._carry_out(self._first_commands)

    def stop(self, code: StopCode, reason: str) -> None:
        """Ask the task to stop."""
        self._happened(lifecycle.StopRequested(code, reason))

    def kill(self, container: str) -> None:
        """SIGKILL to the container's processes: a crash."""
        self._processes[container].kill()

    def process_ids(self) -> dict[str, int]:
        """Return the process id of every running container."""
        return {name: process.pid for name, process in self._processes.items() if process.running}

    def log(self, container: str) -> Path:
        """Return the file that holds the container's output."""
        return self.place.directory / f"{container}.log"

    async def close(self) -> None:
        """Kill what runs and forget it; for the end of everything."""
        for task in self._background:
            task.cancel()
        for process in self._processes.values():
            process.kill()
        await asyncio.gather(*self._background, *(p.wait() for p in self._processes.values()), return_exceptions=True)

    def _happened(self, what: Input) -> None:
        before = self.state.health
        self.state, commands = lifecycle.advance(self.state, what, time.time())
        self._carry_out(commands)
        if self.state.health is not before:
            self._on_health(self)

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case lifecycle.Publish(state):
                    self._publish(state)
                case lifecycle.Place():
                    self._later(self._settings.provisioning_seconds / 2, lifecycle.Placed())
                case lifecycle.AttachInterface():
                    self._spawn(self._attach())
                case lifecycle.StartContainer(name):
                    self._spawn(self._run(self._containers[name]))
                case lifecycle.Terminate(name):
                    self._spawn(self._terminate(self._containers[name]))
                case lifecycle.DetachInterface():
                    self._later(self._settings.deprovisioning_seconds, lifecycle.InterfaceDetached())

    def _publish(self, state: TaskState) -> None:
        self._on_change(self, state)
        if state.status is Status.STOPPED:
            self.stopped.set()

    def _later(self, seconds: float, what: Input) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            self._happened(what)

        self._spawn(wait())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"task {self.identity.task_id}")
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("task %s: %r", self.identity.task_id, error, exc_info=error)

    def _environment(self, container: Container) -> dict[str, str]:
        given = self.identity.override(container.name).get("environment", [])
        return environment.environment(
            container,
            self.place,
            self._endpoints,
            runtime_id=self.identity.runtime_ids[container.name],
            region=self._settings.region,
            overrides={entry["name"]: entry["value"] for entry in given},
            sidecar_environment=self._settings.sidecar_environment,
        )

    async def _attach(self) -> None:
        await asyncio.sleep(self._settings.provisioning_seconds / 2)
        identity = self.identity
        try:
            made = await asyncio.to_thread(
                self._network.attach, identity.address, identity.mac_address, identity.definition.proxy
            )
            if made is not None:
                for control in (each for container in self._containers.values() for each in container.system_controls):
                    await asyncio.to_thread(made.set_control, *control)
        except NetworkError as error:
            self._happened(lifecycle.InterfaceFailed(str(error)))
            return
        self.place = replace(self.place, namespace=made)
        self._happened(lifecycle.InterfaceAttached())

    async def _run(self, container: Container) -> None:
        """Run a container from its start to its end, with its health check."""
        image = environment.command(container, self._settings.sidecar_command)
        command = tuple(self.identity.override(container.name).get("command") or image)
        try:
            process = await self._launcher.start(
                namespace.command(command, self.place, container.user, container.read_only),
                environment=self._environment(container),
                directory=self._directory,
                log=self.log(container.name),
            )
        except OSError as error:
            reason = f"CannotStartContainerError: {error}"
            self._happened(lifecycle.ContainerFailed(container.name, reason))
            return
        self._processes[container.name] = process
        watches = [asyncio.create_task(self._give_up(container))]
        if container.health_check is not None:
            watches.append(asyncio.create_task(self._watch_health(container, container.health_check)))
        self._happened(lifecycle.ContainerStarted(container.name))
        try:
            exit_code = await process.wait()
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
        self._happened(lifecycle.ContainerExited(container.name, exit_code))

    @property
    def _directory(self) -> Path:
        """The folder that stands for the image: the one from which the task definition came."""
        return self._settings.image_directory

    async def _give_up(self, container: Container) -> None:
        """Report when those that wait for this container have waited too long."""
        waiting = [
            condition
            for other in self._containers.values()
            for name, condition in other.depends_on
            if name == container.name and condition is not Condition.START
        ]
        if waiting:
            await asyncio.sleep(container.start_timeout or self._settings.start_timeout_seconds)
            self._happened(lifecycle.DependencyTimedOut(container.name))

    async def _watch_health(self, container: Container, check: HealthCheck) -> None:
        async def run() -> bool:
            probe = await self._launcher.start(
                namespace.command(check.command, self.place, container.user, container.read_only),
                environment=self._environment(container),
                directory=self._directory,
                log=self.place.directory / f"{container.name}.health.log",
            )
            try:
                async with asyncio.timeout(check.timeout):
                    return await probe.wait() == 0
            except TimeoutError:
                return False
            finally:
                probe.kill()

        async for verdict in health.watch(check, run, self._settings.probe_seconds, time.monotonic):
            self._happened(lifecycle.HealthChanged(container.name, verdict))

    async def _terminate(self, container: Container) -> None:
        patience = container.stop_timeout
        await self._processes[container.name].stop(
            self._settings.stop_timeout_seconds if patience is None else patience
        )
