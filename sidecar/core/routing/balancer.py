"""Which endpoint gets the next request.

Rules:
- Candidates are the endpoints in state `ready` that outlier detection and health checks let through. If there is none,
  all ready ones are tried, then unhealthy and draining ones: a guess beats a certain failure. Endpoints that
  are starting or gone are never tried.
- An endpoint that this request was already tried on comes last.
- Least request: two candidates by chance, the cheaper one wins (peak EWMA of latency times requests under way).
  Latencies within `SAME_LATENCY_FACTOR` of each other count as the same: at low load such noise would decide every
  time, and starve an endpoint that is as good as its peer.
- From `ZONE_AWARE_ENDPOINTS` candidates on, another zone costs `OTHER_ZONE_FACTOR` times as much: traffic stays in the
  zone while it has capacity there. Smaller services have too few endpoints in a zone to lean on them.
- Round robin: the candidates in turn.
- Slow start: an endpoint that joined others a short while ago stands for choice with a probability that grows with
  its time, from `LEAST_SHARE` to one, so that it warms up on a share of the traffic that grows likewise. One draw
  decides for all who warm up; if nobody else is there, they stand.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.routing.endpoint import Endpoint

SAME_LATENCY_FACTOR: Final = 2.0
ZONE_AWARE_ENDPOINTS: Final = 6  # Envoy's min_cluster_size
OTHER_ZONE_FACTOR: Final = 2.0
LEAST_SHARE: Final = 0.1  # Envoy's `min_weight_percent`
_LAST_RESORT: Final = ("unhealthy", "draining")


def candidates(endpoints: list[Endpoint], now: float) -> list[Endpoint]:
    """The endpoints to choose among, best class first and alone."""
    ready = [endpoint for endpoint in endpoints if endpoint.state == "ready"]
    found = [endpoint for endpoint in ready if endpoint.available(now)]
    if found:
        return found
    return ready or [endpoint for endpoint in endpoints if endpoint.state in _LAST_RESORT]


def warmed_up(choices: list[Endpoint], now: float, draw: int, window: float) -> list[Endpoint]:
    """The choices without those that this request, by its draw of 16 bits, spares for their slow start."""
    share = draw / 65_536.0
    found = [endpoint for endpoint in choices if share < max((now - endpoint.joined_at) / window, LEAST_SHARE)]
    return found or choices


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
    cost_one, cost_other = one.active + 1.0, other.active + 1.0
    low, high = one.latency, other.latency
    if low > high:
        low, high = high, low
    if 0.0 < low * SAME_LATENCY_FACTOR < high:  # an endpoint without news is taken for as good as the other
        latency_one, latency_other = one.estimate(now, low), other.estimate(now, low)
        if latency_one > latency_other * SAME_LATENCY_FACTOR or latency_other > latency_one * SAME_LATENCY_FACTOR:
            cost_one *= latency_one
            cost_other *= latency_other
    if count >= ZONE_AWARE_ENDPOINTS and one.same_zone != other.same_zone:
        if one.same_zone:
            cost_other *= OTHER_ZONE_FACTOR
        else:
            cost_one *= OTHER_ZONE_FACTOR
    return one if cost_one <= cost_other else other
