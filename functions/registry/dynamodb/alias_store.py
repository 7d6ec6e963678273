"""Who has which alias, in DynamoDB. IO.

Rules:
1. A name and port belong to one service of a namespace, the one that the alias's item names: that is the only truth.
   What services want stands in their declarations, and a conflict is the difference.
2. A free alias goes to the first service that claims it. What a definition newly wants is claimed in one transaction,
   all that is free or nothing.
3. Each other step is one conditional write too: `move` gives an alias to another service if its holder is still the
   one that is known, `ServiceStore.shrink` ends claims together with the declarations that made them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pynamodb.expressions.condition import Condition
from pynamodb.transactions import TransactWrite

from registry.domain.bounds import ALIASES_PER_SERVICE
from registry.domain.offer import Alias
from registry.dynamodb.keys import alias_key, namespace_key
from registry.dynamodb.models import AliasItem
from registry.dynamodb.table import Table, delete_if, maybe, transact_if, update_if

CLAIM_ATTEMPTS: Final = 8
RELEASED_AT_ONCE: Final = ALIASES_PER_SERVICE  # a transaction may have 100 items


class ClaimsBusyError(Exception):
    """Other services claimed the same aliases each time. The event is given back."""


class AliasStore:
    """Reads and writes ALIAS# items."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def claim(self, namespace: str, service: str, wanted: Iterable[Alias]) -> dict[Alias, str]:
        """Give a service what is free of the aliases that it wants, and return whose all of them are then."""
        wanted = tuple(wanted)
        for _ in range(CLAIM_ATTEMPTS):
            holders = self.holders(namespace, wanted)
            free = [alias for alias in wanted if alias not in holders]
            if not free or self._take(namespace, service, free):
                return holders | dict.fromkeys(free, service)
        raise ClaimsBusyError(f"namespace {namespace}: {service} lost its claims {CLAIM_ATTEMPTS} times to others")

    def _take(self, namespace: str, service: str, free: Iterable[Alias]) -> bool:
        model = self._table.aliases

        def write(transaction: TransactWrite) -> None:
            for alias in free:
                transaction.update(
                    model(namespace_key(namespace), alias_key(alias.dns_name, alias.port)),
                    actions=[model.service.set(service)],
                    condition=model.service.does_not_exist() | (model.service == service),
                )

        return transact_if(self._table, write)

    def holders(self, namespace: str, aliases: Iterable[Alias]) -> dict[Alias, str]:
        """Return the services that have these aliases, consistently read; free ones are left out."""
        keys = {(namespace_key(namespace), alias_key(alias.dns_name, alias.port)) for alias in aliases}
        items = self._table.aliases.batch_get(sorted(keys), consistent_read=True) if keys else ()
        return _holders(items)

    def all(self, namespace: str) -> dict[Alias, str]:
        """Return the services that have the aliases of a namespace, consistently read."""
        model = self._table.aliases
        items = model.query(namespace_key(namespace), model.sk.startswith("ALIAS#"), consistent_read=True)
        return _holders(items)

    def move(self, namespace: str, alias: Alias, holder: str | None, service: str | None) -> bool:
        """Take an alias from its holder, None for a free one, and give it to a service or to nobody.

        Return False, and change nothing, when the holder is another by now.
        """
        model = self._table.aliases
        unchanged: Condition = model.service.does_not_exist() if holder is None else model.service == holder
        item = model(namespace_key(namespace), alias_key(alias.dns_name, alias.port))
        return (
            delete_if(item, unchanged) if service is None else update_if(item, [model.service.set(service)], unchanged)
        )


def release_aliases(
    transaction: TransactWrite, table: Table, namespace: str, service: str, held: Iterable[Alias]
) -> None:
    """Take aliases from a service, on the condition that it holds them."""
    model = table.aliases
    for alias in held:
        item = model(namespace_key(namespace), alias_key(alias.dns_name, alias.port))
        transaction.delete(item, condition=model.service == service)


def _holders(items: Iterable[AliasItem]) -> dict[Alias, str]:
    return {_alias(item.sk): item.service for item in items if maybe(item.service) is not None}


def _alias(sort_key: str) -> Alias:
    _, port, dns_name = sort_key.split("#", 2)
    return Alias(dns_name, int(port))
