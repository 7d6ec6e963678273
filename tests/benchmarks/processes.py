"""Processes on a CPU of their own: started, read through /proc, and ended by their id."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.benchmarks.limits import Limits
from tests.support.waiting import until

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0


class Program:
    """A process pinned to one CPU. Its output goes to a log file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        cpu: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._log = log
        entering = limits.entering() if limits is not None else []
        with log.open("ab") as output:
            # Each becomes the next one of the command: the id is the program's own.
            self._process = subprocess.Popen(
                [*entering, "taskset", "--cpu-list", str(cpu), *command],
                env=None if environment is None else dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def cpu_seconds(self) -> float:
        """CPU time of all threads so far, user and system, to the nanosecond.

        utime and stime of /proc/PID/stat are the same time in ticks of 10 ms: too coarse for rounds of a second.
        """
        total = 0
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            with suppress(FileNotFoundError):  # a thread that has just ended
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def pss_bytes(self) -> int:
        """Proportional set size: its own memory, and its share of what it has in common with others."""
        for line in Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("smaps_rollup has no line Pss")

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def check(self) -> None:
        """Raise when the process has ended."""
        if self._process.poll() is not None:
            end = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.returncode}:\n{end}")

    def wait_for(self, host: str, port: int) -> None:
        """Wait until something listens there."""
        until(lambda: self._accepts(host, port), READY_SECONDS, f"a listener at {host}:{port}")

    def _accepts(self, host: str, port: int) -> bool:
        self.check()
        with suppress(OSError), socket.create_connection((host, port), timeout=1.0):
            return True
        return False

    def stop(self) -> None:
        """End the process: politely, then not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait(STOP_SECONDS)


def cpus() -> tuple[int, int]:
    """The CPU for proxies, and the one for load and servers. Raises RuntimeError when there is one only."""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise RuntimeError("the benchmark needs two CPUs: one for the proxies, one for load and servers")
    return found[0], found[1]
