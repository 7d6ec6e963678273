"""The one DynamoDB table: the models that speak to it, and how items are changed.

Rule: items are changed by `update_if` or in a transaction, on a condition, never by `save()`: that would erase what a
newer release or another writer has put there. They are deleted on a condition, or by the table's TTL at `expires_at`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any, Final, TypeVar, cast

from botocore.exceptions import ClientError
from pynamodb.connection import Connection, TableConnection
from pynamodb.exceptions import DeleteError, PynamoDBException, TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from registry.dynamodb.models import (
    AliasItem,
    AnswerItem,
    ClaimItem,
    FindingItem,
    HeadItem,
    HistoryItem,
    Item,
    NamespaceItem,
    PartItem,
    ServiceItem,
    SweepItem,
    TaskItem,
    VipItem,
)

CONDITION_FAILED: Final = "ConditionalCheckFailedException"
TRANSACTION_CANCELLED: Final = "TransactionCanceledException"

# PynamoDB's own (15 s, 30 s) are longer than a function lives.
CONNECT_TIMEOUT_SECONDS: Final = 1.0
READ_TIMEOUT_SECONDS: Final = 2.0
TOTAL_ATTEMPTS: Final = 3

M = TypeVar("M", bound=Item)
N = TypeVar("N", bound=Item)
V = TypeVar("V")


def maybe(value: V) -> V | None:
    """Return an attribute that may be absent, as its type should be: PynamoDB's forgets `null=True`."""
    return value


def whole(value: float | None) -> int | None:
    """Return a number attribute that is a whole number."""
    return None if value is None else int(value)


def change(attribute: Any, value: object) -> Action:
    """Return the action that sets an attribute, or removes it when the value is None."""
    action: Action = attribute.remove() if value is None else attribute.set(value)
    return action


def code_of(error: PynamoDBException) -> str | None:
    """Return the code of DynamoDB's answer, None when no answer came.

    PynamoDB's own `cause_response_code` fails then: an error of the connection has a response too, which is None.
    """
    return error.cause.response.get("Error", {}).get("Code") if isinstance(error.cause, ClientError) else None


def update_if(item: Item, actions: list[Action], condition: Condition) -> bool:
    """Change an item; return False, and change nothing, when it does not meet the condition."""
    try:
        item.update(actions=actions, condition=condition)
    except UpdateError as error:
        if code_of(error) == CONDITION_FAILED:
            return False
        raise
    return True


def delete_if(item: Item, condition: Condition) -> bool:
    """Delete an item; return False, and change nothing, when it does not meet the condition."""
    try:
        item.delete(condition=condition)
    except DeleteError as error:
        if code_of(error) == CONDITION_FAILED:
            return False
        raise
    return True


def transact_if(table: Table, write: Callable[[TransactWrite], None]) -> bool:
    """Make all the writes of a transaction; return False, and change nothing, when one does not meet its condition."""
    try:
        with TransactWrite(connection=table.connection) as transaction:
            write(transaction)
    except TransactWriteError as error:
        if code_of(error) == TRANSACTION_CANCELLED:
            return False
        raise
    return True


class Table:
    """The models of one table. They share one connection: a client of botocore's costs 0.1 s to make."""

    def __init__(self, name: str, region: str, host: str | None = None) -> None:
        meta = _meta(name, region, host)
        # Nothing is opened yet. All models have the same keys, so the connection of one serves all.
        shared = _derive(NamespaceItem, meta)._get_connection()
        self.connection: Connection = shared.connection
        self.namespaces = _derive(NamespaceItem, meta, shared)
        self.tasks = _derive(TaskItem, meta, shared)
        self.services = _derive(ServiceItem, meta, shared)
        self.vips = _derive(VipItem, meta, shared)
        self.heads = _derive(HeadItem, meta, shared)
        self.parts = _derive(PartItem, meta, shared)
        self.aliases = _derive(AliasItem, meta, shared)
        self.claims = _derive(ClaimItem, meta, shared)
        self.findings = _derive(FindingItem, meta, shared)
        self.answers = _derive(AnswerItem, meta, shared)
        self.history = _derive(HistoryItem, meta, shared)
        self.sweeps = _derive(SweepItem, meta, shared)


def _meta(name: str, region: str, host: str | None) -> dict[str, Any]:
    return {
        "table_name": name,
        "region": region,
        "host": host,
        "connect_timeout_seconds": CONNECT_TIMEOUT_SECONDS,
        "read_timeout_seconds": READ_TIMEOUT_SECONDS,
        "retry_configuration": {"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
    }


def connected(
    models: tuple[type[M], type[N]], name: str, region: str, host: str | None = None
) -> tuple[type[M], type[N]]:
    """Return two models of another table with the same keys; they share one connection."""
    first, second = models
    meta = _meta(name, region, host)
    shared = _derive(first, meta)._get_connection()
    return _derive(first, meta, shared), _derive(second, meta, shared)


def _derive(model: type[M], meta: dict[str, Any], shared: TableConnection | None = None) -> type[M]:
    """Return the model as one that knows its table."""
    body = {"Meta": type("Meta", (), dict(meta)), "_connection": shared}
    return cast(type[M], new_class(model.__name__, (model,), exec_body=lambda names: names.update(body)))
