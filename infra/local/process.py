"""Processes of containers and functions.

Rules:
1. Every process leads its own session and process group. Signals that ask go to the process, as ECS sends
   them to a container's first process; SIGKILL goes to the whole group, as a container's end takes everything
   in it.
2. When the first process has ended, what is left of its group is killed.
3. Every group is known to the guardian, which kills it should this process die.

Time-outs are asyncio.timeout's here and elsewhere in this package: asyncio.wait_for of Python 3.11 loses a cancellation
that comes in the moment in which the awaited thing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class Process:
    """A running process. Made by `Launcher.start`."""

    def __init__(self, process: asyncio.subprocess.Process, launcher: Launcher) -> None:
        self._process = process
        self._launcher = launcher
        self._ended = asyncio.ensure_future(self._wait())

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once the end was seen."""
        return not self._ended.done()

    async def wait(self) -> int:
        """Return the exit code when it ends: 128 + signal number if a signal ended it."""
        return await asyncio.shield(self._ended)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        # Not by subprocess: its send_signal may collect the exit status before asyncio does, which then reports 255.
        if self.running:  # else the number may be another's by now
            with contextlib.suppress(ProcessLookupError):  # it ended in the same moment
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if self.running:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, patience: float) -> int:
        """SIGTERM, after `patience` seconds SIGKILL; return the exit code."""
        self.send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                return await self.wait()
        self.kill()
        return await self.wait()

    async def _wait(self) -> int:
        code = await self._process.wait()
        self._kill_group()
        self._launcher.ended(self.pid)
        return code if code >= 0 else 128 - code


class Launcher:
    """Starts processes, and sees to it that none outlives this one. An asynchronous context manager."""

    def __init__(self) -> None:
        self._running: dict[int, Process] = {}
        self._guardian: subprocess.Popen[str] | None = None

    async def __aenter__(self) -> Self:
        # Not one of asyncio's: it is to outlive the loop.
        self._guardian = subprocess.Popen(  # noqa: S603, ASYNC220 - our own module, and it does not block
            [sys.executable, "-S", str(Path(__file__).with_name("guardian.py"))],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = list(self._running.values())
        for process in left:
            process.kill()
        await asyncio.gather(*(process.wait() for process in left))
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            self._guardian.wait()

    async def start(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log: Path | IO[bytes],
        descriptors: Sequence[int] = (),
    ) -> Process:
        """Start a process whose output is appended to `log`. Raises OSError if it cannot be started.

        It inherits the `descriptors` under their numbers.
        """
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("ab")) if isinstance(log, Path) else log
            making = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *argv,
                    env=dict(environment),
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=descriptors,
                )
            )
            try:
                return self._started(await asyncio.shield(making))
            except asyncio.CancelledError:
                # Were the making cancelled itself, asyncio would collect the exit status before its own watcher does,
                # which then reports 255.
                with contextlib.suppress(OSError):
                    process = self._started(await making)
                    process.kill()
                    await process.wait()
                raise

    def _started(self, started: asyncio.subprocess.Process) -> Process:
        self._tell_guardian(f"+{started.pid}")
        process = self._running[started.pid] = Process(started, self)
        return process

    def remember_interface(self, name: str) -> None:
        """Have a network interface deleted when this process has ended."""
        self._tell_guardian(f"={name}")

    def ended(self, pid: int) -> None:
        """Forget a process whose end was seen."""
        if self._running.pop(pid, None):
            self._tell_guardian(f"-{pid}")

    def _tell_guardian(self, line: str) -> None:
        if self._guardian is None or self._guardian.stdin is None:
            raise RuntimeError("a Launcher starts processes only inside its 'with' block")
        self._guardian.stdin.write(line + "\n")
        self._guardian.stdin.flush()
