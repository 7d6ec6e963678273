"""Claims of aliases in DynamoDB. IO.

Rules:
1. A name and port belong to one service of a namespace: the first that claimed them. Others that want them
   keep what they want as a conflict, for all to see, and are reached by their other aliases.
2. A claim ends when its service no longer wants the alias, or when the service has no living task and another
   wants it. The reconciler looks for both (`ServiceStore.retry_aliases`).
"""

# PynamoDB's maps have no annotations on some of their methods.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pynamodb.expressions.condition import Condition

from registry.domain.offer import Alias
from registry.domain.snapshot import Conflict
from registry.dynamodb.models import Table, alias_key, maybe, namespace_key, update_if


@dataclass(frozen=True, slots=True)
class Claims:
    """What a service got of the aliases that it wants."""

    granted: tuple[Alias, ...]
    conflicts: tuple[Conflict, ...]


class AliasStore:
    """Reads and writes ALIAS# items."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def claim(self, namespace: str, service: str, wanted: Iterable[Alias]) -> Claims:
        """Claim aliases for a service; what is its own already stays so."""
        granted: list[Alias] = []
        conflicts: list[Conflict] = []
        for alias in wanted:
            holder = self._claim(namespace, service, alias)
            if holder is None:
                granted.append(alias)
            else:
                conflicts.append(Conflict(alias, holder))
        return Claims(tuple(granted), tuple(conflicts))

    def _claim(self, namespace: str, service: str, alias: Alias) -> str | None:
        """Return None when the alias is now the service's, else the service whose it is."""
        while not self._take(namespace, service, alias, instead_of=service):
            holder = self._holder(namespace, alias)
            if holder is not None:
                return holder
            # The holder has given it up meanwhile.
        return None

    def take_over(self, namespace: str, service: str, conflict: Conflict) -> bool:
        """Give a service an alias in the place of its holder; return False when it is another's by now."""
        return self._take(namespace, service, conflict.alias, instead_of=conflict.holder)

    def _take(self, namespace: str, service: str, alias: Alias, instead_of: str) -> bool:
        model = self._table.aliases
        free: Condition = model.service.does_not_exist() | (model.service == instead_of)
        item = model(namespace_key(namespace), alias_key(alias.dns_name, alias.port))
        return update_if(item, [model.service.set(service)], free)

    def _holder(self, namespace: str, alias: Alias) -> str | None:
        model = self._table.aliases
        try:
            item = model.get(namespace_key(namespace), alias_key(alias.dns_name, alias.port), consistent_read=True)
        except model.DoesNotExist:
            return None
        return maybe(item.service)

    def release(self, namespace: str, service: str, aliases: Iterable[Alias]) -> None:
        """End a service's claims; those of others stay."""
        model = self._table.aliases
        for alias in aliases:
            item = model(namespace_key(namespace), alias_key(alias.dns_name, alias.port))
            update_if(item, [model.service.remove()], model.service == service)
