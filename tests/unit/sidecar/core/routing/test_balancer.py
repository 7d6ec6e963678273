"""Which endpoint gets the next request."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.balancer import ZONE_AWARE_ENDPOINTS, candidates, least_request
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.policy import OutlierDetection

NOW = 1000.0
DRAWS = range(0, 1 << 32, 104_729)


def endpoints(count: int, state: str = "ready") -> list[Endpoint]:
    return [Endpoint(f"e{number}", "10.0.0.1", 8000 + number, state) for number in range(count)]


def eject(endpoint: Endpoint) -> None:
    for _ in range(5):
        endpoint.fail(NOW, OutlierDetection(), may_eject=True)


def share(choices: list[Endpoint]) -> Counter[str]:
    return Counter(least_request(choices, NOW, draw).id for draw in DRAWS)


def test_ready_endpoints_come_first() -> None:
    found = endpoints(2) + endpoints(1, "draining") + endpoints(1, "unhealthy") + endpoints(1, "starting")
    assert candidates(found, NOW) == found[:2]


def test_ejected_endpoints_are_left_out() -> None:
    found = endpoints(3)
    eject(found[1])
    assert candidates(found, NOW) == [found[0], found[2]]
    assert candidates(found, found[1].ejected_until) == found


def test_all_ejected_are_better_than_none() -> None:
    found = endpoints(2) + endpoints(1, "draining")
    eject(found[0])
    eject(found[1])
    assert candidates(found, NOW) == found[:2]


def test_unhealthy_and_draining_are_the_last_resort() -> None:
    found = endpoints(1, "starting") + endpoints(1, "unhealthy") + endpoints(1, "draining") + endpoints(1, "gone")
    assert candidates(found, NOW) == found[1:3]
    assert candidates(endpoints(1, "starting") + endpoints(1, "gone"), NOW) == []


def test_equal_endpoints_share_evenly() -> None:
    found = share(endpoints(4))
    assert len(found) == 4
    assert max(found.values()) < 1.2 * min(found.values())


def test_noise_in_latency_does_not_decide() -> None:
    found = endpoints(2)
    found[0].succeed(NOW, 0.0010)
    found[1].succeed(NOW, 0.0015)
    assert min(share(found).values()) > 0.4 * len(DRAWS)


def test_a_slow_endpoint_gets_less() -> None:
    found = endpoints(3)
    for endpoint in found:
        endpoint.succeed(NOW, 0.001)
    found[2].succeed(NOW, 0.1)
    assert share(found)["e2"] == 0


def test_a_busy_endpoint_gets_less() -> None:
    found = endpoints(2)
    found[0].begin(NOW)
    assert set(share(found)) == {"e1"}


def test_an_endpoint_without_news_is_taken_for_a_good_one() -> None:
    found = endpoints(2)
    found[0].succeed(NOW, 0.5)
    assert share(found)["e1"] > 0.4 * len(DRAWS)


def test_traffic_stays_in_the_zone_while_it_has_capacity() -> None:
    found = endpoints(ZONE_AWARE_ENDPOINTS)
    for endpoint in found[3:]:
        endpoint.same_zone = False
    near = sum(share(found)[endpoint.id] for endpoint in found[:3])
    assert near > 0.7 * len(DRAWS)
    for endpoint in found[:3]:
        for _ in range(4):
            endpoint.begin(NOW)
    near = sum(share(found)[endpoint.id] for endpoint in found[:3])
    assert near < 0.3 * len(DRAWS), "a full zone spills over"


def test_a_small_service_does_not_lean_on_one_zone() -> None:
    found = endpoints(2)
    found[1].same_zone = False
    assert min(share(found).values()) > 0.4 * len(DRAWS)


@given(st.integers(1, 20), st.integers(0, (1 << 32) - 1))
def test_any_draw_gives_one_of_the_choices(count: int, draw: int) -> None:
    choices = endpoints(count)
    assert least_request(choices, NOW, draw) in choices
