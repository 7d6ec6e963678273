"""Building a namespace's next snapshot.

Rules:
1. HEAD is read first, then all the rest, all consistently, and the write demands that HEAD is still the one
   read. What was read is then at least as new as that head, so of two publishers at once the later one cannot
   put an older task over a newer one.
2. Tasks and services are read from their items, never taken from the stream's images: those only say what
   changed and which services a task may have been in.
3. Unchanged content makes no revision.
4. A part that is missing or damaged, or a missing HEAD, is built anew from all tasks and services.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from registry.rules import TaskRecord
from registry.snapshot import (
    PARTS,
    Document,
    Head,
    Part,
    ServiceRecord,
    endpoints_of,
    endpoints_without,
    part_of,
    service_document,
    update_part,
)
from registry.store import Store

ATTEMPTS: Final = 8
LONGEST_PAUSE_SECONDS: Final = 0.4


class PublishConflictError(Exception):
    """Other publishers won each time. The records are given back to the stream."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What may have changed in a namespace: ids of tasks, names of services."""

    tasks: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Published:
    """The revision of the namespace after a build, whether it is new, and how many attempts were lost."""

    revision: int
    is_new: bool
    conflicts: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """What an attempt has read: the present parts, and what stands in the registry.

    `names` are the services to look at, `replaced` the tasks whose endpoints are taken from `tasks`. Parts in
    `rebuilt` are empty here and must be written.
    """

    revision: int
    parts: Mapping[int, Part]
    rebuilt: frozenset[int]
    names: frozenset[str]
    replaced: frozenset[str]
    services: Mapping[str, ServiceRecord]
    tasks: Mapping[str, TaskRecord]


class Publisher:
    """Publishes namespaces of one store."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pause = pause

    def publish(self, namespace: str, changes: Changes) -> Published:
        """Bring the snapshot of a namespace up to date. Raises PublishConflictError and what AWS raises."""
        for attempt in range(ATTEMPTS):
            if attempt:
                # Spread the publishers that wait for each other; the longest pause doubles up to its limit.
                self._pause(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.025 * 2**attempt)))  # noqa: S311
            published = self._attempt(namespace, changes, attempt)
            if published is not None:
                return published
        raise PublishConflictError(f"namespace {namespace}: {ATTEMPTS} attempts lost against other publishers")

    def _attempt(self, namespace: str, changes: Changes, conflicts: int) -> Published | None:
        """Return what was published, None when another publisher came first."""
        known = self._store.snapshots.head(namespace, consistent=True)
        if known is None:
            reading = self._read_without_head(namespace)
        else:
            reading = self._read(namespace, known, changes)
        revision = reading.revision + 1
        updated = _build(reading, revision)
        if known is not None and not updated:
            return Published(known.revision, is_new=False, conflicts=conflicts)
        parts = {**(known.parts if known else {}), **dict.fromkeys(updated, revision)}
        head = Head(revision, self._clock(), parts)
        if self._store.snapshots.publish(namespace, known, head, updated):
            return Published(revision, is_new=True, conflicts=conflicts)
        return None

    def _read(self, namespace: str, head: Head, changes: Changes) -> _Reading:
        tasks = self._store.tasks.get_all(namespace, changes.tasks)
        names = changes.services | _services_of(tasks.values())
        numbers = frozenset(part_of(name) for name in names)
        stored = self._store.snapshots.parts(namespace, numbers & head.parts.keys(), consistent=True)
        parts = {number: each.part for number, each in stored.items() if each.part is not None}
        broken = numbers & head.parts.keys() - parts.keys()
        if broken:
            # A delta from before the damage cannot tell what was removed meanwhile.
            parts |= dict.fromkeys(broken, Part(floor=head.revision))
            return self._read_everything(namespace, head.revision, parts, broken, names)
        return _Reading(
            revision=head.revision,
            parts=parts,
            rebuilt=frozenset(),
            names=names,
            replaced=changes.tasks,
            services=self._store.services.get_all(namespace, names),
            tasks=tasks,
        )

    def _read_without_head(self, namespace: str) -> _Reading:
        """Read a namespace without a head; if it was lost, readers have seen revisions up to its parts'."""
        stored = self._store.snapshots.parts(namespace, range(PARTS), consistent=True)
        seen = max((part.revision for part in stored.values()), default=0)
        return self._read_everything(namespace, seen, {}, frozenset(), frozenset())

    def _read_everything(
        self,
        namespace: str,
        revision: int,
        parts: Mapping[int, Part],
        broken: frozenset[int],
        names: frozenset[str],
    ) -> _Reading:
        services = self._store.services.all(namespace)
        tasks = {record.task_id: record for record in self._store.tasks.all(namespace)}
        if not parts:
            broken = frozenset(part_of(name) for name in services)
            parts = dict.fromkeys(broken, Part(floor=revision))
        return _Reading(
            revision=revision,
            parts=parts,
            rebuilt=broken,
            names=names | {name for name in services if part_of(name) in broken},
            replaced=frozenset(tasks),
            services=services,
            tasks=tasks,
        )


def _services_of(tasks: Iterable[TaskRecord]) -> frozenset[str]:
    return frozenset(endpoint.service for task in tasks for endpoint in task.endpoints)


def _build(reading: _Reading, revision: int) -> dict[int, Part]:
    """Return the parts to write: those whose content changed, and those that were broken."""
    documents = _documents(reading)
    updated: dict[int, Part] = {}
    for number in {part_of(name) for name in reading.names} | reading.rebuilt:
        part = reading.parts.get(number, Part())
        changed = {name: document for name, document in documents.items() if part_of(name) == number}
        new = update_part(part, changed, revision)
        if new is not None:
            updated[number] = new
        elif number in reading.rebuilt:
            updated[number] = part
    return updated


def _documents(reading: _Reading) -> dict[str, Document | None]:
    """Return the services' new documents; None for one that is no longer registered."""
    endpoints: dict[str, list[Document]] = {}
    for name in reading.names:
        present = reading.parts.get(part_of(name), Part()).services.get(name)
        endpoints[name] = endpoints_without(present, reading.replaced)
    for record in reading.tasks.values():
        for name, endpoint in endpoints_of(record).items():
            if name in endpoints:
                endpoints[name].append(endpoint)
    return {
        name: service_document(reading.services[name], found, 0) if name in reading.services else None
        for name, found in endpoints.items()
    }
