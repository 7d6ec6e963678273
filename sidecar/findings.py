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

from sidecar.core.findings import ERROR, Finding, ordered
from sidecar.core.label import unknown_keys

INTERVAL_SECONDS: Final = 1.0

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
