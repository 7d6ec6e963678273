"""Removal of what nobody uses any more: idle services, empty namespaces (`domain/leftovers.py` has the rules).

Callers learn of it from the publisher, by the table's stream, or else by the next sweep. The number of removals in one
sweep is bounded; the rest comes with the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from registry.domain.claims import living_of
from registry.domain.leftovers import idleness
from registry.domain.rules import TaskRecord
from registry.domain.service import ServiceRecord
from registry.dynamodb.store import Store
from registry.feeding import Feeder

STEPS_AT_ONCE: Final = 200  # of one namespace: 4 s at 20 ms a transaction, the next sweep goes on


class Leftovers:
    """Removes what a store and its feed have left over. `log` takes a message and keys to log."""

    def __init__(self, store: Store, now: float, log: Callable[..., None], feeder: Feeder | None) -> None:
        self._store = store
        self._now = now
        self._log = log
        self._feeder = feeder

    def sweep(self, namespace: str, tasks: Sequence[TaskRecord], services: Mapping[str, ServiceRecord]) -> int:
        """Remove what is left over of a namespace, and return how many services that was.

        `tasks` and `services` are all of the namespace; the tasks may lag behind.
        """
        if not tasks and not services:
            self._remove_namespace(namespace)
            return 0
        if not idleness(services, living_of(tasks, services), self._now):
            return 0
        # A task that has just begun to live keeps its service.
        found = idleness(services, living_of(self._store.tasks.all(namespace), services), self._now)
        for service in found.begins[:STEPS_AT_ONCE]:
            self._store.services.set_idle(namespace, service, self._now)
        for service in found.ends[:STEPS_AT_ONCE]:
            self._store.services.set_idle(namespace, service, None)
        removed = [
            service.name
            for service in found.over[:STEPS_AT_ONCE]
            if self._store.removals.service(namespace, service, self._now)
        ]
        if removed:
            self._log("services without tasks are removed", namespace=namespace, services=removed)
        return len(removed)

    def _remove_namespace(self, namespace: str) -> None:
        is_empty = next(iter(self._store.tasks.all(namespace)), None) is None
        if is_empty and self._store.removals.namespace(namespace, self._now, self._remove_feed):
            self._log("an empty namespace is removed", namespace=namespace)

    def _remove_feed(self, namespace: str) -> None:
        if self._feeder is not None:
            self._feeder.remove(namespace)
