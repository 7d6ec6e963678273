"""Which endpoint gets the next request.

Rules:
- Candidates are the endpoints in state `ready` that outlier detection lets through. If there is none, the
  ejected ready ones are tried, then unhealthy and draining ones: a guess beats a certain failure. Endpoints that
  are starting or gone are never tried.
- An endpoint that this request was already tried on comes last.
- Least request: two candidates by chance, the cheaper one wins (peak EWMA of latency times requests under way).
  Another zone costs `OTHER_ZONE_FACTOR` times as much, so traffic stays in the zone while it has capacity there.
- Round robin: the candidates in turn.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.endpoint import Endpoint

OTHER_ZONE_FACTOR: Final = 2.0
DEFAULT_LATENCY_SECONDS: Final = 0.001
_LAST_RESORT: Final = ("unhealthy", "draining")


def candidates(endpoints: list[Endpoint], now: float) -> list[Endpoint]:
    """The endpoints to choose among, best class first and alone."""
    ready = [endpoint for endpoint in endpoints if endpoint.state == "ready"]
    found = [endpoint for endpoint in ready if endpoint.available(now)]
    if found:
        return found
    return ready or [endpoint for endpoint in endpoints if endpoint.state in _LAST_RESORT]


def least_request(choices: list[Endpoint], now: float, random: int) -> Endpoint:
    """The cheaper of two. `random` is a number of at least 32 bits; `choices` is not empty."""
    count = len(choices)
    if count == 1:
        return choices[0]
    first = (random & 0xFFFF) % count
    second = ((random >> 16) & 0xFFFF) % (count - 1)
    if second >= first:
        second += 1
    one, other = choices[first], choices[second]
    unknown = _common_latency(one, other)
    cost_one = one.cost(now, unknown) * (1.0 if one.same_zone else OTHER_ZONE_FACTOR)
    cost_other = other.cost(now, unknown) * (1.0 if other.same_zone else OTHER_ZONE_FACTOR)
    return one if cost_one <= cost_other else other


def _common_latency(one: Endpoint, other: Endpoint) -> float:
    """What to assume of an endpoint that has not answered yet: as good as the better one known."""
    known = [endpoint.latency for endpoint in (one, other) if endpoint.latency > 0.0]
    return min(known) if known else DEFAULT_LATENCY_SECONDS
