"""From a task's state to the registry: what registrar and reconciler do with every task.

Order of the writes: namespace, services, task. The task comes last since its record makes the publisher build
a snapshot, which then finds the service. Each write can be repeated, so an invocation that fails half-way is
simply made again.

A stop of a registered task needs no task definition: one that was deleted, or an ECS that is throttled, does not
keep traffic on a task that is gone.

Only a task that runs or ran, and lives, says what a service is. A late event of a task says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from registry.aws.ecs import Lookups
from registry.domain.events import TaskEvent
from registry.domain.offer import Definition, DefinitionError
from registry.domain.owners import Claim, principals_of
from registry.domain.rules import TaskRecord, accepts, has_run, is_over, is_stop, record_of, stopped_record
from registry.domain.service import Conflict, declaration_of
from registry.domain.service_events import ecs_service
from registry.dynamodb.service_store import ClaimRefusedError
from registry.dynamodb.store import Store


class Outcome(StrEnum):
    """What became of a task's state."""

    APPLIED = "applied"
    STALE = "stale"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Registered:
    """The outcome, and the record made of the event (None when the task is not ours).

    `conflicts` are aliases, by service, that the task's services newly want and others hold, `refused` the
    services that it may not offer.
    """

    outcome: Outcome
    record: TaskRecord | None
    conflicts: Mapping[str, tuple[Conflict, ...]] = field(default_factory=dict)
    refused: tuple[Claim, ...] = ()


def register(event: TaskEvent, store: Store, lookups: Lookups, now: float) -> Registered:
    """Bring a task's state into the registry.

    Raises DefinitionError, UnknownTaskDefinitionError, ExternalInstanceError, and what AWS calls raise.
    """
    if is_stop(event) and not _has_definition(event, lookups):
        known = store.tasks.find(event.task_id)
        if known is not None:
            record = stopped_record(known, event)
            return Registered(Outcome.APPLIED if store.tasks.apply(record) else Outcome.STALE, record)
    definition = lookups.definition(event.task_definition_arn)
    if definition is None:
        return Registered(Outcome.IGNORED, None)
    record = _record(event, definition, lookups)
    known = store.tasks.get(record.namespace, record.task_id)
    if not accepts(known, record.version, record.gone):
        return Registered(Outcome.STALE, record)
    store.tasks.ensure_namespace(definition.namespace, now)
    conflicts, refused = _declare(record, definition, store, now)
    applied = store.tasks.apply(record)
    return Registered(Outcome.APPLIED if applied else Outcome.STALE, record, conflicts, refused)


def _has_definition(event: TaskEvent, lookups: Lookups) -> bool:
    """Return whether the task's definition is remembered, and is one of this mesh.

    A task that is registered stops whatever is thought of its definition today: a later release may take its label for
    a mistake, or the parameter Mesh may have changed.
    """
    if not lookups.remembers(event.task_definition_arn):
        return False
    try:
        return lookups.definition(event.task_definition_arn) is not None
    except DefinitionError:
        return False


def complete(event: TaskEvent, known: TaskRecord, store: Store, lookups: Lookups) -> TaskRecord | None:
    """Add the address or the ports that were not known when this version of a task was registered.

    A host that EC2 does not show yet, or a network interface that came late, makes no new version of the task.
    Returns the completed record, None when there is nothing to add. Raises what `register` raises.
    """
    definition = lookups.definition(event.task_definition_arn)
    if definition is None:
        return None
    found = _record(event, definition, lookups)
    completed = replace(known, address=found.address, endpoints=found.endpoints)
    return completed if completed != known and store.tasks.complete(completed) else None


def declare_again(event: TaskEvent, store: Store, lookups: Lookups, now: float) -> None:
    """Declare the services of a task whose declaration ended while it started. Raises what `register` does."""
    definition = lookups.definition(event.task_definition_arn)
    if definition is not None:
        _declare(record_of(event, definition, None), definition, store, now)


def _declare(
    record: TaskRecord, definition: Definition, store: Store, now: float
) -> tuple[dict[str, tuple[Conflict, ...]], tuple[Claim, ...]]:
    """Declare the services of a task that runs.

    Return the aliases that they newly want and others hold, and the services that the task may not offer.
    """
    if not has_run(record):
        return {}, ()
    offered = {endpoint.service for endpoint in record.endpoints}
    created_at = record.created_at or record.changed_at
    conflicts: dict[str, tuple[Conflict, ...]] = {}
    refused: list[Claim] = []
    for offer in definition.offers:
        if offer.service not in offered:
            continue
        declaration = declaration_of(offer, record.task_definition, created_at, _ecs_service_of(record))
        try:
            found = store.services.declare(record.namespace, offer.service, declaration, now, record)
        except ClaimRefusedError as error:
            claim = Claim(offer.service, principals_of(record)[0], record.task_definition, error.reason, now)
            store.owners.refuse(record.namespace, claim)
            refused.append(claim)
        else:
            if found:
                conflicts[offer.service] = found
    return conflicts, tuple(refused)


def _record(event: TaskEvent, definition: Definition, lookups: Lookups) -> TaskRecord:
    host_address: str | None = None
    shares_host = definition.offers and definition.network_mode in ("bridge", "host")
    if shares_host and event.container_instance_arn and not is_over(event):
        host_address = lookups.host_address(event.cluster_arn, event.container_instance_arn)
    return record_of(event, definition, host_address)


def _ecs_service_of(record: TaskRecord) -> str | None:
    kind, _, name = (record.group or "").partition(":")
    return ecs_service(record.cluster_arn, name) if kind == "service" else None
