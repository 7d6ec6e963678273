"""Services' claims of VIPs in DynamoDB. IO.

Rules:
1. A service and its claim of a VIP are written in one transaction, so no VIP has two services and no service
   two VIPs, however many registrars see it first at the same time.
2. A VIP stays with its service. One that was removed leaves a released claim (`removal_store.py`): if it returns, it
   has its VIP again; another service may take it when the claim has expired.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from pynamodb.exceptions import TransactWriteError
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from registry.dynamodb.keys import namespace_key, service_key, vip_key
from registry.dynamodb.table import TRANSACTION_CANCELLED, Table, code_of, maybe

FIRST_VIP: Final = IPv4Address("127.254.0.2")  # .1 is the sidecar's own
LAST_VIP: Final = IPv4Address("127.254.255.254")
ALLOCATION_ATTEMPTS: Final = 12


class VipsExhaustedError(Exception):
    """No VIP is free in a namespace, or none could be claimed against all others that were claiming."""


class VipStore:
    """Reads and writes VIP# items; `choose` picks one of some addresses that are free."""

    def __init__(self, table: Table, choose: Callable[[list[str]], str]) -> None:
        self._table = table
        self._choose = choose

    def create_service(self, namespace: str, service: str, declaration: list[Action], now: float) -> bool:
        """Create a service with a VIP; return False when it has been created by another."""
        services, vips = self._table.services, self._table.vips
        key = namespace_key(namespace)
        for attempt in range(ALLOCATION_ATTEMPTS):
            address = self._candidate(namespace, service, now, attempt)
            try:
                with TransactWrite(connection=self._table.connection) as transaction:
                    transaction.update(
                        services(key, service_key(service)),
                        actions=[*declaration, services.vip.set(address)],
                        # One without declarations is an earlier build's; its policy and its VIP stay.
                        condition=services.vip.does_not_exist() | services.declarations.does_not_exist(),
                    )
                    transaction.update(
                        vips(key, vip_key(address)),
                        actions=[
                            vips.service.set(service),
                            vips.released_at.remove(),
                            vips.expires_at.remove(),
                        ],
                        condition=vips.service.does_not_exist() | (vips.service == service) | (vips.expires_at < now),
                    )
                return True
            except TransactWriteError as error:
                if code_of(error) != TRANSACTION_CANCELLED:
                    raise
                # The reasons stand in the order of the updates; None is for an update that was not at fault.
                reasons = [reason.code if reason else None for reason in error.cancellation_reasons]
                if reasons and reasons[0] == "ConditionalCheckFailed":
                    return False
        raise VipsExhaustedError(
            f"namespace {namespace}: {service} could claim no VIP in {ALLOCATION_ATTEMPTS} attempts"
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
