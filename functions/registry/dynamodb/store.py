"""The registry's door to DynamoDB: one object with the stores of one table."""

from __future__ import annotations

from dataclasses import dataclass

from registry.dynamodb.finding_store import FindingStore
from registry.dynamodb.history_store import HistoryStore
from registry.dynamodb.owner_store import OwnerStore
from registry.dynamodb.question_store import QuestionStore
from registry.dynamodb.removal_store import RemovalStore
from registry.dynamodb.service_store import ServiceStore
from registry.dynamodb.snapshot_store import SnapshotStore
from registry.dynamodb.sweep_store import SweepStore
from registry.dynamodb.table import Table
from registry.dynamodb.task_store import TaskStore


@dataclass(frozen=True, slots=True)
class Store:
    """Everything that is stored. Nothing is opened before its first use."""

    tasks: TaskStore
    services: ServiceStore
    snapshots: SnapshotStore
    sweeps: SweepStore
    history: HistoryStore
    owners: OwnerStore
    removals: RemovalStore
    findings: FindingStore
    questions: QuestionStore


def open_store(table_name: str, region: str, endpoint: str | None = None) -> Store:
    """Return the stores of a table.

    Without `endpoint` botocore finds it (AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL, else AWS itself).
    """
    table = Table(table_name, region, endpoint)
    owners = OwnerStore(table)
    return Store(
        TaskStore(table),
        ServiceStore(table, owners),
        SnapshotStore(table),
        SweepStore(table),
        HistoryStore(table),
        owners,
        RemovalStore(table),
        FindingStore(table),
        QuestionStore(table),
    )
