"""Services, their VIPs and their policies in DynamoDB. IO.

Rules:
1. A service and its claim of a VIP are written in one transaction, so no VIP has two services and no service
   two VIPs, however many registrars see it first at the same time.
2. The definition of the task created last says what a service is. Late events of older tasks change nothing,
   so a deployment that is rolled back takes its configuration with it.
3. A VIP stays with its service. A service that was removed and returns finds its old claim. A released claim
   may be taken by another service when it has expired.
"""

# PynamoDB's maps have no annotations on some of their methods.
# mypy: allow-untyped-calls

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any, Final

from pynamodb.exceptions import TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from registry.definition import Alias, Offer, Timeouts
from registry.models import (
    AliasMap,
    ServiceItem,
    Table,
    change,
    maybe,
    namespace_key,
    service_key,
    vip_key,
    whole,
)
from registry.snapshot import ServiceRecord
from registry.task_store import CONDITION_FAILED

FIRST_VIP: Final = IPv4Address("127.255.0.2")  # .1 is the sidecar's own
LAST_VIP: Final = IPv4Address("127.255.255.254")
ALLOCATION_ATTEMPTS: Final = 12

_TRANSACTION_CANCELLED: Final = "TransactionCanceledException"


class VipsExhaustedError(Exception):
    """No VIP is free in a namespace, or none could be claimed against all others that were claiming."""


class PolicyConflictError(Exception):
    """The policy is not at the revision that the writer knows. `revision` is the present one."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        super().__init__(f"the policy is at revision {revision}")


class ServiceStore:
    """Reads and writes SERVICE# and VIP# items."""

    def __init__(self, table: Table, choose: Callable[[list[str]], str] = random.choice) -> None:
        self._table = table
        self._choose = choose
        # (namespace, service) -> the newest declaration that this process has seen written
        self._declared: dict[tuple[str, str], float] = {}

    def declare(self, namespace: str, offer: Offer, created_at: float, now: float) -> None:
        """Register what the definition of a task created at `created_at` says of a service."""
        known = self._declared.get((namespace, offer.service))
        if known is not None and known >= created_at:
            return
        model = self._table.services
        item = model(namespace_key(namespace), service_key(offer.service))
        actions = self._declaration(offer, created_at)
        newer: Condition = model.declared_at.does_not_exist() | (model.declared_at < created_at)
        try:
            item.update(actions=actions, condition=model.vip.exists() & newer)
        except UpdateError as error:
            if error.cause_response_code != CONDITION_FAILED:
                raise
            if self.get(namespace, offer.service) is None and not self._create(namespace, offer, actions, now):
                # Another registrar has created it meanwhile, perhaps from an older task's definition.
                self.declare(namespace, offer, created_at, now)
        self._declared[(namespace, offer.service)] = created_at

    def _declaration(self, offer: Offer, created_at: float) -> list[Action]:
        model = self._table.services
        return [
            model.protocol.set(offer.protocol),
            model.aliases.set([AliasMap(dns_name=each.dns_name, port=each.port) for each in offer.aliases]),
            change(model.request_seconds, offer.timeouts.request_seconds),
            change(model.idle_seconds, offer.timeouts.idle_seconds),
            model.declared_at.set(created_at),
        ]

    def _create(self, namespace: str, offer: Offer, declaration: list[Action], now: float) -> bool:
        """Create a service with a VIP; return False when it has been created by another."""
        services, vips = self._table.services, self._table.vips
        key = namespace_key(namespace)
        for attempt in range(ALLOCATION_ATTEMPTS):
            address = self._candidate(namespace, offer.service, now, attempt)
            try:
                with TransactWrite(connection=self._table.connection) as transaction:
                    transaction.update(
                        services(key, service_key(offer.service)),
                        actions=[*declaration, services.vip.set(address)],
                        condition=services.vip.does_not_exist(),
                    )
                    transaction.update(
                        vips(key, vip_key(address)),
                        actions=[
                            vips.service.set(offer.service),
                            vips.released_at.remove(),
                            vips.expires_at.remove(),
                        ],
                        condition=vips.service.does_not_exist()
                        | (vips.service == offer.service)
                        | (vips.expires_at < now),
                    )
                return True
            except TransactWriteError as error:
                if error.cause_response_code != _TRANSACTION_CANCELLED:
                    raise
                # The reasons stand in the order of the updates; None is for an update that was not at fault.
                reasons = [reason.code if reason else None for reason in error.cancellation_reasons]
                if reasons and reasons[0] == "ConditionalCheckFailed":
                    return False
        raise VipsExhaustedError(
            f"namespace {namespace}: {offer.service} could claim no VIP in {ALLOCATION_ATTEMPTS} attempts"
        )

    def _candidate(self, namespace: str, service: str, now: float, attempt: int) -> str:
        """Return a VIP to claim: the service's own of old, else a low free one, later attempts spread out."""
        taken: set[str] = set()
        model = self._table.vips
        for item in model.query(namespace_key(namespace), model.sk.startswith(vip_key("")), consistent_read=True):
            address = item.sk.partition("#")[2]
            if item.service == service:
                return address
            expires_at = maybe(item.expires_at)
            if expires_at is None or expires_at >= now:
                taken.add(address)
        free: list[str] = []
        wanted = 4**attempt if attempt < 5 else 1024
        for number in range(int(FIRST_VIP), int(LAST_VIP) + 1):
            address = str(IPv4Address(number))
            if address not in taken:
                free.append(address)
                if len(free) == wanted:
                    break
        if not free:
            raise VipsExhaustedError(f"namespace {namespace}: all VIPs are taken, {service} gets none")
        return self._choose(free)

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
        try:
            item.update(
                actions=[
                    model.policy.set(dict(policy)),
                    model.policy_revision.set((model.policy_revision | 0) + 1),
                ],
                condition=condition,
            )
        except UpdateError as error:
            if error.cause_response_code != CONDITION_FAILED:
                raise
            known = self.get(namespace, name)
            if known is None:
                return None
            raise PolicyConflictError(known.policy_revision) from error
        return _record(item)


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
    )
