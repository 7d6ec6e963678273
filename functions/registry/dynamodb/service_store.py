"""Services and their policies in DynamoDB. IO; what a service is, is decided in `domain/service.py`.

Rules:
1. A service is created together with its claim of a VIP, which stays its own (`vip_store.py`).
2. Declarations are read, changed and written on the condition that nobody has changed them in between (`revision`).
3. A declaration is written before its aliases are claimed, and it ends in one transaction with claims that nothing
   else of the service needs. So a claim has a declaration, whatever dies between two calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from pynamodb.attributes import NumberAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from registry.domain.offer import Alias, AppProtocol, Timeouts
from registry.domain.owners import NO_RULES, NamespaceRules, principals_of
from registry.domain.rules import TaskRecord
from registry.domain.service import Conflict, Declaration, ServiceRecord, declared
from registry.dynamodb.alias_store import AliasStore, release_aliases
from registry.dynamodb.keys import namespace_key, service_key
from registry.dynamodb.models import AliasMap, DeclarationMap, ServiceItem
from registry.dynamodb.owner_store import OwnerStore
from registry.dynamodb.table import Table, change, maybe, transact_if, update_if, whole
from registry.dynamodb.vip_store import VipStore

DECLARE_ATTEMPTS: Final = 20  # as many registrars may declare a new service at the same time


class ServiceBusyError(Exception):
    """Other registrars declared the service each time. The event is given back."""


class ClaimRefusedError(Exception):
    """A task may not offer a service. `reason` says whose it is, or what the namespace does not let in."""

    def __init__(self, service: str, reason: str) -> None:
        self.service = service
        self.reason = reason
        super().__init__(f"{service}: {reason}")


class RevisionConflictError(Exception):
    """What operators say of a service is not at the revision that the writer knows. `revision` is the present one."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        super().__init__(f"it is at revision {revision}")


class ServiceStore:
    """Reads and writes SERVICE#, VIP# and ALIAS# items."""

    def __init__(self, table: Table, owners: OwnerStore, choose: Callable[[list[str]], str] = random.choice) -> None:
        self._table = table
        self._owners = owners
        self._vips = VipStore(table, choose)
        self.aliases = AliasStore(table)

    def declare(
        self, namespace: str, service: str, declaration: Declaration, now: float, task: TaskRecord
    ) -> tuple[Conflict, ...]:
        """Register what the definition of a task says of a service, and claim its aliases.

        A service that is new belongs to the task. Returns the aliases that another service holds; none when the
        declaration is no news. Raises ClaimRefusedError.
        """
        rules = self._owners.rules(namespace).rules
        is_news = self._write(namespace, service, declaration, now, task, rules)
        allowed = [alias for alias in declaration.aliases if rules.allows_name(alias.dns_name, namespace)]
        holders = self.aliases.claim(namespace, service, allowed)
        if not is_news:
            return ()
        return tuple(Conflict(alias, holder) for alias, holder in holders.items() if holder != service)

    def _write(
        self,
        namespace: str,
        service: str,
        declaration: Declaration,
        now: float,
        task: TaskRecord,
        rules: NamespaceRules,
    ) -> bool:
        """Write a declaration; return False when it is no news. Raises ClaimRefusedError."""
        for _ in range(DECLARE_ATTEMPTS):
            known = self._read(namespace, service, rules)
            reason = rules.refusal(task) if known is None else known.refusal(task)
            if reason is not None:
                raise ClaimRefusedError(service, reason)
            if known is None:
                owned = self._table.services.owners.set(list(principals_of(task)))
                if self._vips.create_service(namespace, service, [*self._actions((declaration,), 1), owned], now):
                    return True
                continue
            changed = declared(known.declarations, declaration)
            if changed is None and known.idle_since is None:
                return False
            # The revision keeps a reconciler from removing the service that gets a task now.
            actions = self._actions(changed or known.declarations, known.revision + 1)
            actions.append(self._table.services.idle_since.remove())
            if update_if(self._item(namespace, service), actions, self._unchanged(known)):
                return changed is not None
        raise ServiceBusyError(f"namespace {namespace}: {service} was declared by others {DECLARE_ATTEMPTS} times")

    def _item(self, namespace: str, name: str) -> ServiceItem:
        return self._table.services(namespace_key(namespace), service_key(name))

    def set_idle(self, namespace: str, service: ServiceRecord, since: float | None) -> bool:
        """Write since when a service has no task, None when it has one. Return False when it was declared meanwhile."""
        action = change(self._table.services.idle_since, since)
        return update_if(self._item(namespace, service.name), [action], self._unchanged(service))

    def _unchanged(self, known: ServiceRecord) -> Condition:
        model = self._table.services
        condition: Condition = model.vip.exists() & (model.revision == known.revision)
        return condition

    def _actions(self, declarations: Iterable[Declaration], revision: int) -> list[Action]:
        model = self._table.services
        return [model.declarations.set([_map(each) for each in declarations]), model.revision.set(revision)]

    def shrink(
        self, namespace: str, service: ServiceRecord, declarations: tuple[Declaration, ...], release: Iterable[Alias]
    ) -> bool:
        """Leave a service these declarations and end its claims of `release`, at most `alias_store.RELEASED_AT_ONCE`.

        One transaction. Return False, and change nothing, when the service has been declared again or does not hold
        one of the aliases.
        """

        def write(transaction: TransactWrite) -> None:
            actions = self._actions(declarations, service.revision + 1)
            transaction.update(self._item(namespace, service.name), actions=actions, condition=self._unchanged(service))
            release_aliases(transaction, self._table, namespace, service.name, release)

        return transact_if(self._table, write)

    def get(self, namespace: str, name: str) -> ServiceRecord | None:
        """Return one service, consistently read."""
        return self.get_all(namespace, (name,)).get(name)

    def _read(self, namespace: str, name: str, rules: NamespaceRules = NO_RULES) -> ServiceRecord | None:
        """Return one service without the holders of its aliases."""
        model = self._table.services
        try:
            item = model.get(namespace_key(namespace), service_key(name), consistent_read=True)
        except model.DoesNotExist:
            return None
        found = _record(item)
        return None if found is None else replace(found, namespace=namespace, rules=rules)

    def get_all(self, namespace: str, names: Iterable[str]) -> dict[str, ServiceRecord]:
        """Return services by their names, consistently read; unknown ones are left out."""
        keys = [(namespace_key(namespace), service_key(name)) for name in sorted(set(names))]
        items = self._table.services.batch_get(keys, consistent_read=True) if keys else ()
        found = _by_name(items)
        holders = self.aliases.holders(namespace, {alias for each in found.values() for alias in each.wanted})
        return self._complete(namespace, found, holders)

    def _complete(
        self, namespace: str, services: Mapping[str, ServiceRecord], holders: Mapping[Alias, str]
    ) -> dict[str, ServiceRecord]:
        """Return services with the holders of their aliases and the rules of their namespace."""
        rules = self._owners.rules(namespace).rules if services else NO_RULES
        return {
            name: replace(
                each,
                namespace=namespace,
                rules=rules,
                holders={alias: holders[alias] for alias in each.wanted if alias in holders},
            )
            for name, each in services.items()
        }

    def all(self, namespace: str) -> dict[str, ServiceRecord]:
        """Return every service of a namespace by its name, consistently read."""
        services, _ = self.registered(namespace)
        return services

    def registered(self, namespace: str) -> tuple[dict[str, ServiceRecord], dict[Alias, str]]:
        """Return every service of a namespace by its name, and whose all its aliases are, wanted or not."""
        model = self._table.services
        items = model.query(namespace_key(namespace), model.sk.startswith(service_key("")), consistent_read=True)
        found, holders = _by_name(items), self.aliases.all(namespace)
        return self._complete(namespace, found, holders), holders

    def set_policy(
        self, namespace: str, name: str, policy: Mapping[str, Any], expected_revision: int | None, now: float
    ) -> ServiceRecord | None:
        """Replace a service's policy and return the service, None when there is no such service.

        Raises RevisionConflictError when `expected_revision` is given and is not the present one.
        """
        model = self._table.services
        item = self._item(namespace, name)
        actions: list[Action] = [model.policy.set(dict(policy)), model.policy_at.set(now)]
        if self._set_by_operator(item, actions, model.policy_revision, expected_revision):
            return _record(item)
        known = self._read(namespace, name)
        if known is None:
            return None
        raise RevisionConflictError(known.policy_revision)

    def set_allowed(
        self, namespace: str, name: str, allowed: Iterable[str], expected_revision: int | None
    ) -> ServiceRecord | None:
        """Replace the principals that may offer a service besides its owner; None when there is no such service.

        Raises RevisionConflictError when `expected_revision` is given and is not the present one.
        """
        model = self._table.services
        written = self._set_by_operator(
            self._item(namespace, name),
            [model.allowed.set(sorted(set(allowed)))],
            model.allowed_revision,
            expected_revision,
        )
        known = self.get(namespace, name)
        if known is None or written:
            return known
        raise RevisionConflictError(known.allowed_revision)

    def _set_by_operator(
        self, item: ServiceItem, actions: list[Action], revision: NumberAttribute, expected: int | None
    ) -> bool:
        """Write what an operator says of a service, if there is one and it is at the revision that is expected."""
        condition: Condition = self._table.services.vip.exists()
        if expected == 0:
            condition &= revision.does_not_exist() | (revision == 0)
        elif expected is not None:
            condition &= revision == expected
        return update_if(item, [*actions, revision.set((revision | 0) + 1)], condition)


def _by_name(items: Iterable[ServiceItem]) -> dict[str, ServiceRecord]:
    records = (_record(item) for item in items)
    return {record.name: record for record in records if record is not None}


def _map(declaration: Declaration) -> DeclarationMap:
    return DeclarationMap(
        task_definition=declaration.task_definition,
        protocol=declaration.protocol,
        aliases=[AliasMap(dns_name=each.dns_name, port=each.port) for each in declaration.aliases],
        request_seconds=declaration.timeouts.request_seconds,
        idle_seconds=declaration.timeouts.idle_seconds,
        declared_at=declaration.declared_at,
        ecs_service=declaration.ecs_service,
    )


def _declaration(item: DeclarationMap) -> Declaration:
    return Declaration(
        task_definition=item.task_definition,
        protocol=cast("AppProtocol", item.protocol),  # as `_map` wrote it
        aliases=tuple(Alias(each.dns_name, int(each.port)) for each in item.aliases),
        timeouts=Timeouts(whole(item.request_seconds), whole(item.idle_seconds)),
        declared_at=float(item.declared_at),
        ecs_service=maybe(item.ecs_service),
    )


def _record(item: ServiceItem) -> ServiceRecord | None:
    """Return the item as a record; None for one that no function of ours has written."""
    if maybe(item.vip) is None or not maybe(item.declarations):
        return None
    policy = maybe(item.policy)
    return ServiceRecord(
        name=item.sk.partition("#")[2],
        vip=item.vip,
        declarations=tuple(_declaration(each) for each in item.declarations),
        policy=policy.as_dict() if policy is not None else {},
        policy_revision=int(item.policy_revision or 0),
        policy_at=maybe(item.policy_at),
        revision=int(item.revision or 0),
        owners=tuple(maybe(item.owners) or ()),
        allowed=tuple(maybe(item.allowed) or ()),
        allowed_revision=int(item.allowed_revision or 0),
        idle_since=maybe(item.idle_since),
    )
