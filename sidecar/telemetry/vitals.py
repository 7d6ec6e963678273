"""Gauges: what is now, read only when somebody wants to know.

Rules:
- Endpoints are counted as the balancer sees them: ready, not ejected and not failing its checks is healthy; whether the
  checks are the registry's or this sidecar's. Those that only start or drain are neither healthy nor unhealthy.
- Processor time and memory are the kernel's figures of this process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Final

from sidecar.core.meters import Datum, Meters
from sidecar.core.routing.endpoint import HEALTHY
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.overload import own_memory
from sidecar.proxy.upstream.destination import Destination
from sidecar.registry.poller import Poller
from sidecar.registry.sources import Sources

_SELF: Final = Path("/proc/self")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_TIME_FIELD: Final = 19  # of /proc/self/stat behind the name, proc(5)


class Vitals:
    """Brings the meters' gauges up to date."""

    def __init__(
        self,
        meters: Meters,
        destinations: Mapping[str, Destination],
        poller: Poller,
        runtime: Runtime,
        findings: Callable[[], Sized],
        sources: Sources | None = None,
    ) -> None:
        self._meters = meters
        self._destinations = destinations
        self._poller = poller
        self._runtime = runtime
        self._findings = findings
        self._sources = sources
        self._started = runtime.now()

    def take(self) -> list[Datum]:
        """Return the counts since the last time, with the gauges as they are now."""
        self.refresh()
        return self._meters.take()

    def refresh(self) -> None:
        """Read all gauges."""
        own = self._meters.sidecar
        own.snapshot_age = self._runtime.now() - (self._poller.confirmed_at or self._started)
        own.snapshot_revision = self._poller.snapshot.revision if self._poller.snapshot is not None else 0
        own.feed_away = self._sources is not None and self._sources.is_feed_away
        own.cpu_seconds = time.process_time()
        own.uptime = uptime_seconds()
        own.memory = own_memory()
        own.findings = len(self._findings())
        own.shedding = self._runtime.shedding
        for name, meter in self._meters.clients.items():
            destination = self._destinations.get(name)
            endpoints = destination.cluster.endpoints if destination is not None else []
            ready = [endpoint for endpoint in endpoints if endpoint.state == "ready"]
            meter.healthy = sum(endpoint.is_well() for endpoint in ready)
            meter.ejected = sum(endpoint.health != HEALTHY for endpoint in ready)
            failing = len(ready) - meter.healthy - meter.ejected  # those that are ejected are counted as that
            meter.unhealthy = failing + sum(endpoint.state == "unhealthy" for endpoint in endpoints)


def uptime_seconds() -> float:
    """Return how long this process has lived."""
    fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_TIME_FIELD]) / _TICKS
