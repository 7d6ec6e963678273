"""Watches the container's memory and tells the runtime when to refuse requests.

Rules:
- The limit is the cgroup's, and so is what is used of it.
- Where the cgroup has none, the limit is the container's or the task's from the task metadata endpoint: on Fargate a
  container without a limit of its own shares the task's. What is used is then this process's own memory: a cgroup
  without a limit may be that of the whole machine.
- A limit of the process itself (`ulimit -v`, `ulimit -d`) counts where less of it is left: libraries in C end the
  process when they get no memory, and Python's MemoryError comes too late.
- If nobody knows a limit it is said once, at the start.
- What is held for peers that do not go on may have a part of the memory (`sidecar/proxy/base/held.py`), and half of
  that while memory is short.
- Connections that nobody uses are closed while memory is short (`sidecar/proxy/base/clients.py`).
- The next look at the memory is the sooner the less is left.
- When memory is short, what is not used any more is given back before requests are refused for it.

https://docs.kernel.org/admin-guide/cgroup-v2.html, section Memory; version 1 names other files.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.core.overload import Shedding, is_critical, limit_of, look_again, reclaimable
from sidecar.proxy.base.runtime import Runtime

RELIEF_SECONDS: Final = 5.0
"""Between two times that memory is given back: it stops the loop for tens of milliseconds."""
KEPT_BYTES: Final = 4 << 20
"""Free memory that the C library keeps at the end of the heap: more than a turn's long reads."""
MAPPED_BYTES: Final = 1 << 20
"""Larger pieces of memory are the kernel's own, and go back to it at once."""
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
CGROUP: Final = Path("/sys/fs/cgroup")
_VERSION_2: Final = ("memory.max", "memory.current", "memory.stat")
_VERSION_1: Final = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")

log = logging.getLogger("tramo.overload")


def keep_free_memory() -> None:
    """Let the C library keep some free memory for the next long read (mallopt(3)).

    Its thresholds follow what was freed before. Where nothing large was, or after `give_back`, each read of 256 kB
    takes new pages from the kernel and returns them, which doubles what large answers cost.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc alone has it
    if option is not None:
        option(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        option(_M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back() -> None:
    """Let the collector free what it can, and the C library return free pages to the kernel (malloc_trim(3))."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)


def own_memory() -> int:
    """Return the bytes of this process in the machine's memory (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def own_limit() -> tuple[int, int] | None:
    """Return the bytes used and allowed of address space or data, whichever is nearer to its end (getrlimit(2)).

    None when neither is limited.
    """
    pages = Path("/proc/self/statm").read_text().split()
    found: tuple[int, int] | None = None
    for limit, field in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        allowed = resource.getrlimit(limit)[0]
        used = int(pages[field]) * resource.getpagesize()
        if allowed != resource.RLIM_INFINITY and (found is None or used * found[1] > found[0] * allowed):
            found = (used, allowed)
    return found


class MemoryWatch:
    """The memory of this container."""

    def __init__(
        self,
        runtime: Runtime,
        task_limit: int | None = None,
        root: Path = CGROUP,
        give_back: Callable[[], None] = give_back,
        own_memory: Callable[[], int] = own_memory,
        own_limit: Callable[[], tuple[int, int] | None] = own_limit,
    ) -> None:
        self.limit: int | None = None
        self.used = 0
        self._task_limit = task_limit  # from the task metadata
        self._give_back = give_back
        self._own_memory = own_memory
        self._own_limit = own_limit
        self._gave_back_at = -RELIEF_SECONDS
        self._shedding = Shedding()
        self._runtime = runtime
        self._files: tuple[Path, Path, Path] | None = None
        for limit, used, stat in (_VERSION_2, _VERSION_1):
            if (root / limit).exists():
                self._files = (root / limit, root / used, root / stat)
                break

    async def run(self) -> None:
        """Watch for ever; nothing to do where there is no limit."""
        self.step()
        if self.limit is None:
            log.warning(
                "the limit of the memory is unknown, so no request is refused when it is short: set `memory` in the "
                "sidecar's container definition"
            )
        while self._files is not None and self.limit is not None:
            await asyncio.sleep(look_again(self.used, self.limit))
            self.step()

    def step(self) -> None:
        """Look once."""
        if self._files is None:
            return
        try:
            self._read()
        except (OSError, ValueError) as error:
            log.warning("the container's memory cannot be read, nothing is shed: %s", error)
            self._files = None
            self._runtime.shedding = self._runtime.is_full = False
            return
        if self.limit is not None:
            self._runtime.held.bound(self.limit)
        shedding = self._judge()
        if shedding.is_on:
            self._runtime.held.give_up(self._runtime.held.most // 2, self._runtime.now())
            self._runtime.clients.close_unused(self._runtime.now())
        if self.limit is not None and self._wants_relief(shedding):
            self._relieve()
            shedding = self._judge()
        if shedding.is_on != self._runtime.shedding:
            self._runtime.shedding = shedding.is_on
            log.warning(
                "requests are refused: memory is short" if shedding.is_on else "requests are taken again",
                extra={"used_bytes": self.used, "limit_bytes": self.limit},
            )
        self._shedding = shedding
        self._runtime.is_full = is_critical(self.used, self.limit)

    def _read(self) -> None:
        if self._files is None:
            return
        limit, used, stat = self._files
        self.limit = limit_of(limit.read_text())
        if self.limit is None:
            self.limit = self._task_limit
            self.used = self._own_memory()
        else:
            self.used = int(used.read_text()) - reclaimable(stat.read_text())
        own = self._own_limit()
        if own is not None and (self.limit is None or own[0] * self.limit > self.used * own[1]):
            self.used, self.limit = own

    def _judge(self) -> Shedding:
        runtime = self._runtime
        return self._shedding.next(self.used, self.limit, runtime.clients.count() + runtime.work)

    def _wants_relief(self, shedding: Shedding) -> bool:
        """Return whether to give back freed memory: before anybody is refused, and now and then while some are."""
        return shedding.is_on and self._runtime.now() - self._gave_back_at >= RELIEF_SECONDS

    def _relieve(self) -> None:
        self._gave_back_at = self._runtime.now()
        self._give_back()
        self._read()
