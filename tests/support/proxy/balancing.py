"""A caller and its endpoints in virtual time: what a policy of balancing does to latencies and shares.

Rules:
- Requests arrive by chance at a rate, from one generator with a seed: the same run each time, for every algorithm.
- An endpoint answers after a time of its own, or works on one request after another.
- The caller's side is the sidecar's own: `Cluster.pick`, and what an attempt tells of its endpoint.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.load import doubt_of_status
from sidecar.core.routing.policy import LoadBalancing, Policy
from sidecar.core.snapshot import EndpointRecord

Algorithm = Literal["least_request", "round_robin"]


@dataclass(frozen=True)
class Answer:
    """How an endpoint treats one request."""

    seconds: float
    status: int = 200
    busy: bool = False  # nothing else is worked on meanwhile
    measured: bool = True  # False: a stream or a long poll, which no client waits for


Service = Callable[[int, float, Random], Answer]
"""The answer of an endpoint, by its number, to a request at a time."""


@dataclass(frozen=True)
class _UnderWay:
    endpoint: Endpoint
    generation: int
    began: float
    answer: Answer


@dataclass
class Outcome:
    """What the callers saw."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    picked: list[tuple[float, int]] = field(default_factory=list)  # when, and whom

    def quantile(self, share: float) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * share)]

    def share(self, endpoint: int, begin: float = 0.0, end: float = float("inf")) -> float:
        picks = [number for at, number in self.picked if begin <= at < end]
        return picks.count(endpoint) / len(picks)


def simulate(
    algorithm: Algorithm, endpoints: int, rate: float, seconds: float, service: Service, seed: int = 1
) -> Outcome:
    """Requests at this rate for so long, in open loop."""
    random = Random(seed)  # noqa: S311
    cluster = Cluster("orders", "http", Policy(load_balancing=LoadBalancing(algorithm)))
    records = tuple(EndpointRecord(str(number), "10.0.0.1", 8000 + number, "ready") for number in range(endpoints))
    cluster.update("http", cluster.policy, records, "", 0.0)
    outcome = Outcome()
    free_at = [0.0] * endpoints
    ends: list[tuple[float, int, _UnderWay]] = []  # the number in the middle keeps them apart
    order = 0
    now = 0.0
    while now < seconds:
        now += random.expovariate(rate)
        while ends and ends[0][0] <= now:
            _end(cluster, *heapq.heappop(ends))
        endpoint = cluster.pick(now, random.getrandbits(48), [])
        assert endpoint is not None
        number = int(endpoint.id)
        answer = service(number, now, random)
        begins = max(now, free_at[number]) if answer.busy else now
        if answer.busy:
            free_at[number] = begins + answer.seconds
        generation = endpoint.begin(now)
        at = begins + answer.seconds
        order += 1
        heapq.heappush(ends, (at, order, _UnderWay(endpoint, generation, now, answer)))
        outcome.picked.append((now, number))
        outcome.statuses[answer.status] += 1
        if answer.measured:
            outcome.latencies.append(at - now)
    return outcome


def _end(cluster: Cluster, at: float, _: int, request: _UnderWay) -> None:
    endpoint, status = request.endpoint, request.answer.status
    endpoint.heard(request.generation, at)
    if status >= 500:
        cluster.fail(endpoint, at)
    else:
        cluster.succeed(endpoint, at, at - request.began, doubt_of_status(status))
    endpoint.end(request.generation)
