"""Watches the container's memory and tells the runtime when to refuse requests.

https://docs.kernel.org/admin-guide/cgroup-v2.html, section Memory; version 1 names other files.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from sidecar.core.overload import limit_of, reclaimable, sheds
from sidecar.proxy.base.runtime import Runtime

INTERVAL_SECONDS: Final = 0.5
CGROUP: Final = Path("/sys/fs/cgroup")
_VERSION_2: Final = ("memory.max", "memory.current", "memory.stat")
_VERSION_1: Final = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")

log = logging.getLogger("tramo.overload")


class MemoryWatch:
    """The memory of this container."""

    def __init__(self, runtime: Runtime, root: Path = CGROUP) -> None:
        self.limit: int | None = None
        self.used = 0
        self._runtime = runtime
        self._files: tuple[Path, Path, Path] | None = None
        for limit, used, stat in (_VERSION_2, _VERSION_1):
            if (root / limit).exists():
                self._files = (root / limit, root / used, root / stat)
                break

    async def run(self) -> None:
        """Watch for ever; nothing to do where there is no limit."""
        while self._files is not None:
            self.step()
            await asyncio.sleep(INTERVAL_SECONDS)

    def step(self) -> None:
        """Look once."""
        if self._files is None:
            return
        limit, used, stat = self._files
        try:
            self.limit = limit_of(limit.read_text())
            self.used = int(used.read_text()) - reclaimable(stat.read_text())
        except (OSError, ValueError) as error:
            log.warning("the container's memory cannot be read, nothing is shed: %s", error)
            self._files = None
            self._runtime.shedding = False
            return
        shedding = sheds(self._runtime.shedding, self.used, self.limit)
        if shedding != self._runtime.shedding:
            self._runtime.shedding = shedding
            log.warning(
                "requests are refused: memory is short" if shedding else "requests are taken again",
                extra={"used_bytes": self.used, "limit_bytes": self.limit},
            )
