"""The items of the one DynamoDB table, as PynamoDB's models. `keys.py` says under which keys they are.

Rules:
1. Attributes may be absent on any item; the stores turn items into records and know the defaults.
2. The template owns the table. The models here have none: `table.py` makes those that do.
"""

from __future__ import annotations

from typing import Any

from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.models import Model


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
    """An answer to a question, or the question's own item, which counts them (`taken`) until it is over (`at`).

    `awaited` is how many tasks were to answer, 0 when it ends with its time, and `silent` which of them have not yet.
    """

    taken = NumberAttribute(null=True)
    awaited = NumberAttribute(null=True)
    silent = UnicodeSetAttribute(null=True)
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
