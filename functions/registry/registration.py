"""From a task's state to the registry: what registrar and reconciler do with every task.

Order of the writes: namespace, services, task. The task comes last since its record makes the publisher build
a snapshot, which then finds the service. Each write can be repeated, so an invocation that fails half-way is
simply made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from registry.ecs import Lookups
from registry.events import TaskEvent
from registry.rules import TaskRecord, is_over, record_of
from registry.store import Store


class Outcome(StrEnum):
    """What became of a task's state."""

    APPLIED = "applied"
    STALE = "stale"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Registered:
    """The outcome, and the record made of the event (None when the task is not ours)."""

    outcome: Outcome
    record: TaskRecord | None


def register(event: TaskEvent, store: Store, lookups: Lookups, now: float) -> Registered:
    """Bring a task's state into the registry.

    Raises DefinitionError, UnknownTaskDefinitionError, and what AWS calls raise.
    """
    definition = lookups.definition(event.task_definition_arn)
    if definition is None:
        return Registered(Outcome.IGNORED, None)
    host_address: str | None = None
    if definition.network_mode in ("bridge", "host") and event.container_instance_arn and not is_over(event):
        host_address = lookups.host_address(event.cluster_arn, event.container_instance_arn)
    record = record_of(event, definition, host_address)
    store.tasks.ensure_namespace(definition.namespace, now)
    for offer in definition.offers:
        store.services.declare(definition.namespace, offer, event.created_at or 0.0, now)
    applied = store.tasks.apply(record)
    return Registered(Outcome.APPLIED if applied else Outcome.STALE, record)
