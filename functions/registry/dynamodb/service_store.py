"""Services and their policies in DynamoDB. IO.

Rules:
1. A service is created together with its claim of a VIP, which stays its own (`vip_store.py`).
2. The definition of the task created last says what a service is. Late events of older tasks change nothing,
   so a deployment that is rolled back takes its configuration with it.
3. Aliases are claimed before the declaration is written, and given up after it (`alias_store.py`).
"""

# PynamoDB's maps have no annotations on some of their methods.
# mypy: allow-untyped-calls

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from registry.domain.offer import Alias, Offer, Timeouts
from registry.domain.snapshot import Conflict, ServiceRecord
from registry.dynamodb.alias_store import AliasStore, Claims
from registry.dynamodb.models import (
    AliasMap,
    ConflictMap,
    ServiceItem,
    Table,
    change,
    maybe,
    namespace_key,
    service_key,
    update_if,
    whole,
)
from registry.dynamodb.vip_store import VipStore


class PolicyConflictError(Exception):
    """The policy is not at the revision that the writer knows. `revision` is the present one."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        super().__init__(f"the policy is at revision {revision}")


class ServiceStore:
    """Reads and writes SERVICE# items."""

    def __init__(self, table: Table, choose: Callable[[list[str]], str] = random.choice) -> None:
        self._table = table
        self._vips = VipStore(table, choose)
        self.aliases = AliasStore(table)
        # (namespace, service) -> the newest declaration that this process has seen written
        self._declared: dict[tuple[str, str], float] = {}

    def declare(
        self, namespace: str, offer: Offer, created_at: float, now: float, ecs_service: str | None = None
    ) -> tuple[Conflict, ...]:
        """Register what the definition of a task created at `created_at` says of a service.

        `ecs_service` (cluster/name) has started the task. Returns the aliases that another service holds; none
        when the declaration is not news to this process.
        """
        seen = self._declared.get((namespace, offer.service))
        if seen is not None and seen >= created_at:
            return ()
        known = self.get(namespace, offer.service)
        conflicts: tuple[Conflict, ...] = ()
        if known is None or known.declared_at < created_at:
            claims = self.aliases.claim(namespace, offer.service, offer.aliases)
            declaration = self._declaration(offer, claims, created_at, ecs_service)
            if not self._write(namespace, offer.service, declaration, known, created_at, now):
                # Another registrar has declared it meanwhile, perhaps from another task's definition.
                return self.declare(namespace, offer, created_at, now, ecs_service)
            conflicts = claims.conflicts
        if known is not None:
            current = self.get(namespace, offer.service)
            kept = set() if current is None else set(current.aliases)
            self.aliases.release(namespace, offer.service, {*known.aliases, *offer.aliases} - kept)
        self._declared[(namespace, offer.service)] = created_at
        return conflicts

    def _write(
        self,
        namespace: str,
        service: str,
        declaration: list[Action],
        known: ServiceRecord | None,
        created_at: float,
        now: float,
    ) -> bool:
        """Write a declaration; return False when the service has been declared by another."""
        if known is None:
            return self._vips.create_service(namespace, service, declaration, now)
        model = self._table.services
        older: Condition = model.declared_at.does_not_exist() | (model.declared_at < created_at)
        return self._update(namespace, service, declaration, model.vip.exists() & older)

    def _update(self, namespace: str, service: str, actions: list[Action], condition: Condition) -> bool:
        return update_if(self._table.services(namespace_key(namespace), service_key(service)), actions, condition)

    def _declaration(self, offer: Offer, claims: Claims, created_at: float, ecs_service: str | None) -> list[Action]:
        model = self._table.services
        return [
            model.protocol.set(offer.protocol),
            *self._alias_actions(claims),
            change(model.request_seconds, offer.timeouts.request_seconds),
            change(model.idle_seconds, offer.timeouts.idle_seconds),
            change(model.ecs_service, ecs_service),
            model.declared_at.set(created_at),
        ]

    def _alias_actions(self, claims: Claims) -> list[Action]:
        model = self._table.services
        conflicts = [
            ConflictMap(dns_name=each.alias.dns_name, port=each.alias.port, holder=each.holder)
            for each in claims.conflicts
        ]
        return [
            model.aliases.set([AliasMap(dns_name=each.dns_name, port=each.port) for each in claims.granted]),
            change(model.conflicts, conflicts or None),
        ]

    def retry_aliases(self, namespace: str, service: ServiceRecord, is_alive: Callable[[str], bool]) -> ServiceRecord:
        """Claim once more what a service wants and could not have; return the service as it is then.

        `is_alive` says whether a service has living tasks: an alias is taken from one that has none, if it
        lives itself.
        """
        claims = self.aliases.claim(namespace, service.name, [each.alias for each in service.conflicts])
        granted, conflicts = list(claims.granted), []
        for conflict in claims.conflicts:
            if (
                is_alive(service.name)
                and not is_alive(conflict.holder)
                and self._take_from(namespace, service.name, conflict)
            ):
                granted.append(conflict.alias)
            else:
                conflicts.append(conflict)
        changed = replace(service, aliases=(*service.aliases, *granted), conflicts=tuple(conflicts))
        if changed == service:
            return service
        actions = self._alias_actions(Claims(changed.aliases, changed.conflicts))
        unchanged: Condition = self._table.services.declared_at == service.declared_at
        if not self._update(namespace, service.name, actions, unchanged):
            # It has been declared anew meanwhile and has claimed for itself.
            current = self.get(namespace, service.name)
            kept = set() if current is None else set(current.aliases)
            self.aliases.release(namespace, service.name, set(granted) - kept)
            return service
        return changed

    def _take_from(self, namespace: str, service: str, conflict: Conflict) -> bool:
        """Take an alias from its holder, which then wants it; return False when it has changed meanwhile."""
        holder = self.get(namespace, conflict.holder)
        if holder is not None and conflict.alias in holder.aliases:
            lost = Claims(
                tuple(each for each in holder.aliases if each != conflict.alias),
                (*holder.conflicts, Conflict(conflict.alias, service)),
            )
            unchanged: Condition = self._table.services.declared_at == holder.declared_at
            if not self._update(namespace, holder.name, self._alias_actions(lost), unchanged):
                return False
        return self.aliases.take_over(namespace, service, conflict)

    def get(self, namespace: str, name: str) -> ServiceRecord | None:
        """Return one service, consistently read."""
        model = self._table.services
        try:
            item = model.get(namespace_key(namespace), service_key(name), consistent_read=True)
        except model.DoesNotExist:
            return None
        return _record(item)

    def get_all(self, namespace: str, names: Iterable[str]) -> dict[str, ServiceRecord]:
        """Return services by their names, consistently read; unknown ones are left out."""
        keys = [(namespace_key(namespace), service_key(name)) for name in sorted(set(names))]
        items = self._table.services.batch_get(keys, consistent_read=True) if keys else ()
        return _by_name(items)

    def all(self, namespace: str) -> dict[str, ServiceRecord]:
        """Return every service of a namespace by its name, consistently read."""
        model = self._table.services
        return _by_name(
            model.query(namespace_key(namespace), model.sk.startswith(service_key("")), consistent_read=True)
        )

    def set_policy(
        self, namespace: str, name: str, policy: Mapping[str, Any], expected_revision: int | None
    ) -> ServiceRecord | None:
        """Replace a service's policy and return the service, None when there is no such service.

        Raises PolicyConflictError when `expected_revision` is given and is not the present one.
        """
        model = self._table.services
        condition: Condition = model.vip.exists()
        if expected_revision == 0:
            condition = condition & (model.policy_revision.does_not_exist() | (model.policy_revision == 0))
        elif expected_revision is not None:
            condition = condition & (model.policy_revision == expected_revision)
        item = model(namespace_key(namespace), service_key(name))
        actions: list[Action] = [
            model.policy.set(dict(policy)),
            model.policy_revision.set((model.policy_revision | 0) + 1),
        ]
        if update_if(item, actions, condition):
            return _record(item)
        known = self.get(namespace, name)
        if known is None:
            return None
        raise PolicyConflictError(known.policy_revision)


def _by_name(items: Iterable[ServiceItem]) -> dict[str, ServiceRecord]:
    records = (_record(item) for item in items)
    return {record.name: record for record in records if record is not None}


def _record(item: ServiceItem) -> ServiceRecord | None:
    """Return the item as a record; None for one without a VIP, which no function of ours has written."""
    if maybe(item.vip) is None:
        return None
    policy = maybe(item.policy)
    return ServiceRecord(
        name=item.sk.partition("#")[2],
        protocol=item.protocol or "tcp",
        vip=item.vip,
        aliases=tuple(Alias(each.dns_name, int(each.port)) for each in maybe(item.aliases) or ()),
        timeouts=Timeouts(whole(item.request_seconds), whole(item.idle_seconds)),
        policy=policy.as_dict() if policy is not None else {},
        policy_revision=int(item.policy_revision or 0),
        conflicts=tuple(
            Conflict(Alias(each.dns_name, int(each.port)), each.holder) for each in maybe(item.conflicts) or ()
        ),
        ecs_service=maybe(item.ecs_service),
        declared_at=float(item.declared_at or 0.0),
    )
