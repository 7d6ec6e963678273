"""The proxy as a whole: snapshots in, listeners and destinations out.

Rules:
- A destination lives as long as its service is in the namespace; a new snapshot updates it in place, so no
  connection is closed and no request is lost by it. A service that left and returns has its destination again: clients
  that stayed connected, as a gRPC channel does, must find it by the connection that they have.
- Only what changed is touched: a delta of one service costs the same in a namespace of ten and of ten thousand.
  Listeners and names are gone through again only when an alias or an address changed.
- Every service is listened for at its virtual address, on the ports of its aliases; or, where the task's rules redirect
  the virtual addresses, one listener takes them all.
- The inbound side depends on the configuration and on the app alone: it stands before the first snapshot. Of a
  service's policy only what it says about the service's clients counts there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import islice
from typing import Final

from sidecar.config import Config
from sidecar.core.direction import INBOUND
from sidecar.core.findings import (
    MOST_FINDINGS,
    Finding,
    app_refuses,
    cause,
    not_bound,
    other_kind,
    unreadable,
)
from sidecar.core.meters import MAX_DEPARTED, Meters
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import of_local_app
from sidecar.core.routing.zones import CallerZones
from sidecar.core.snapshot import Alias, ServiceRecord, Snapshot
from sidecar.proxy.base.pace import Pace
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.forward import ForwardListener
from sidecar.proxy.ingress import Ingress
from sidecar.proxy.listeners import Address, Listeners, listener_for
from sidecar.proxy.redirect import Redirect
from sidecar.proxy.upstream.destination import Destination, local_app, outbound
from sidecar.proxy.upstream.health_checks import HealthChecks

APP_START_SECONDS: Final = 60.0
"""An app that takes nothing for longer does not start; ECS gives a container's health check as long to begin with."""
PROBE_VIP: Final = "127.254.0.1"
"""No service's: those begin behind it. The sidecar calls it to see whether it is redirected to itself."""

log = logging.getLogger("tramo.mesh")


class Mesh:
    """Routing state of the sidecar."""

    def __init__(self, runtime: Runtime, config: Config, meters: Meters, zone: str) -> None:
        self.runtime = runtime
        self.snapshot: Snapshot | None = None
        self.destinations: dict[str, Destination] = {}
        self._departed: dict[str, Destination] = {}  # of services that left, the longest gone first
        self.inbound = Listeners(runtime)
        self._config = config
        self._meters = meters
        self._zone = zone
        self._network = str(config.vip_network.network_address).rpartition(".")[0].rpartition(".")[0]
        self.redirect: Redirect | None = None
        if config.redirect is not None:
            probe = Address(self.local_address(PROBE_VIP), config.redirect[1])
            self.redirect = Redirect(runtime, Address(*config.redirect), probe, meters.sidecar)
        self.outbound = self.redirect or Listeners(runtime)
        self._aliases: dict[tuple[str, int], Destination] = {}
        self._apps: dict[str, Destination] = {}
        self._ingresses: dict[str, Ingress] = {}
        self._other_kind: dict[str, int] = {}  # endpoints of services that get no traffic for their protocol
        self._drained_at = 0.0
        self._checks = HealthChecks(runtime)
        self._callers = CallerZones(frozenset(service.name for service in config.inbound))
        self._listening = asyncio.Lock()  # held while listeners change: two that change them would bind twice

    async def start(self) -> bool:
        """Bind all listeners that no snapshot is needed for. Return whether all of them stand."""
        bound = True
        for service in self._config.inbound:
            meter = self._meters.server(service.name)
            destination = local_app(
                self.runtime, service.name, service.protocol, self._config.app_address, service.app_port, meter
            )
            self._apps[service.name] = destination
            address = Address(self._config.listen_address, service.ingress_port)
            app = Address(self._config.app_address, service.app_port)
            listener = listener_for(destination, INBOUND, meter)
            ingress = Ingress(self.inbound, address, listener, destination, app)
            self._ingresses[service.name] = ingress
            bound &= await ingress.start()
        if self._config.forward_proxy is not None:
            forward = ForwardListener(self.runtime, self.resolve, self._meters.sidecar)
            bound &= await self.inbound.bind(Address(*self._config.forward_proxy), forward)
        if self.redirect is not None:
            bound &= await self.redirect.start()
        for address, why in self.inbound.failed.items():
            remedy = cause(why.number, address.port)
            log.error("cannot listen on %s:%d: %s; %s", address.host, address.port, why.text, remedy)
        return bound

    def resolve(self, name: str, port: int) -> Destination | None:
        """Return the destination behind an alias."""
        return self._aliases.get((name, port))

    async def apply(self, snapshot: Snapshot) -> bool:
        """Route by this snapshot from now on. Return whether names or addresses changed, so the hosts file, too."""
        pace = Pace(self.runtime.now)
        before = self.snapshot.services if self.snapshot is not None else {}
        renamed = self.snapshot is None
        moved = False
        for name, record in snapshot.services.items():
            known = before.get(name)
            if known is record:
                continue
            await pace.rest()
            destination = self._destination(record)
            destination.update(record, self._zone)
            self._other_kind.pop(name, None)
            if destination.cluster.other_kind:
                self._other_kind[name] = destination.cluster.other_kind
            moved |= self._callers.replace(name, record)
            if name in self._apps:
                self._apps[name].cluster.policy = of_local_app(record.policy_or_default())
            renamed = renamed or known is None or _place(known) != _place(record)
        gone = [name for name in self.destinations if name not in snapshot.services]
        for name in gone:
            self._depart(name)
            self._other_kind.pop(name, None)
            moved |= self._callers.replace(name, None)
        if moved:
            for destination in self.destinations.values():
                destination.cluster.called_from(self._callers.counts)
        renamed = renamed or bool(gone)
        if renamed:
            async with self._listening:
                await self._listen(snapshot, pace)
        self.snapshot = snapshot  # last: who sees this revision can call its services
        return renamed

    async def retry(self) -> bool:
        """Try again to listen where it could not be done. Return whether names changed, so the hosts file, too."""
        if not self.outbound.failed:
            return False
        async with self._listening:
            return await self.outbound.retry(Pace(self.runtime.now))

    async def _listen(self, snapshot: Snapshot, pace: Pace) -> None:
        wanted: dict[Address, Destination] = {}
        aliases: dict[tuple[str, int], Destination] = {}
        for name, record in snapshot.services.items():
            await pace.rest()
            address = self.local_address(record.vip)
            destination = self.destinations[name]
            for alias in record.aliases:
                wanted[Address(address, alias.port)] = destination
                aliases[alias.dns_name.lower(), alias.port] = destination
        self._aliases = aliases
        await self.outbound.set(wanted, pace)

    def _depart(self, name: str) -> None:
        destination = self._departed[name] = self.destinations.pop(name)
        destination.close()
        self._meters.depart(name)
        if len(self._departed) > MAX_DEPARTED:  # as with their meters
            del self._departed[next(iter(self._departed))]

    def _destination(self, record: ServiceRecord) -> Destination:
        destination = self.destinations.get(record.name)
        if destination is None and record.name in self._departed:
            destination = self.destinations[record.name] = self._departed.pop(record.name)
            destination.cluster.called_from(self._callers.counts)
            self._meters.client(record.name)  # it is not departed any more
        if destination is None:
            policy = record.policy_or_default()
            cluster = Cluster(record.name, record.protocol, policy, self._config.fallback_seconds)
            cluster.called_from(self._callers.counts)
            destination = outbound(self.runtime, cluster, self._meters.client(record.name), self._checks)
            self.destinations[record.name] = destination
        return destination

    def local_address(self, vip: str) -> str:
        """Return where a service's virtual address is in this task: its last 16 bits in the task's own network."""
        _, _, third, fourth = vip.split(".")
        return f"{self._network}.{third}.{fourth}"

    def hosts(self) -> dict[str, list[str]]:
        """Names by address, for the hosts file. A name is left out if one of its ports could not be bound.

        Another process of the task has that port and would answer instead of the service: no answer is better.
        """
        found: dict[str, list[str]] = {}
        for record in self._records():
            address = self.local_address(record.vip)
            lost = {alias.dns_name for alias in record.aliases if Address(address, alias.port) in self.outbound.failed}
            names = dict.fromkeys(alias.dns_name for alias in record.aliases if alias.dns_name not in lost)
            if names:
                found[address] = list(names)
        return found

    def apps_not_seen(self) -> list[str]:
        """Return the services of this task whose app has not listened yet."""
        return [name for name, ingress in self._ingresses.items() if not ingress.app_seen]

    def findings(self) -> list[Finding]:
        """Return what is wrong with the app's ports, with the services' addresses and with the snapshot."""
        outbound = self._not_bound() if self.redirect is None else self.redirect.findings()
        outbound = [*outbound, *self._unreadable(), *self._of_other_kinds()]
        if self.runtime.draining:
            return outbound  # the app ends too
        now = self.runtime.now()
        refusing = [item for item in self._ingresses.items() if item[1].closed_for(now) >= APP_START_SECONDS]
        return [*outbound, *(app_refuses(name, *ingress.app) for name, ingress in refusing)]

    def _not_bound(self) -> list[Finding]:
        failed = dict(islice(self.outbound.failed.items(), MOST_FINDINGS))
        if not failed:
            return []
        names: dict[Address, list[str]] = {}
        for record in self._records():
            for alias in record.aliases:
                names.setdefault(Address(self.local_address(record.vip), alias.port), []).append(alias.dns_name)
        return [not_bound(*address, names.get(address, []), *why) for address, why in failed.items()]

    def _unreadable(self) -> list[Finding]:
        if self.snapshot is None:
            return []
        return [
            unreadable(name, [each.part for each in found], found[0].why)
            for name, found in islice(self.snapshot.unreadable.items(), MOST_FINDINGS)
        ]

    def _of_other_kinds(self) -> list[Finding]:
        return [
            other_kind(name, self.destinations[name].cluster.protocol, count)
            for name, count in islice(self._other_kind.items(), MOST_FINDINGS)
        ]

    def _records(self) -> Iterable[ServiceRecord]:
        return self.snapshot.services.values() if self.snapshot is not None else ()

    def drain(self) -> float:
        """Ask for no new work, and finish what is under way and what still comes. Return since when."""
        if not self.runtime.draining:
            self.runtime.draining = True
            self._drained_at = self.runtime.now()
            self.runtime.clients.drain()
        return self._drained_at

    def arrivals(self) -> int:
        """Return how many connections and requests have come in for this task's app, ever."""
        meters = [self._meters.server(service.name) for service in self._config.inbound]
        return sum(meter.connections + meter.requests for meter in meters)

    def close(self) -> None:
        """Stop listening."""
        self.outbound.close()
        self.inbound.close()


def _place(record: ServiceRecord) -> tuple[str, str, tuple[Alias, ...]]:
    """Return what a service's listeners depend on."""
    return record.protocol, record.vip, record.aliases
