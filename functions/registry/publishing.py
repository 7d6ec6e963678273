"""Building a namespace's next snapshot.

Rules:
1. HEAD is read first, then all the rest, all consistently, and the write demands that HEAD is still the one
   read. What was read is then at least as new as that head, so of two publishers at once the later one cannot
   put an older task over a newer one.
2. Tasks and services are read from their items, never taken from the stream's images: those only say what
   changed and which services a task may have been in.
3. Unchanged content makes no revision.
4. What callers get of a service is computed with each build, from its endpoints and declarations (`service.py`).
5. A part that is missing or damaged, or a missing HEAD, is built again from all tasks and services.
6. A service that does not fit into its part stays as it was published last (`fitting.py`); all else is published.
7. A publisher that loses although HEAD has not moved takes the other for dead, and goes on in its place. If it
   was only slow, it loses instead and tries again.
6. A head with the name of another stream was copied from another table: this one was restored. It gets a new
   epoch, so that readers take its snapshot whole.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from registry.domain.fitting import fit
from registry.domain.layout import Head, part_of
from registry.domain.rules import TaskRecord
from registry.domain.service import ServiceRecord
from registry.domain.snapshot import (
    Document,
    Part,
    endpoints_of,
    endpoints_without,
    service_document,
    update_part,
)
from registry.dynamodb.snapshot_store import PartTooLargeError, StoredPart
from registry.dynamodb.store import Store

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
    """The revision of the namespace after a build, whether it is new, and how many attempts were lost.

    `left_out` are services that are not published as they are, since they do not fit. `renamed` is whether a name or
    the address of one came, went or changed.
    """

    revision: int
    is_new: bool
    conflicts: int
    left_out: frozenset[str] = frozenset()
    renamed: bool = False


@dataclass(frozen=True, slots=True)
class _Reading:
    """What an attempt has read: the present parts, and what stands in the registry.

    `names` are the services to look at, `replaced` the tasks whose endpoints are taken from `tasks`. Parts in
    `rebuilt` are empty here and must be written.
    """

    stored: Mapping[int, StoredPart]
    rebuilt: Mapping[int, Part]
    names: frozenset[str]
    replaced: frozenset[str]
    services: Mapping[str, ServiceRecord]
    tasks: Mapping[str, TaskRecord]


class Publisher:
    """Publishes namespaces of one store. `stream` names the table's stream, if it is known: no two tables share one."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        stream: str = "",
    ) -> None:
        self._store = store
        self._stream = stream
        self._clock = clock
        self._pause = pause

    def publish(self, namespace: str, changes: Changes) -> Published:
        """Bring the snapshot of a namespace up to date. Raises PublishConflictError and what AWS raises."""
        lost: Head | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                # Spread the publishers that wait for each other; the longest pause doubles up to its limit.
                self._pause(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.025 * 2**attempt)))  # noqa: S311
            known = self._head_after(namespace, lost)
            published = None if known is None else self._attempt(namespace, known, changes, attempt)
            if published is not None:
                return published
            lost = known
        raise PublishConflictError(f"namespace {namespace}: {ATTEMPTS} attempts lost against other publishers")

    def _head_after(self, namespace: str, lost: Head | None) -> Head | None:
        """Return the head to follow; `lost` is the one after which another seemed to come first.

        None when another publisher has just written it.
        """
        known = self._store.snapshots.latest(namespace)
        if known is None:
            return self._store.snapshots.begin(namespace, self._stream)
        if self.is_foreign(known):
            return self._store.snapshots.renew(namespace, known, self._stream)
        if known == lost:
            return self._store.snapshots.fence(namespace, known)
        return known

    def is_foreign(self, head: Head) -> bool:
        """Return whether a head needs a new epoch: it has none, or comes from another table."""
        return not head.epoch or (self._stream != "" and head.stream != self._stream)

    def _attempt(self, namespace: str, known: Head, changes: Changes, conflicts: int) -> Published | None:
        """Return what was published, None when another publisher came first."""
        reading = self._read(namespace, known, changes)
        if reading is None:
            return None
        updated = _build(reading, known.next_revision)
        left_out: frozenset[str] = frozenset()
        while True:
            if known.revision and not updated:
                return Published(known.revision, is_new=False, conflicts=conflicts, left_out=left_out)
            try:
                if self._store.snapshots.publish(namespace, known, self._clock(), updated, reading.stored):
                    renamed = any(_names(_part(reading, each)) != _names(part) for each, part in updated.items())
                    return Published(known.next_revision, True, conflicts, left_out, renamed)
            except PartTooLargeError as error:
                left_out |= _shrink(updated, reading, error.number, self._store.snapshots.largest_part)
            else:
                return None

    def _read(self, namespace: str, head: Head, changes: Changes) -> _Reading | None:
        """Return what there is after a head, None when it is no longer the head."""
        tasks = self._store.tasks.get_all(namespace, changes.tasks)
        names = changes.services | _services_of(tasks.values())
        wanted = frozenset(part_of(name) for name in names) & head.parts.keys()
        stored = self._store.snapshots.stored(namespace, head, wanted)
        broken = wanted - stored.keys()
        if not head.revision:
            return self._read_everything(namespace, head, {}, None, names)
        if broken:
            if self._store.snapshots.latest(namespace) != head:
                return None
            return self._read_everything(namespace, head, stored, broken, names)
        return _Reading(
            stored=stored,
            rebuilt={},
            names=names,
            replaced=changes.tasks,
            services=self._store.services.get_all(namespace, names),
            tasks=tasks,
        )

    def _read_everything(
        self,
        namespace: str,
        head: Head,
        stored: Mapping[int, StoredPart],
        broken: frozenset[int] | None,
        names: frozenset[str],
    ) -> _Reading:
        """Read all that is registered, to build the broken parts again (None: all of them)."""
        services = self._store.services.all(namespace)
        tasks = {record.task_id: record for record in self._store.tasks.all(namespace)}
        if broken is None:
            broken = frozenset(part_of(name) for name in services)
        return _Reading(
            stored=stored,
            # A delta cannot tell what was removed since the part was damaged, nor by this very publication.
            rebuilt=dict.fromkeys(broken, Part(floor=head.next_revision)),
            names=names | {name for name in services if part_of(name) in broken},
            replaced=frozenset(tasks),
            services=services,
            tasks=tasks,
        )


def _services_of(tasks: Iterable[TaskRecord]) -> frozenset[str]:
    return frozenset(endpoint.service for task in tasks for endpoint in task.endpoints)


def _part(reading: _Reading, number: int) -> Part:
    """Return a part as it is before the build."""
    stored = reading.stored.get(number)
    return reading.rebuilt.get(number, Part()) if stored is None else stored.part


def _names(part: Part) -> dict[str, tuple[object, object]]:
    """Return what of a part the records of a hosted zone are made of."""
    return {name: (document["vip"], document["aliases"]) for name, document in part.services.items()}


def _build(reading: _Reading, revision: int) -> dict[int, Part]:
    """Return the parts to write: those whose content changed, and those that were broken."""
    documents = _documents(reading)
    updated: dict[int, Part] = {}
    for number in {part_of(name) for name in reading.names} | reading.rebuilt.keys():
        part = _part(reading, number)
        changed = {name: document for name, document in documents.items() if part_of(name) == number}
        new = update_part(part, changed, revision)
        if new is not None:
            updated[number] = new
        elif number in reading.rebuilt:
            updated[number] = part
    return updated


def _shrink(updated: dict[int, Part], reading: _Reading, number: int, most: int) -> frozenset[str]:
    """Make a part fit `most` bytes, or leave it as it is stored; return the services whose changes are left out."""
    before = _part(reading, number)
    updated[number], left_out = fit(updated[number], before, most)
    if updated[number] == before and number not in reading.rebuilt:
        del updated[number]
    return left_out


def _documents(reading: _Reading) -> dict[str, Document | None]:
    """Return the services' new documents; None for one that is no longer registered."""
    endpoints: dict[str, list[Document]] = {}
    for name in reading.names:
        present = _part(reading, part_of(name)).services.get(name)
        endpoints[name] = endpoints_without(present, reading.replaced)
    for record in reading.tasks.values():
        for name, endpoint in endpoints_of(record).items():
            if name in endpoints and name in reading.services and reading.services[name].refusal(record) is None:
                endpoints[name].append(endpoint)
    return {
        name: (
            service_document(reading.services[name], found, 0, _part(reading, part_of(name)).services.get(name))
            if name in reading.services
            else None
        )
        for name, found in endpoints.items()
    }
