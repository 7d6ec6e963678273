"""The console's views: all services, one service, and the mesh's own parts, each from metrics and registry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from infra.console import overview, plots
from infra.console.live import Live
from infra.console.mesh import Edge
from infra.console.metrics import MetricReader, Times
from infra.console.overview import Overview, Row
from infra.console.plots import Part
from infra.console.registry import Json, RegistryReader, deployments
from infra.console.service_plots import service_sections
from infra.dashboards.widgets import Section

MAX_POINTS: Final = 180
"""More of them than a plot has pixels for; a longer window has longer periods."""
MAX_KEPT: Final = 16
"""Answers in memory: some services in some windows."""
OWN_SECTIONS: Final = ("Sidecars", "Control plane")

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service: its row, who calls it and whom it calls, its plots with marks, and what the registry knows."""

    source: str
    read_at: float
    period: int
    times: list[int]
    next_read: int
    name: str
    row: Row | None
    roots: list[str]
    callers: list[Edge]
    callees: list[Edge]
    near: list[Row]
    """The service itself and its neighbours."""
    parts: list[Part]
    marks: list[Json] = field(default_factory=list)
    registry: list[Json] = field(default_factory=list)
    registry_error: str = ""


@dataclass(frozen=True, slots=True)
class MeshView:
    """The sidecars and the control plane."""

    source: str
    read_at: float
    period: int
    times: list[int]
    next_read: int
    parts: list[Part]


class Console:
    """Reads views; each is kept for as long as it is meant to be shown, however many pages ask."""

    def __init__(
        self,
        metrics: MetricReader,
        sections: Sequence[Section],
        source: str,
        registry: RegistryReader,
        references: Mapping[str, str] | None = None,
        period: int = 60,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take names of the template's resources, and the period at which sidecars send, in seconds."""
        self._metrics = metrics
        self._own = [section for section in sections if section.title in OWN_SECTIONS]
        self._source = source
        self._registry = registry
        self._references = references or {}
        self._sending = period
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], tuple[float, Any]] = {}

    def overview(self, minutes: int) -> Overview:
        """Return all services. Raises ReadError."""
        with self._lock:
            return self._overview(minutes)

    def service(self, name: str, minutes: int) -> ServiceView:
        """Return one service. Raises ReadError."""
        with self._lock:
            return self._once((f"service {name}", minutes), lambda: self._service(name, minutes))

    @property
    def live(self) -> Live:
        """What asks sidecars."""
        return self._registry.live

    def namespaces(self, name: str, minutes: int) -> list[str]:
        """Return the namespaces of a service. Raises ReadError."""
        return next((each.namespaces for each in self.overview(minutes).services if each.name == name), [])

    def mesh(self, minutes: int) -> MeshView:
        """Return the mesh's own parts. Raises ReadError."""
        with self._lock:
            return self._once(("mesh", minutes), lambda: self._mesh(minutes))

    def _once(self, key: tuple[str, int], read: Callable[[], Answer]) -> Answer:
        kept = self._kept.pop(key, None)
        if kept is None or self._monotonic() >= kept[0]:
            answer = read()
            kept = (self._monotonic() + getattr(answer, "next_read", self._sending), answer)
        self._kept[key] = kept
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        found: Answer = kept[1]
        return found

    def period(self, minutes: int) -> int:
        """Return the seconds of a point: a multiple of what sidecars send at that CloudWatch keeps."""
        points = minutes * 60 / self._sending
        factor = next(each for each in (1, 2, 5, 10, 30, 60) if points / each <= MAX_POINTS or each == 60)
        return self._sending * factor

    def _times(self, minutes: int) -> Times:
        return Times.until(self._metrics.now(), timedelta(minutes=minutes), self.period(minutes))

    def _overview(self, minutes: int) -> Overview:
        def read() -> Overview:
            listing = self._registry.listing()
            window = timedelta(minutes=minutes)
            found = overview.read(self._metrics, self._source, window, self.period(minutes), listing.services)
            return replace(found, registry_error=listing.error, findings=listing.findings)

        return self._once(("overview", minutes), read)

    def _service(self, name: str, minutes: int) -> ServiceView:
        mesh = self._overview(minutes)
        row = next((each for each in mesh.services if each.name == name), None)
        times = self._times(minutes)
        listed = self._metrics.listed(timedelta(minutes=minutes))
        parts = plots.read(self._metrics, service_sections(), times, listed, self._sending, name)
        known, error = self._registry.service(name, [] if row is None else row.namespaces)
        callers = [edge for edge in mesh.edges if edge.target == name]
        callees = [edge for edge in mesh.edges if edge.source == name]
        near = {name, *(edge.source for edge in callers), *(edge.target for edge in callees)}
        return ServiceView(
            source=self._source,
            read_at=self._metrics.now(),
            period=times.period,
            times=list(times.starts),
            next_read=mesh.next_read,
            name=name,
            row=row,
            roots=mesh.roots,
            callers=callers,
            callees=callees,
            near=[each for each in mesh.services if each.name in near],
            parts=parts,
            marks=deployments(known, times.starts[0], self._metrics.now()),
            registry=known,
            registry_error=error,
        )

    def _mesh(self, minutes: int) -> MeshView:
        times = self._times(minutes)
        listed = self._metrics.listed(timedelta(minutes=minutes))
        parts = plots.read(self._metrics, self._own, times, listed, self._sending, references=self._references)
        return MeshView(self._source, self._metrics.now(), times.period, list(times.starts), self._sending, parts)
