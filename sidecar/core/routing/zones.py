"""How a service's traffic keeps to the caller's zone without more work for any endpoint than for others.

Rules, Envoy's for localities:
- If the zone's share of the endpoints is at least its share of the callers, requests stay in the zone. Else as many
  stay as its endpoints can take, and the others go where endpoints are more than callers, by how many more they are.
- Endpoints count by their weights, and only those that take requests: a zone that dies is left at once.
- Below `LEAST_ENDPOINTS` a service has too few in a zone to lean on them, and zones do not count.
- Callers are the tasks of this task's own services, as each of them sees the same and does its part. A task that offers
  nothing takes the endpoints of the namespace for its peers; where nothing is known callers are spread evenly.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from sidecar.core.routing.choices import Choices
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.snapshot import ServiceRecord

LEAST_ENDPOINTS: Final = 6
"""Envoy's `min_cluster_size`."""
WHOLE: Final = 65_536


class Spread:
    """Where requests go: `near_share` of `WHOLE` to some endpoints, the others to others."""

    __slots__ = ("far", "near", "near_share")

    def __init__(self, near: Choices, near_share: int = WHOLE, far: Choices | None = None) -> None:
        self.near = near
        self.near_share = near_share
        self.far = far

    def choose(self, draw: int) -> Choices:
        """Return the endpoints for a request, by its draw of 16 bits."""
        return self.near if self.far is None or draw < self.near_share else self.far

    def all(self) -> Choices:
        """Return all of them, wherever they are."""
        if self.far is None:
            return self.near
        return Choices(self.near.endpoints + self.far.endpoints)


def spread(endpoints: list[Endpoint], zone: str, callers: dict[str, int]) -> Spread:
    """Return how requests of this zone spread over the endpoints, where so many callers are in each zone."""
    if not zone or len(endpoints) < LEAST_ENDPOINTS:
        return Spread(Choices(endpoints))
    capacity = _shares(_capacity(endpoints))
    demand = _demand(zone, callers, capacity)
    near = [endpoint for endpoint in endpoints if endpoint.zone == zone]
    here = capacity.get(zone, 0.0) / demand[zone]
    if near and here >= 1.0:
        return Spread(Choices(near))
    residual = {name: max(share - demand.get(name, 0.0), 0.0) for name, share in capacity.items() if name != zone}
    far = [endpoint for endpoint in endpoints if residual.get(endpoint.zone, 0.0) > 0.0]
    if not far:
        return Spread(Choices(endpoints))
    scale = [residual[endpoint.zone] / capacity[endpoint.zone] * endpoint.weight for endpoint in far]
    return Spread(Choices(near), int(here * WHOLE), Choices(far, scale))


def _capacity(endpoints: list[Endpoint]) -> dict[str, float]:
    found: Counter[str] = Counter()
    for endpoint in endpoints:
        found[endpoint.zone] += endpoint.weight
    if not any(found.values()):
        found.update(endpoint.zone for endpoint in endpoints)
    return {name: float(weight) for name, weight in found.items()}


def _demand(zone: str, callers: dict[str, int], capacity: dict[str, float]) -> dict[str, float]:
    if not callers:
        return _shares(dict.fromkeys((*capacity, zone), 1.0))
    counts = {name: float(count) for name, count in callers.items() if count > 0}
    counts.setdefault(zone, 1.0)  # this task, though not registered yet
    return _shares(counts)


def _shares(amounts: dict[str, float]) -> dict[str, float]:
    total = sum(amounts.values())
    return {name: amount / total for name, amount in amounts.items()}


class CallerZones:
    """How many callers are in each zone, as far as a snapshot says."""

    __slots__ = ("_own", "_records", "counts")

    def __init__(self, own_services: frozenset[str]) -> None:
        self._own = own_services
        self._records: dict[str, ServiceRecord] = {}  # that are counted
        self.counts: dict[str, int] = {}

    def replace(self, name: str, record: ServiceRecord | None) -> bool:
        """Take another record of a service, or none any more. Return whether the counts changed."""
        if self._own and name not in self._own:
            return False
        counts = Counter(self.counts)
        before = self._records.pop(name, None)
        if before is not None:
            counts.subtract(_zones(before))
        if record is not None:
            self._records[name] = record
            counts.update(_zones(record))
        found = {zone: count for zone, count in counts.items() if count > 0}
        changed, self.counts = found != self.counts, found
        return changed


def _zones(record: ServiceRecord) -> list[str]:
    return [endpoint.zone for endpoint in record.endpoints if endpoint.zone and endpoint.state == "ready"]
