"""The findings of a sweep: what is wrong now, and what no longer is.

Rules:
1. What is wrong with a task definition is so while a task runs it. It was found when the definition was read; a sweep
   does not read definitions again for it.
2. Everything else is looked at again in each sweep, and is over when a sweep that saw everything does not see it.
3. What somebody else has found since the sweep began is left to the next one.
4. Of a task that is another mesh's a sweep knows nothing: what its sidecar told the API ends by its own time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from reconciler.publications import Repaired
from registry.aws.ecs import Lookups
from registry.domain import findings
from registry.domain.definition import short_name
from registry.domain.events import TaskEvent
from registry.domain.findings import ASTRAY, LASTING, Found
from registry.domain.rules import TaskRecord, is_stop
from registry.dynamodb.finding_store import FindingStore, StoredFinding

MOST_KEPT: Final = 1000
"""Findings of one namespace that a sweep writes: 10 s at 10 ms, when all are new."""


class Findings:
    """Gathers what one sweep sees, and settles it at the end."""

    def __init__(self, store: FindingStore, now: float) -> None:
        self._store = store
        self._now = now
        self._found: defaultdict[str | None, dict[str, Found]] = defaultdict(dict)
        self._in_use: set[str] = set()
        self._compared: set[str | None] = {None}

    def of_namespace(self, namespace: str, tasks: Sequence[TaskRecord], repaired: Repaired | None) -> None:
        """Take what is wrong with the tasks of a namespace, and with its services if they were compared."""
        self._add(namespace, findings.of_tasks(tasks, self._now))
        if repaired is not None:
            self._compared.add(namespace)
            self._add(namespace, repaired.found)

    def of_definition(self, task: TaskEvent, lookups: Lookups) -> None:
        """Take what is wrong with the definition of a task that ECS shows, if it has been read."""
        if is_stop(task):
            return
        self._in_use.add(findings.of_definition(short_name(task.task_definition_arn)))
        advice = lookups.advice(task.task_definition_arn)
        if advice is not None:
            self._add(advice.namespace, advice.found)

    def missed(self, task: TaskRecord) -> None:
        """Take that the registry had missed a task's state."""
        self._add(task.namespace, [findings.missed(task)])

    def _add(self, namespace: str | None, found: Collection[Found]) -> None:
        if found:
            self._found[namespace].update((each.key, each) for each in found)
        if namespace is not None:
            self._found.setdefault(namespace, {})

    def settle(self, is_whole: bool) -> int:
        """Keep what was found, end what is over if the sweep saw everything; return how many findings there are."""
        self._found.setdefault(None, {})
        return sum(self._settle(namespace, is_whole) for namespace in sorted(self._found, key=str))

    def _settle(self, namespace: str | None, is_whole: bool) -> int:
        found = self._found[namespace]
        stored = self._store.all(namespace, self._now)
        lasting = [each.found for each in stored if self._lasts(each)]
        seen = {**{each.key: each for each in lasting}, **found}
        self._store.see(namespace, list(seen.values())[:MOST_KEPT], self._now)
        if is_whole and namespace in self._compared:
            looked_at = [each for each in stored if each.found.finding.code != ASTRAY]
            over = [each for each in looked_at if each.found.key not in seen and each.seen_at < self._now]
            self._store.end(namespace, over, self._now)
        return len(seen)

    def _lasts(self, stored: StoredFinding) -> bool:
        return stored.found.finding.code in LASTING and stored.found.resource in self._in_use
