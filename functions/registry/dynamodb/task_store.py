"""Tasks and the list of namespaces in DynamoDB. IO; the decisions are `rules.py`'s, written as conditions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, Final

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from registry.domain.reports import Finding, Health, Level, TaskReport
from registry.domain.rules import (
    FACTS_OF_THE_LIVING,
    Endpoint,
    TaskRecord,
    apply_report,
    entomb,
    is_stale,
)
from registry.dynamodb.keys import NAMESPACES, namespace_key, task_key
from registry.dynamodb.models import EndpointMap, FindingMap, TaskItem
from registry.dynamodb.table import Table, change, maybe, update_if, whole

READ_AT_ONCE: Final = 500  # tasks, of 1 KB and less: an answer well within the read time-out

# Much less than the time after which an empty namespace is removed (`leftovers.py`): a registrar that remembers a
# namespace must not write into one that is gone.
JOINED_SECONDS: Final = 300.0

# A report that loses against an event or another report is compared again with what they wrote.
REPORT_ATTEMPTS: Final = 4

# What an event tells; the rest of a record has its own writers.
_EVENT_FACTS: Final = tuple(
    each.name
    for each in fields(TaskRecord)
    if each.name not in {"namespace", "endpoints", "absent_at", "gone", "expires_at", *FACTS_OF_THE_LIVING}
)


class ReportOutcome(StrEnum):
    """What became of a sidecar's report."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"  # it says what is known
    STALE = "stale"  # a later report of the health is known
    UNKNOWN_TASK = "unknown task"


class ReportConflictError(Exception):
    """The task changed during each attempt to write a report."""


class TaskStore:
    """Reads and writes TASK# items and the list of namespaces."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._joined: dict[str, float] = {}

    def ensure_namespace(self, namespace: str, now: float) -> None:
        """Put a namespace on the list of namespaces, or write that it is in use, at most every `JOINED_SECONDS`."""
        joined_at = self._joined.get(namespace)
        if joined_at is not None and now - joined_at < JOINED_SECONDS:
            return
        model = self._table.namespaces
        item = model(NAMESPACES, namespace_key(namespace))
        item.update(actions=[model.created_at.set(model.created_at | now), model.joined_at.set(now)])
        self._joined[namespace] = now

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces, sorted."""
        return [item.sk.partition("#")[2] for item in self._table.namespaces.query(NAMESPACES)]

    def apply(self, record: TaskRecord) -> bool:
        """Write the facts of an event; return False when what is stored is as new, or a tombstone."""
        model = self._table.tasks
        condition: Condition = model.version.does_not_exist() | (model.version < record.version)
        if not record.gone:
            condition = condition & (model.gone.does_not_exist() | model.absent_at.exists())
        return self._update(record.namespace, record.task_id, self._event_actions(record), condition)

    def _event_actions(self, record: TaskRecord) -> list[Action]:
        model = self._table.tasks
        actions = [change(getattr(model, name), getattr(record, name)) for name in _EVENT_FACTS]
        actions += [self._endpoints_action(record), model.absent_at.remove()]
        actions += self._tombstone_actions(record) if record.gone else [model.gone.remove(), model.expires_at.remove()]
        return actions

    def _endpoints_action(self, record: TaskRecord) -> Action:
        found = [
            EndpointMap(
                service=each.service,
                port_name=each.port_name,
                protocol=each.protocol,
                port=each.port,
                container_port=each.container_port,
            )
            for each in record.endpoints
        ]
        action: Action = self._table.tasks.endpoints.set(found)
        return action

    def _tombstone_actions(self, record: TaskRecord) -> list[Action]:
        model = self._table.tasks
        return [
            model.gone.set(True),
            change(model.expires_at, record.expires_at),
            *(getattr(model, name).remove() for name in FACTS_OF_THE_LIVING),
        ]

    def report(self, namespace: str, task_id: str, report: TaskReport) -> ReportOutcome:
        """Write what is new in a sidecar's report, if the task is alive. What is known already is not written.

        Raises ReportConflictError.
        """
        for _ in range(REPORT_ATTEMPTS):
            known = self.get(namespace, task_id)
            if known is None or known.gone:
                return ReportOutcome.UNKNOWN_TASK
            new = apply_report(known, report)
            if new is None or new is known:
                late = report.health is not known.health and is_stale(known, report)
                return ReportOutcome.STALE if late else ReportOutcome.UNCHANGED
            if self._update(namespace, task_id, self._report_actions(known, new), self._is_as(known)):
                return ReportOutcome.APPLIED
        raise ReportConflictError(f"task {task_id} changed during {REPORT_ATTEMPTS} attempts to write its report")

    def _report_actions(self, known: TaskRecord, new: TaskRecord) -> list[Action]:
        model = self._table.tasks
        actions: list[Action] = []
        if new.health is not known.health:
            actions += [change(model.health, new.health), change(model.health_at, new.health_at)]
        if new.stop_seen_at != known.stop_seen_at:
            actions.append(change(model.stop_seen_at, new.stop_seen_at))
        if new.findings != known.findings:
            found = [
                FindingMap(code=each.code, level=each.level.value, where=each.where, what=each.what, remedy=each.remedy)
                for each in new.findings
            ]
            actions.append(change(model.findings, found or None))
        return actions

    def _is_as(self, known: TaskRecord) -> Condition:
        """Return the condition that no event has made the task a tombstone and no report its health another."""
        model = self._table.tasks
        same: Condition = model.gone.does_not_exist() & model.version.exists()
        same &= model.health_at.does_not_exist() if known.health_at is None else model.health_at == known.health_at
        return same

    def mark_waited(self, record: TaskRecord) -> bool:
        """Write that the wait for health is over, unless the task has changed since it was read."""
        return self._update_living(record, [self._table.tasks.waited.set(True)])

    def complete(self, record: TaskRecord) -> bool:
        """Write address and endpoints that were not known when this version was written; False if it has changed."""
        address = change(self._table.tasks.address, record.address)
        return self._update_living(record, [address, self._endpoints_action(record)])

    def mark_absent(self, record: TaskRecord, now: float) -> bool:
        """Write that ECS does not know a task, unless it has changed since it was read."""
        return self._update_living(record, [self._table.tasks.absent_at.set(now)])

    def entomb(self, record: TaskRecord, now: float) -> bool:
        """Turn a task that ECS does not know into a tombstone, unless it has changed since it was read."""
        tombstone = entomb(record, now)
        absent_at = change(self._table.tasks.absent_at, tombstone.absent_at)
        return self._update_living(record, [*self._tombstone_actions(tombstone), absent_at])

    def sight(self, record: TaskRecord) -> bool:
        """Write that ECS shows a task that was absent, unless it has changed since it was read."""
        model = self._table.tasks
        return self._update(
            record.namespace,
            record.task_id,
            [model.absent_at.remove(), model.gone.remove(), model.expires_at.remove()],
            (model.version == record.version) & model.absent_at.exists(),
        )

    def _update_living(self, record: TaskRecord, actions: list[Action]) -> bool:
        model = self._table.tasks
        unchanged: Condition = (model.version == record.version) & model.gone.does_not_exist()
        return self._update(record.namespace, record.task_id, actions, unchanged)

    def _update(self, namespace: str, task_id: str, actions: list[Action], condition: Condition) -> bool:
        return update_if(self._table.tasks(namespace_key(namespace), task_key(task_id)), actions, condition)

    def get(self, namespace: str, task_id: str) -> TaskRecord | None:
        """Return one task, consistently read, tombstones too."""
        model = self._table.tasks
        try:
            item = model.get(namespace_key(namespace), task_key(task_id), consistent_read=True)
        except model.DoesNotExist:
            return None
        return _record(namespace, item)

    def find(self, task_id: str) -> TaskRecord | None:
        """Return a task of which only the id is known, whatever its namespace; tombstones too.

        A read for each namespace: for what is rare.
        """
        keys = [(namespace_key(namespace), task_key(task_id)) for namespace in self.namespaces()]
        for item in self._table.tasks.batch_get(keys, consistent_read=True) if keys else ():
            return _record(item.pk.partition("#")[2], item)
        return None

    def get_all(self, namespace: str, task_ids: Iterable[str]) -> dict[str, TaskRecord]:
        """Return tasks by their ids, consistently read; those that have no item are left out."""
        keys = [(namespace_key(namespace), task_key(task_id)) for task_id in sorted(set(task_ids))]
        items = self._table.tasks.batch_get(keys, consistent_read=True) if keys else ()
        records = (_record(namespace, item) for item in items)
        return {record.task_id: record for record in records if record is not None}

    def all(self, namespace: str, consistent: bool = True) -> Iterator[TaskRecord]:
        """Yield every task of a namespace, tombstones too; inconsistent reads cost half and may lag a second."""
        connection = self._table.tasks._get_connection()
        start: Any = None
        while True:
            page = connection.query(
                namespace_key(namespace),
                range_key_condition=self._table.tasks.sk.startswith(task_key("")),
                consistent_read=consistent,
                exclusive_start_key=start,
                limit=READ_AT_ONCE,
            )
            for item in page["Items"]:
                record = _record_of({name: _plain(value) for name, value in item.items()}, namespace)
                if record is not None:
                    yield record
            start = page.get("LastEvaluatedKey")
            if not start:
                return


def _record(namespace: str, item: TaskItem) -> TaskRecord | None:
    """Return the item as a record; None for one without a version."""
    facts = {name: getattr(item, name) for name in _EVENT_FACTS}
    endpoints = [each.as_dict() for each in maybe(item.endpoints) or ()]
    findings = [each.as_dict() for each in maybe(item.findings) or ()]
    others = {name: getattr(item, name) for name in (*FACTS_OF_THE_LIVING, "absent_at", "gone", "expires_at")}
    return _record_of({**facts, **others, "endpoints": endpoints, "findings": findings}, namespace)


def _record_of(item: Mapping[str, Any], namespace: str) -> TaskRecord | None:
    """Return plain attributes as a record; None without a version, which no function of ours has written."""
    if item.get("version") is None:
        return None
    facts: dict[str, Any] = {name: item.get(name) for name in _EVENT_FACTS}
    return TaskRecord(
        namespace=namespace,
        endpoints=tuple(
            Endpoint(
                each["service"],
                each["port_name"],
                each["protocol"],
                whole(each.get("port")),
                int(each["container_port"]),
            )
            for each in item.get("endpoints") or ()
        ),
        health=Health(item["health"]) if item.get("health") else None,
        health_at=item.get("health_at"),
        waited=bool(item.get("waited")),
        stop_seen_at=item.get("stop_seen_at"),
        findings=tuple(_finding(each) for each in item.get("findings") or ()),
        absent_at=item.get("absent_at"),
        gone=bool(item.get("gone")),
        expires_at=whole(item.get("expires_at")),
        **facts,
    )


def _finding(item: Mapping[str, Any]) -> Finding:
    return Finding(item["code"], Level(item["level"]), item["where"], item["what"], item["remedy"])


def _plain(value: Mapping[str, Any]) -> Any:
    """Return an attribute of DynamoDB's JSON as a plain value.

    PynamoDB's models take as long for an item as all the rest of a sweep.
    """
    ((kind, found),) = value.items()
    match kind:
        case "N":
            return float(found) if "." in found or "e" in found.lower() else int(found)
        case "L":
            return [_plain(each) for each in found]
        case "M":
            return {name: _plain(each) for name, each in found.items()}
        case "NULL":
            return None
    return found
