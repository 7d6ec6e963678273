"""The highest rate that a proxy holds with a quarter of a CPU and 64 MiB, each alone in such a control group.

A rate is held when at least `HELD_SHARE` of what was offered was answered, without a failure, and 99 of 100 answers
came within `P99_MILLISECONDS`. The rate is doubled until one is not held, then the range is halved. One chance run of
the machine must not end the search: a rate counts as too high when it was not held twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from tests.benchmarks import limits
from tests.benchmarks.load import Load, Run, run
from tests.benchmarks.proxies import ENVOY, TRAMO, Field, Proxy

LOAD: Final = Load("h2load", "/100", 16)
FIRST_RATE: Final = 250.0
HIGHEST_RATE: Final = 64_000.0
"""No proxy can hold that with a quarter of a CPU: the search ends."""
HELD_SHARE: Final = 0.97
P99_MILLISECONDS: Final = 50.0
SECONDS: Final = 3
"""30 of the kernel's periods, in each of which the share of the CPU may run out."""


@dataclass(frozen=True, slots=True)
class Small:
    """What a proxy held: requests per second, latency in microseconds, and the most memory of its group in bytes."""

    proxy: str
    rate: float
    p50: float
    p99: float
    memory: int | None


def highest(holds: Callable[[float], bool], first: float, limit: float, steps: int) -> float:
    """Return the highest rate that holds: doubled from the first, then the range halved so often. 0 when none does."""

    def twice(rate: float) -> bool:
        return holds(rate) or holds(rate)

    low, high = 0.0, first
    while high <= limit and twice(high):
        low, high = high, high * 2
    for _ in range(steps):
        middle = (low + high) / 2
        if twice(middle):
            low = middle
        else:
            high = middle
    return low


def is_held(found: Run, offered: float) -> bool:
    """Whether a run held the rate that was offered."""
    return not found.errors and found.rate >= HELD_SHARE * offered and found.p99 <= P99_MILLISECONDS * 1e3


def measure_small(open_field: Callable[[], Field], tell: Callable[[str], None], quick: bool) -> list[Small]:
    """Search for the sidecar and for Envoy. Nothing is found where control groups cannot be made."""
    found = []
    for name in (TRAMO, ENVOY):
        with ExitStack() as stack:
            group = limits.make(f"tramo-bench-{os.getpid()}")
            if group is None:
                tell("control groups cannot be made here: no figures for a quarter of a CPU")
                return []
            stack.callback(group.remove)
            tell(f"a quarter of a CPU and 64 MiB: {name}")
            field = open_field()
            stack.callback(field.close)
            service = field.servers("http")
            proxy = field.envoy(service, group) if name == ENVOY else field.tramo_with(service, 1, name, limits=group)
            found.append(_search(proxy, field, group, quick))
    return found


def _search(proxy: Proxy, field: Field, group: limits.Limits, quick: bool) -> Small:
    run(replace(LOAD, rate=FIRST_RATE), proxy.host, proxy.port, SECONDS, field.directory)  # its start is not measured
    held: dict[float, Run] = {}

    def holds(rate: float) -> bool:
        result = run(replace(LOAD, rate=rate), proxy.host, proxy.port, SECONDS, field.directory)
        if is_held(result, rate):
            held[rate] = result
        return rate in held

    rate = highest(holds, FIRST_RATE, HIGHEST_RATE, 1 if quick else 4)
    best = held.get(rate)
    return Small(proxy.name, rate, best.p50 if best else 0.0, best.p99 if best else 0.0, group.peak_bytes())
