"""The items of the one DynamoDB table.

| pk | sk | model |
|---|---|---|
| NAMESPACES | NAMESPACE#{namespace} | NamespaceItem |
| NAMESPACE#{namespace} | TASK#{task id} | TaskItem |
| NAMESPACE#{namespace} | SERVICE#{name} | ServiceItem |
| NAMESPACE#{namespace} | VIP#{address} | VipItem |
| NAMESPACE#{namespace} | HEAD | HeadItem |
| NAMESPACE#{namespace} | PART#{00..63}#{A,B} | PartItem |
| NAMESPACE#{namespace} | PART#{00..63}#{A,B}#{1..3} | PartItem, the rest of a large one |
| NAMESPACE#{namespace} | CHANGES#{00..63}#{A,B} | PartItem |
| NAMESPACE#{namespace} | ALIAS#{port}#{name} | AliasItem |
| NAMESPACE#{namespace} | CLAIM#{service}#{principal} | ClaimItem |
| NAMESPACE#{namespace}, FINDINGS | FINDING#{code}#{resource}#{place} | FindingItem |
| QUESTION#{namespace}#{id} | QUESTION | AnswerItem, counts the answers |
| QUESTION#{namespace}#{id} | ANSWER#{task}#{time} | AnswerItem |
| HISTORY#{cluster}/{ECS service} | EVENT#{time}#{id} | HistoryItem |
| RECONCILER | SWEEP | SweepItem |

Rules:
1. Items are changed by `update()` with a condition, never by `save()`: that would erase what a newer release
   or another writer has put there. They are deleted on a condition, or by the table's TTL at `expires_at`.
2. Attributes may be absent on any item; the stores turn items into records and know the defaults.
3. The template owns the table. `Table` makes models that speak to it; the classes here have no table.
"""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any, Final, TypeVar, cast

from botocore.exceptions import ClientError
from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.connection import Connection, TableConnection
from pynamodb.exceptions import DeleteError, PynamoDBException, TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

NAMESPACES: Final = "NAMESPACES"
HEAD: Final = "HEAD"
RECONCILER: Final = "RECONCILER"
SWEEP: Final = "SWEEP"

CONDITION_FAILED: Final = "ConditionalCheckFailedException"
TRANSACTION_CANCELLED: Final = "TransactionCanceledException"

# PynamoDB's own (15 s, 30 s) are longer than a function lives.
CONNECT_TIMEOUT_SECONDS: Final = 1.0
READ_TIMEOUT_SECONDS: Final = 2.0
TOTAL_ATTEMPTS: Final = 3


def namespace_key(namespace: str) -> str:
    """Return the partition key of a namespace's items, and its sort key in the list of namespaces."""
    return f"NAMESPACE#{namespace}"


def task_key(task_id: str) -> str:
    """Return the sort key of a task."""
    return f"TASK#{task_id}"


def service_key(name: str) -> str:
    """Return the sort key of a service."""
    return f"SERVICE#{name}"


def vip_key(address: str) -> str:
    """Return the sort key of a claim of a VIP."""
    return f"VIP#{address}"


def alias_key(dns_name: str, port: int) -> str:
    """Return the sort key of a claim of an alias."""
    return f"ALIAS#{port}#{dns_name}"


def claim_key(service: str, principal: str) -> str:
    """Return the sort key of a refused claim of a service's name."""
    return f"CLAIM#{service}#{principal}"


def findings_key(namespace: str | None) -> str:
    """Return the partition key of a namespace's findings, or of those of definitions that name none."""
    return "FINDINGS" if namespace is None else namespace_key(namespace)


def finding_key(key: str) -> str:
    """Return the sort key of a finding."""
    return f"FINDING#{key}"


def question_key(namespace: str, question: str) -> str:
    """Return the partition key of a question to sidecars, and of its answers."""
    return f"QUESTION#{namespace}#{question}"


def answer_key(task: str, at: float) -> str:
    """Return the sort key of an answer; a task may give several."""
    return f"ANSWER#{task}#{at:017.3f}"


def history_key(ecs_service: str) -> str:
    """Return the partition key of the history of an ECS service (cluster/name)."""
    return f"HISTORY#{ecs_service}"


def part_key(number: int, slot: int) -> str:
    """Return the sort key of the base of a part of the snapshot."""
    return f"PART#{number:02d}#{'AB'[slot]}"


def changes_key(number: int, slot: int) -> str:
    """Return the sort key of the changes of a part of the snapshot."""
    return f"CHANGES#{number:02d}#{'AB'[slot]}"


def chunk_keys(key: str, count: int) -> list[str]:
    """Return the sort keys of the items over which a blob is spread; the first is its own."""
    return [key, *(f"{key}#{number}" for number in range(1, count))]


class Item(Model):
    """What all items have: the table's two keys."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class NamespaceItem(Item):
    """A namespace in the list of namespaces, with the rules that an operator gave it (`domain/owners.py`).

    `joined_at` is when a registrar last made sure that it is on the list.
    """

    created_at = NumberAttribute(null=True)
    joined_at = NumberAttribute(null=True)
    rules: MapAttribute[str, Any] = MapAttribute(null=True)
    rules_revision = NumberAttribute(null=True)


class Map(MapAttribute[str, Any]):
    """A map whose attributes are declared, with the annotations that PynamoDB's lacks."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)  # type: ignore[no-untyped-call]

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes by name."""
        found: dict[str, Any] = super().as_dict()  # type: ignore[no-untyped-call]
        return found


class EndpointMap(Map):
    """One service of a task."""

    service = UnicodeAttribute()
    port_name = UnicodeAttribute()
    protocol = UnicodeAttribute()
    port = NumberAttribute(null=True)
    container_port = NumberAttribute()


class FindingMap(Map):
    """A mistake that the task's sidecar sees."""

    code = UnicodeAttribute()
    level = UnicodeAttribute()
    where = UnicodeAttribute()
    what = UnicodeAttribute()
    remedy = UnicodeAttribute()


class TaskItem(Item):
    """The facts known of a task; times are epoch seconds. `gone` marks a tombstone, which may rest on absence only."""

    task_arn = UnicodeAttribute(null=True)
    cluster_arn = UnicodeAttribute(null=True)
    version = NumberAttribute(null=True)
    last_status = UnicodeAttribute(null=True)
    desired_status = UnicodeAttribute(null=True)
    task_definition = UnicodeAttribute(null=True)
    group = UnicodeAttribute(null=True)
    started_by = UnicodeAttribute(null=True)
    launch_type = UnicodeAttribute(null=True)
    zone = UnicodeAttribute(null=True)
    address = UnicodeAttribute(null=True)
    endpoints = ListAttribute(of=EndpointMap, null=True)
    created_at = NumberAttribute(null=True)
    started_at = NumberAttribute(null=True)
    stopping_at = NumberAttribute(null=True)
    stopped_at = NumberAttribute(null=True)
    changed_at = NumberAttribute(null=True)
    stop_code = UnicodeAttribute(null=True)
    stopped_reason = UnicodeAttribute(null=True)
    health_wait = NumberAttribute(null=True)
    task_role = UnicodeAttribute(null=True)
    health = UnicodeAttribute(null=True)
    health_at = NumberAttribute(null=True)
    waited = BooleanAttribute(null=True)
    stop_seen_at = NumberAttribute(null=True)
    findings = ListAttribute(of=FindingMap, null=True)
    absent_at = NumberAttribute(null=True)
    gone = BooleanAttribute(null=True)
    expires_at = NumberAttribute(null=True)


class AliasMap(Map):
    """A name and port of a service."""

    dns_name = UnicodeAttribute()
    port = NumberAttribute()


class DeclarationMap(Map):
    """What one task definition says of a service (`domain/service.py`)."""

    task_definition = UnicodeAttribute()
    protocol = UnicodeAttribute()
    aliases = ListAttribute(of=AliasMap)
    request_seconds = NumberAttribute(null=True)
    idle_seconds = NumberAttribute(null=True)
    declared_at = NumberAttribute()
    ecs_service = UnicodeAttribute(null=True)


class ServiceItem(Item):
    """A service. `revision` counts the changes of its declarations, `idle_since` is set while it has no task.

    `policy_at` is when the policy was written last.
    """

    declarations = ListAttribute(of=DeclarationMap, null=True)
    revision = NumberAttribute(null=True)
    vip = UnicodeAttribute(null=True)
    policy: MapAttribute[str, Any] = MapAttribute(null=True)
    policy_revision = NumberAttribute(null=True)
    policy_at = NumberAttribute(null=True)
    owners: ListAttribute[Any] = ListAttribute(null=True)
    allowed: ListAttribute[Any] = ListAttribute(null=True)
    allowed_revision = NumberAttribute(null=True)
    idle_since = NumberAttribute(null=True)


class ClaimItem(Item):
    """A claim of a service's name that was refused."""

    task_definition = UnicodeAttribute()
    reason = UnicodeAttribute()
    at = NumberAttribute()
    expires_at = NumberAttribute()


class FindingItem(Item):
    """Something that is wrong now: with `resource`, at `where`. It is over at `expires_at`."""

    resource = UnicodeAttribute()
    level = UnicodeAttribute()
    where = UnicodeAttribute()
    what = UnicodeAttribute()
    remedy = UnicodeAttribute()
    since = NumberAttribute()
    seen_at = NumberAttribute()
    expires_at = NumberAttribute()


class VipItem(Item):
    """A service's claim of an address. A released claim holds until `expires_at`, which is the table's TTL, too."""

    service = UnicodeAttribute(null=True)
    released_at = NumberAttribute(null=True)
    expires_at = NumberAttribute(null=True)


class AliasItem(Item):
    """A service's claim of a name and port."""

    service = UnicodeAttribute(null=True)


class HistoryItem(Item):
    """Something that happened to an ECS service."""

    kind = UnicodeAttribute()
    name = UnicodeAttribute()
    level = UnicodeAttribute()
    deployment = UnicodeAttribute(null=True)
    reason = UnicodeAttribute(null=True)
    expires_at = NumberAttribute()


class AnswerItem(Item):
    """An answer to a question, or the question's own item, which counts them (`taken`) until it is over (`at`)."""

    taken = NumberAttribute(null=True)
    data = BinaryAttribute(legacy_encoding=False, null=True)
    at = NumberAttribute()
    expires_at = NumberAttribute()


class HeadItem(Item):
    """The head of a namespace's snapshot. `parts` says where its parts stand (`layout.pack`).

    `questions` are those that sidecars shall answer (`domain/questions.py`).
    """

    epoch = UnicodeAttribute(null=True)
    stream = UnicodeAttribute(null=True)
    revision = NumberAttribute(null=True)
    next_revision = NumberAttribute(null=True)
    generated_at = NumberAttribute(null=True)
    parts = BinaryAttribute(legacy_encoding=False, null=True)
    questions = UnicodeAttribute(null=True)


class PartItem(Item):
    """The base of a part of a namespace's snapshot, or the changes since. `chunks` is absent for one item alone."""

    revision = NumberAttribute(null=True)
    data = BinaryAttribute(legacy_encoding=False, null=True)
    chunks = NumberAttribute(null=True)


class SweepItem(Item):
    """Where the next sweep starts: the ARN of a cluster, absent for the first one."""

    next_cluster = UnicodeAttribute(null=True)


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
