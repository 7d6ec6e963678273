"""What the numbers of a mesh say: the state of each service, since when, and which one is the probable root. Pure.

The state of a service, from what its callers saw in one period:

    no calls ──▶ idle      calls ──▶ healthy ⇄ degraded ⇄ failing

Rules:
- A call has failed if the service answered 5XX, or if the mesh could not bring it there (a response flag). The client's
  own faults (4XX, `DC`, `DPE`) are none of the service. `URX` comes with what failed each time, so it is not counted.
- A service that is called and has no healthy endpoint fails, whatever else is known. So a dead TCP service looks dead.
- A probable root is a failing service that calls no other failing service, or only those that call it back.
- Where nothing was sent about a service there is a gap and no zero.
- A service that nobody in the mesh calls, such as the first one behind a load balancer, has calls, but nobody says what
  became of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from infra.console.metrics import Values
from sidecar.core.flags import OM, UC, UF, UH, UO, UPE, UT

FAILING_SHARE: Final = 0.05
"""As the stack's ErrorRateAlarm."""
DEGRADED_SHARE: Final = 0.01
RETRIED_SHARE: Final = 0.10
"""Retries that hide this share of failures are news, though no caller sees one."""
FAILURE_FLAGS: Final = tuple(flag.code for flag in (UH, UF, UO, UT, UC, UPE, OM))
_NOW_PERIODS: Final = 3
"""Periods at the end of a window that may be empty since their values are still on the way."""


class State(Enum):
    """How a service is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a service in one period. Counts of endpoints are None where no caller sent any."""

    calls: float = 0.0
    is_seen: bool = True
    """Whether callers in the mesh said what became of the calls."""
    failed: float = 0.0
    retries: float = 0.0
    open: float = 0.0
    """Connections that are open."""
    healthy: float | None = None
    ejected: float = 0.0
    unhealthy: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state and the reason for it, empty for a healthy service."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """The calls of one service to another in the last period. `source` may be an ECS service that offers nothing."""

    source: str
    target: str
    rate: float
    """Calls a second; of TCP services connections, reckoned from their share for each endpoint."""
    failed: float
    p95: float | None = None
    zone_local: float | None = None


def judge(sample: Sample | None) -> Verdict:
    """Return how a service is, from one period; None if nothing was sent about it."""
    if sample is None:
        return Verdict(State.IDLE, "no traffic")
    if sample.healthy is not None and sample.healthy <= 0:
        if sample.calls or sample.open:
            return Verdict(State.FAILING, "no healthy endpoint")
        return Verdict(State.DEGRADED, "no healthy endpoint, and nobody calls it")
    share = sample.failed / sample.calls if sample.calls else 0.0
    if share >= FAILING_SHARE:
        return Verdict(State.FAILING, f"{_percent(share)} of calls fail")
    reasons = []
    if share >= DEGRADED_SHARE:
        reasons.append(f"{_percent(share)} of calls fail")
    if sample.ejected > 0:
        reasons.append(f"{_count(sample.ejected, 'endpoint')} ejected")
    if sample.unhealthy > 0:
        reasons.append(f"{_count(sample.unhealthy, 'endpoint')} fail health checks")
    if sample.calls and sample.retries / sample.calls >= RETRIED_SHARE:
        reasons.append(f"{_percent(sample.retries / sample.calls)} of calls are retried")
    if reasons:
        return Verdict(State.DEGRADED, ", ".join(reasons))
    if not sample.calls and not sample.open:
        return Verdict(State.IDLE, "no traffic")
    return Verdict(State.HEALTHY)


def failing_since(samples: Sequence[Sample | None], at: int) -> int | None:
    """Return the place of the first period of the failure that lasts until `at`, None if it does not fail then.

    Periods of which nothing is known do not end a failure.
    """
    first = None
    for place in range(at, -1, -1):
        sample = samples[place]
        if sample is None:
            continue
        if judge(sample).state is not State.FAILING:
            break
        first = place
    return first


def latest(rows: Iterable[Values], length: int) -> int:
    """Return the place of the last period of which anything is known, one of the last few."""
    known = {place for row in rows for place in range(max(length - _NOW_PERIODS, 0), length) if row[place] is not None}
    return max(known, default=length - 1)


def probable_roots(failing: Mapping[str, float], edges: Iterable[Edge]) -> list[str]:
    """Return the failing services that no other failing service explains, the one with most failures first.

    `failing` has the failures a second of each.
    """
    calls: dict[str, set[str]] = {name: set() for name in failing}
    for edge in edges:
        if edge.source in failing and edge.target in failing and edge.failed > 0:
            calls[edge.source].add(edge.target)
    reach = {name: _reachable(name, calls) for name in failing}
    roots = [name for name in failing if all(name in reach[other] for other in reach[name])]
    return sorted(roots, key=lambda name: (-failing[name], name))


def _reachable(start: str, calls: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in calls[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _count(number: float, noun: str) -> str:
    return f"{number:.0f} {noun}{'' if number == 1 else 's'}"
