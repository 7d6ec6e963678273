"""Which endpoint gets the next request.

Rules:
- Candidates are the endpoints in state `ready` that outlier detection and health checks let through. If there is none,
  all ready ones are tried, then unhealthy and draining ones: a guess beats a certain failure. Endpoints that
  are starting or gone are never tried, and those of weight 0 only when there are no others.
- Round robin: the candidates in turn, by their weights.
- Least request: whose turn it is, unless another one by chance is cheaper by more than `MARGIN`. So it spreads as
  evenly as round robin while there is no reason not to, and is no worse than it where latencies are mixed by nature.
- The cost is requests that press, by weight, and one, times how slow and doubtful the endpoint is compared with the
  other, from a quarter to four (`MOST_TIMES`). Latencies within `SAME_LATENCY_FACTOR`, or below `SAME_LATENCY_SECONDS`,
  count as the same.
- Of two that differ in doubt the more doubtful is neither preferred nor taken for less busy: what refuses is idle.
- An endpoint passed over gets its turn once it has rested for `REST_SECONDS`, or as many seconds as requests press on
  it: its bad days end when it is well, and one that hangs costs a request each few seconds.
- Slow start: an endpoint that joined others a short while ago stands for choice with a probability that grows with
  its time, from `LEAST_SHARE` to one, so that it warms up on a share of the traffic that grows likewise. One draw
  decides for all who warm up; if nobody else is there, they stand.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.routing.choices import Choices
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.states import EndpointState

MARGIN: Final = 1.75
MOST_TIMES: Final = 4.0
SAME_LATENCY_FACTOR: Final = 2.0
SAME_LATENCY_SECONDS: Final = 0.005
"""Below it the way through the network decides, and no client would notice."""
SAME_DOUBT: Final = 0.1
REST_SECONDS: Final = 1.0
LEAST_SHARE: Final = 0.1  # Envoy's `min_weight_percent`
_LAST_RESORT: Final[tuple[EndpointState, ...]] = ("unhealthy", "draining")


def candidates(endpoints: list[Endpoint], now: float) -> list[Endpoint]:
    """Return the endpoints to choose among, best class first and alone."""
    ready = [endpoint for endpoint in endpoints if endpoint.state == "ready"]
    weighty = [endpoint for endpoint in ready if endpoint.weight > 0] or ready
    found = [endpoint for endpoint in weighty if endpoint.available(now)]
    if not found and len(weighty) < len(ready):
        found = [endpoint for endpoint in ready if endpoint.available(now)]
    if found:
        return found
    return ready or [endpoint for endpoint in endpoints if endpoint.state in _LAST_RESORT]


def warmed_up(choices: list[Endpoint], now: float, draw: int, window: float) -> list[Endpoint]:
    """Return the choices without those that this request, by its draw of 16 bits, spares for their slow start."""
    share = draw / 65_536.0
    found = [endpoint for endpoint in choices if share < max((now - endpoint.joined_at) / window, LEAST_SHARE)]
    return found or choices


def least_request(choices: Choices, turn: int, now: float, random: int) -> Endpoint:
    """Return the endpoint whose turn it is, or the cheaper one. `random` has 16 bits; `choices` is not empty."""
    first = choices.at_turn(turn)
    if len(choices.endpoints) == 1:
        return first
    other = choices.another(first, random)
    return other if _is_much_cheaper(other, first, now) else first


def _is_much_cheaper(other: Endpoint, first: Endpoint, now: float) -> bool:
    if other.doubt > first.doubt * 2.0 + SAME_DOUBT:
        return False
    pressing = first.pressing
    if first.doubt > other.doubt * 2.0 + SAME_DOUBT:
        pressing = max(pressing, other.pressing)
    times = (1.0 + (MOST_TIMES - 1.0) * first.doubt) / (1.0 + (MOST_TIMES - 1.0) * other.doubt)
    if first.latency > 0.0 and other.latency > 0.0:
        slower = max(first.latency, SAME_LATENCY_SECONDS) / max(other.latency, SAME_LATENCY_SECONDS)
        if slower > SAME_LATENCY_FACTOR or slower * SAME_LATENCY_FACTOR < 1.0:
            times *= slower
    times = min(max(times, 1.0 / MOST_TIMES), MOST_TIMES)
    cost = (pressing * first.scale + 1.0) * times
    if cost <= (other.pressing * other.scale + 1.0) * MARGIN:
        return False
    return now - first.begun_at < max(first.pressing, 1) * REST_SECONDS
