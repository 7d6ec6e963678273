"""`tramo up`: bring a folder up, say what happens, and take all of it down again.

The first SIGINT or SIGTERM, or `tramo down`, stops every task as ECS would; a second one ends everything at
once.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from rich.console import Console

from infra.cli.addresses import calls
from infra.cli.mesh import directory
from infra.local.machine import Machine
from infra.local.settings import LocalError, Settings
from infra.local.state import Status, StopCode
from infra.local.up import machine
from infra.terminal import console

_ANNOUNCE_SECONDS: Final = 600.0
_FAILURES: Final = (StopCode.TASK_FAILED_TO_START, StopCode.ESSENTIAL_CONTAINER_EXITED)


def run(options: argparse.Namespace) -> None:
    """Bring the folder up, and run until told to stop."""
    up(options.directory, directory(options), options.names)


def up(folder: Path, state: Path, names: str) -> None:
    """Run until told to stop. Raises LocalError."""
    if not folder.is_dir():
        raise LocalError(f"{folder} is not a folder")
    settings = Settings(state_directory=state, image_directory=folder.absolute(), names=names)
    asyncio.run(_up(settings, sys.stdout))


async def _up(settings: Settings, stream: IO[str]) -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    insisted = asyncio.Event()

    def ask() -> None:
        (insisted if asked.is_set() else asked).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    output = console(stream)
    async with machine(settings) as (made, control):
        introduce(output, made)
        made.listeners.append(_Narrator(output, settings.state_directory).tell)
        announcement = asyncio.create_task(_announce(output, made), name="announcement")
        await _first(asked.wait(), control.down.wait())
        announcement.cancel()
        asked.set()
        output.print("stopping every task; Ctrl-C again ends them at once")
        await _first(made.cluster.stop(), insisted.wait())


async def _first(*works: Any) -> None:
    """Return when the first of them ends, or raise what it raised; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()


async def _announce(output: Console, made: Machine) -> None:
    """Say it when everything has started."""
    if await made.cluster.until(made.cluster.steady, _ANNOUNCE_SECONDS):
        output.print("every service is steady; try: tramo services, tramo endpoints NAME, tramo tasks")
        for line in how_to_call(made):
            output.print(line, soft_wrap=True)


def how_to_call(made: Machine) -> list[str]:
    """Return a line for each service that can be called: one of its tasks, from this machine."""
    found: dict[str, str] = {}
    for runner in made.cluster.tasks.values():
        if runner.identity.service is not None and runner.state.status is Status.RUNNING:
            for name, address in calls(runner.identity.definition, runner.identity.address):
                found.setdefault(name, address)
    width = max(map(len, found), default=0)
    return [f"  {name:<{width}}  {address}" for name, address in sorted(found.items())]


def introduce(output: Console, made: Machine) -> None:
    """Say where everything is."""
    names = "every task has its own /etc/hosts" if made.private_hosts else "by HTTP_PROXY"
    for name, value in (
        ("cluster", made.cluster.name),
        ("API", made.api.url),
        ("ECS", made.endpoints.ecs),
        ("AWS", made.endpoints.aws),
        ("names", names),
        ("logs", str(made.settings.state_directory)),
    ):
        output.print(f"{name:<8} {value}", soft_wrap=True)
    if made.shared_network is not None:
        sys.stderr.write(
            f"tramo: {made.shared_network}, so all tasks share this machine's network: each app must listen on $HOST, "
            "and a clash of ports in a task, which ECS would have, is not seen here\n"
        )
    if not made.private_hosts and made.settings.names == "auto":
        sys.stderr.write("tramo: unshare --mount is refused on this machine; apps get HTTP_PROXY instead of names\n")


class _Narrator:
    """Says a line whenever a task's status or wish changes."""

    def __init__(self, output: Console, logs: Path) -> None:
        self._output = output
        self._logs = logs
        self._last: dict[str, tuple[str, str]] = {}

    def tell(self, event: Mapping[str, Any]) -> None:
        detail = event["detail"]
        arn, now = detail["taskArn"], (detail["lastStatus"], detail["desiredStatus"])
        if self._last.get(arn) == now:
            return
        self._last[arn] = now
        if detail["lastStatus"] == "STOPPED":
            del self._last[arn]
        will_stop = "will stop: " + detail.get("stoppedReason", "") if now == ("RUNNING", "STOPPED") else ""
        if detail["lastStatus"] == "STOPPED" and detail.get("stopCode") in _FAILURES:
            will_stop = self._failure(detail)
        task = f"{arn.rpartition('/')[2][:8]} {detail['group']:<16}"
        self._output.print(f"{datetime.now():%H:%M:%S} {task} {now[0]:<14} {will_stop}".rstrip(), soft_wrap=True)

    def _failure(self, detail: Mapping[str, Any]) -> str:
        """Return why a task ended by itself, with the container and its log."""
        task_id = detail["taskArn"].rpartition("/")[2]
        for container in detail["containers"]:
            code, reason = container.get("exitCode"), container.get("reason")
            if code or reason:
                log = self._logs / "tasks" / task_id / f"{container['name']}.log"
                return f"container {container['name']} {reason or f'exited with {code}'}; its log is {log}"
        return str(detail.get("stoppedReason", ""))
