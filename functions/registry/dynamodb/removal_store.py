"""Services and namespaces that go, in DynamoDB. IO; which ones, is decided in `domain/leftovers.py`.

Rules:
1. A service, its aliases and its claim of its VIP end in one transaction, on the condition that nobody has declared the
   service since it was read. The claim is released, not deleted: it keeps others away until its quarantine is over.
2. A namespace's item is the last to go, so that a removal which dies half-way is found and ended by the next sweep.
   Each item goes on the condition that it is as it was read; a registrar that comes meanwhile keeps the namespace,
   and its publisher builds a new head, whose blobs are later than those that were read here.
"""

from __future__ import annotations

from collections.abc import Callable

from pynamodb.expressions.condition import Condition
from pynamodb.transactions import TransactWrite

from registry.domain.leftovers import EMPTY_SECONDS, QUARANTINE_SECONDS, most_recent_use
from registry.domain.service import ServiceRecord, alias_order
from registry.dynamodb.alias_store import RELEASED_AT_ONCE, release_aliases
from registry.dynamodb.keys import HEAD, NAMESPACES, namespace_key, service_key, vip_key
from registry.dynamodb.table import Table, delete_if, maybe, transact_if


class RemovalStore:
    """Deletes SERVICE#, ALIAS#, HEAD, PART# and CHANGES# items and namespaces, and releases VIP# items."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def service(self, namespace: str, service: ServiceRecord, now: float) -> bool:
        """Remove a service. Return False, and change nothing, when it is not as it was read.

        Of more than `RELEASED_AT_ONCE` aliases the rest has a holder that is no more, which the next sweep ends.
        """
        services, vips = self._table.services, self._table.vips
        key = namespace_key(namespace)
        same: Condition = (services.vip == service.vip) & (services.revision == service.revision)
        held = sorted((alias for alias, holder in service.holders.items() if holder == service.name), key=alias_order)

        def write(transaction: TransactWrite) -> None:
            transaction.delete(services(key, service_key(service.name)), condition=same)
            transaction.update(
                vips(key, vip_key(service.vip)),
                actions=[vips.released_at.set(now), vips.expires_at.set(int(now + QUARANTINE_SECONDS))],
                condition=vips.service == service.name,
            )
            release_aliases(transaction, self._table, namespace, service.name, held[:RELEASED_AT_ONCE])

        return transact_if(self._table, write)

    def namespace(self, namespace: str, now: float, remove_feed: Callable[[str], None]) -> bool:
        """Remove a namespace that has no tasks and no services, and its feed. Return False when it is to stay.

        It stays while it has rules, and for `EMPTY_SECONDS` after a task has joined it.
        """
        model = self._table.namespaces
        try:
            item = model.get(NAMESPACES, namespace_key(namespace), consistent_read=True)
        except model.DoesNotExist:
            return False
        rules, created_at, joined_at = maybe(item.rules), maybe(item.created_at), maybe(item.joined_at)
        if rules is not None and rules.as_dict():
            return False
        if now - most_recent_use(created_at, joined_at) < EMPTY_SECONDS:
            return False
        remove_feed(namespace)
        self._remove_snapshot(namespace)
        same: Condition = model.joined_at.does_not_exist() if joined_at is None else model.joined_at == joined_at
        revision = maybe(item.rules_revision)
        same &= model.rules_revision.does_not_exist() if revision is None else model.rules_revision == revision
        return delete_if(item, same)

    def _remove_snapshot(self, namespace: str) -> None:
        heads, parts = self._table.heads, self._table.parts
        key = namespace_key(namespace)
        blobs = [
            item
            for prefix in ("PART#", "CHANGES#")
            for item in parts.query(
                key,
                parts.sk.startswith(prefix),
                consistent_read=True,
                attributes_to_get=["pk", "sk", "revision"],
            )
        ]
        try:
            head = heads.get(key, HEAD, consistent_read=True)
        except heads.DoesNotExist:
            pass
        else:
            if not delete_if(head, heads.next_revision == head.next_revision):
                return
        for item in blobs:
            delete_if(item, parts.revision == item.revision)
