"""All findings of this sidecar, gathered from those who see them.

Rules:
- Nobody keeps a list: each source says what is wrong now, and is asked when somebody wants to know.
- A finding is logged once when it appears and once when it is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.core.findings import ERROR, Finding, ordered, other_mesh
from sidecar.core.label import unknown_keys

INTERVAL_SECONDS: Final = 1.0
LONGEST_MESH: Final = 63
"""Of a mesh's name, so that no answer makes a text longer than the report takes."""

log = logging.getLogger("tramo.findings")

Source = Callable[[], Sequence[Finding]]


class LabelFindings:
    """What nobody knows of the labels that ECS shows: those of a container that waits for the sidecar come later."""

    def __init__(self) -> None:
        self._labels: frozenset[tuple[str, str, str]] = frozenset()
        self._found: Sequence[Finding] = ()

    def observe(self, labels: frozenset[tuple[str, str, str]]) -> None:
        """Take the labels as they are now: container, name and text of each."""
        if labels != self._labels:
            self._labels = labels
            self._found = ordered(finding for each in labels for finding in unknown_keys(*each))

    def current(self) -> Sequence[Finding]:
        """Return what is wrong with them."""
        return self._found


class MeshFindings:
    """Whether the API is that of the task's mesh. An API that does not say its mesh is taken as right."""

    def __init__(self, expected: str) -> None:
        self._expected = expected
        self._seen = expected

    def observe(self, mesh: str) -> None:
        """Take the mesh that an answer of the API names; from any thread."""
        self._seen = mesh

    def current(self) -> Sequence[Finding]:
        """Say what is wrong with it."""
        return () if self._seen == self._expected else (other_mesh(self._seen[:LONGEST_MESH], self._expected),)


class Findings:
    """What is wrong now, whoever sees it."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self._logged: frozenset[Finding] = frozenset()

    def current(self) -> list[Finding]:
        """Return all findings, errors first, within the bound of a report."""
        return ordered(finding for source in self._sources for finding in source())

    async def run(self) -> None:
        """Log for ever."""
        while True:
            self.step()
            await asyncio.sleep(INTERVAL_SECONDS)

    def step(self) -> None:
        """Log what is new and what is gone."""
        found = frozenset(self.current())
        for finding in ordered(found - self._logged):
            level = logging.ERROR if finding.level == ERROR else logging.WARNING
            log.log(level, "%s: %s; %s", finding.where, finding.what, finding.remedy, extra={"code": finding.code})
        for finding in ordered(self._logged - found):
            log.info("%s: no longer so", finding.where, extra={"code": finding.code})
        self._logged = found
