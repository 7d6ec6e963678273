"""Repair of what is published: compared with what is registered, and published again where it differs.

Aliases that services want and others hold are claimed once more before that. The build is the publisher's
own, which reads everything anew and writes on condition, so that a repair at the same time as a publication
does no harm, and one that finds nothing to change writes nothing. A snapshot that was restored with its table gets a
new epoch here, also when nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from registry.domain.comparison import compare
from registry.domain.rules import TaskRecord
from registry.domain.snapshot import Part, ServiceRecord
from registry.dynamodb.store import Store
from registry.publishing import Changes, Publisher

TASKS_AT_ONCE = 500  # keeps what one publication reads and writes well below its function's time


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many tasks and services were published again, and how many aliases are wanted by two services.

    Beside them the services and endpoints that were found published, and how many services do not fit.
    """

    drift: int = 0
    left_out: int = 0
    conflicts: int = 0
    services: int = 0
    endpoints: int = 0


class Publications:
    """Compares the snapshots of a store. `warn` takes a message and keys to log."""

    def __init__(self, store: Store, publisher: Publisher, now: float, warn: Callable[..., None]) -> None:
        self._store = store
        self._publisher = publisher
        self._now = now
        self._warn = warn

    def repair(self, namespace: str, tasks: Sequence[TaskRecord]) -> Repaired:
        """Publish what of a namespace is not published as registered; return how much that was.

        `tasks` are all of the namespace, read just now. Raises what the publisher raises.
        """
        services = self._settle_aliases(namespace, tasks)
        head = self._store.snapshots.head(namespace, consistent=True)
        if head is not None and self._publisher.is_foreign(head):
            self._publisher.publish(namespace, Changes())
            head = self._store.snapshots.head(namespace, consistent=True)
        parts = self._store.snapshots.readable(namespace, head) if head is not None else {}
        published = [document for part in parts.values() for document in part.services.values()]
        drift, left_out = self._publish(namespace, tasks, services, parts.values())
        return Repaired(
            drift=drift,
            left_out=left_out,
            conflicts=sum(len(each.conflicts) for each in services.values()),
            services=len(published),
            endpoints=sum(len(document["endpoints"]) for document in published),
        )

    def _settle_aliases(self, namespace: str, tasks: Sequence[TaskRecord]) -> dict[str, ServiceRecord]:
        """Return all services, after those with conflicts have tried again."""
        services = self._store.services.all(namespace)
        wanting = [each for each in services.values() if each.conflicts]
        if not wanting:
            return services
        alive = frozenset(endpoint.service for task in tasks if not task.gone for endpoint in task.endpoints)
        for service in wanting:
            self._store.services.retry_aliases(namespace, service, alive.__contains__)
        # Read anew: one that got an alias may have taken it from another.
        return self._store.services.all(namespace)

    def _publish(
        self,
        namespace: str,
        tasks: Sequence[TaskRecord],
        services: Mapping[str, ServiceRecord],
        parts: Collection[Part],
    ) -> tuple[int, int]:
        """Return how much was published again, and how many services do not fit."""
        found = compare(tasks, services, parts, self._now)
        if not found:
            return 0, 0
        drift = 0
        left_out: set[str] = set()
        ids = sorted(found.tasks)
        for start in range(0, max(1, len(ids)), TASKS_AT_ONCE):
            some = frozenset(ids[start : start + TASKS_AT_ONCE])
            published = self._publisher.publish(namespace, Changes(some, found.services))
            left_out |= published.left_out
            if published.is_new:
                drift += len(some) or len(found.services)
        if drift:
            self._warn(
                "the snapshot had missed changes",
                namespace=namespace,
                tasks=ids[:20],
                services=sorted(found.services)[:20],
                drift=drift,
            )
        if left_out:
            self._warn("services are too large to be published", namespace=namespace, services=sorted(left_out)[:20])
        return drift, len(left_out)
