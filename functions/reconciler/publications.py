"""Repair of what is published: compared with what is registered, and published again where it differs; so the feed.

Before that, declarations and aliases change hands (`claims.py`), and what nobody uses any more goes (`leftovers.py`).
The build is the publisher's own, which reads
everything again and writes on condition, so that a repair at the same time as a publication does no harm, and one that
finds nothing to change writes nothing. A snapshot that was restored with its table gets a
new epoch here, also when nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.leftovers import Leftovers
from registry.domain import claims, findings
from registry.domain.comparison import compare
from registry.domain.feed import COPIES
from registry.domain.findings import Found
from registry.domain.rules import TaskRecord
from registry.domain.service import ServiceRecord
from registry.domain.snapshot import Document, Part
from registry.dynamodb.alias_store import RELEASED_AT_ONCE
from registry.dynamodb.store import Store
from registry.feeding import Feeder, WholeDocumentError
from registry.publishing import Changes, Publisher

TASKS_AT_ONCE = 500  # keeps what one publication reads and writes well below its function's time
STEPS_AT_ONCE: Final = 500  # of aliases in one namespace: 5 s at 10 ms, the next sweep goes on


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many tasks and services were published again, and how many aliases are wanted by two services.

    Beside them the services and endpoints that were found published, and how many services do not fit. `refused` counts
    claims of names that running tasks may not have, `undeclared` has the ARNs of running tasks whose definitions have
    not declared their services, `found` what is wrong with services. `removed` counts services that went, `feed_drift`
    the copies of the feed that had to be written, or have no whole document.
    """

    drift: int = 0
    left_out: int = 0
    conflicts: int = 0
    services: int = 0
    endpoints: int = 0
    undeclared: frozenset[str] = frozenset()
    refused: int = 0
    removed: int = 0
    found: tuple[Found, ...] = ()
    feed_drift: int = 0


class Publications:
    """Compares the snapshots of a store. `warn` takes a message and keys to log."""

    def __init__(
        self, store: Store, publisher: Publisher, now: float, warn: Callable[..., None], feeder: Feeder | None = None
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._now = now
        self._warn = warn
        self._leftovers = Leftovers(store, now, warn, feeder)
        self._feeder = feeder

    def repair(self, namespace: str, tasks: Sequence[TaskRecord]) -> Repaired:
        """Publish what of a namespace is not published as registered; return how much that was.

        `tasks` are all of the namespace, read just now. Raises what the publisher raises.
        """
        head = self._store.snapshots.head(namespace, consistent=True)
        if head is not None and self._publisher.is_foreign(head):
            self._publisher.publish(namespace, Changes())
            head = self._store.snapshots.head(namespace, consistent=True)
        parts = self._store.snapshots.readable(namespace, head) if head is not None else {}
        published = {name: document for part in parts.values() for name, document in part.services.items()}
        services = self._settle(namespace, tasks, published)
        drift, left_out = self._publish(namespace, tasks, services, parts.values())
        refused = claims.refused(tasks, services, self._store.owners.rules(namespace).rules)
        found = [*findings.of_services(services.values()), *(findings.too_large(name) for name in sorted(left_out))]
        if refused:
            known = self._store.owners.refused(namespace, self._now)
            of_now = [each for name in sorted(known) for each in known[name] if (name, each.claimant) in refused]
            found += [findings.refused_claim(claim) for claim in of_now]
        feed_drift = self._feed(namespace)
        return Repaired(
            drift=drift,
            left_out=len(left_out),
            conflicts=sum(len(each.conflicts) for each in services.values()),
            services=len(published),
            endpoints=sum(len(document["endpoints"]) for document in published.values()),
            undeclared=claims.undeclared(tasks, services),
            refused=len(refused),
            feed_drift=feed_drift,
            removed=self._leftovers.sweep(namespace, tasks, services),
            found=tuple(found),
        )

    def _feed(self, namespace: str) -> int:
        """Return how many copies of the feed had to be written: all, as long as the bucket refuses the whole one."""
        try:
            written = 0 if self._feeder is None else self._feeder.bring_up(namespace, settled=True)
        except WholeDocumentError as error:
            self._warn("the whole document is not written", namespace=namespace, error=repr(error.__cause__))
            return COPIES
        if written:
            self._warn("the feed did not say what is published", namespace=namespace, copies=written)
        return written

    def _settle(
        self, namespace: str, tasks: Sequence[TaskRecord], published: Mapping[str, Document]
    ) -> dict[str, ServiceRecord]:
        """Return all services, after declarations have ended and aliases have changed hands."""
        services, holders = self._store.services.registered(namespace)
        living = claims.living_of(tasks, services)
        if not claims.shrinking(services, holders, living, published) and not claims.moves(services, holders, living):
            return services
        # `tasks` may lag behind the services, and nothing is taken from a task that has just begun to live.
        living = claims.living_of(self._store.tasks.all(namespace), services)
        ends = claims.shrinking(services, holders, living, published)[:STEPS_AT_ONCE]
        for end in ends:
            # What is left over the next sweep finds unwanted.
            release = end.release[:RELEASED_AT_ONCE]
            self._store.services.shrink(namespace, end.service, end.declarations, release)
        if ends:
            services, holders = self._store.services.registered(namespace)
        moves = claims.moves(services, holders, living)[:STEPS_AT_ONCE]
        for move in moves:
            self._store.services.aliases.move(namespace, move.alias, move.holder, move.service)
        return self._store.services.all(namespace) if moves else services

    def _publish(
        self,
        namespace: str,
        tasks: Sequence[TaskRecord],
        services: Mapping[str, ServiceRecord],
        parts: Collection[Part],
    ) -> tuple[int, set[str]]:
        """Return how much was published again, and the services that do not fit."""
        found = compare(tasks, services, parts, self._now)
        if not found:
            return 0, set()
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
        return drift, left_out
