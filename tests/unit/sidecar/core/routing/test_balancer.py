"""Which endpoint gets the next request."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.balancer import REST_SECONDS, candidates, least_request
from sidecar.core.routing.choices import Choices
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.load import CLIENT_ERROR, OVERLOADED
from sidecar.core.routing.policy import OutlierDetection
from sidecar.core.states import EndpointState

NOW = 1000.0
TURNS = 12_000


def endpoints(count: int, state: EndpointState = "ready") -> list[Endpoint]:
    return [Endpoint(f"e{number}", "10.0.0.1", 8000 + number, state) for number in range(count)]


def eject(endpoint: Endpoint) -> None:
    for _ in range(5):
        endpoint.fail(NOW, OutlierDetection(), may_eject=True)


def share(found: list[Endpoint], now: float = NOW) -> Counter[str]:
    """Who gets how many of `TURNS` requests that leave no trace."""
    random = Random(1)  # noqa: S311 -- the same draws each time
    choices = Choices(found)
    return Counter(least_request(choices, turn, now, random.getrandbits(16)).id for turn in range(TURNS))


def answered(endpoint: Endpoint, latency: float, times: int = 1, doubt: float = 0.0) -> None:
    for _ in range(times):
        endpoint.end(endpoint.begin(NOW))
        endpoint.succeed(NOW, latency, doubt)


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


def test_weight_0_gets_nothing_while_there_are_others() -> None:
    found = endpoints(3)
    found[1].weight = 0
    assert candidates(found, NOW) == [found[0], found[2]]
    for endpoint in found:
        endpoint.weight = 0
    assert candidates(found, NOW) == found


def test_equal_endpoints_take_turns() -> None:
    assert set(share(endpoints(4)).values()) == {TURNS // 4}


def test_noise_in_latency_does_not_decide() -> None:
    found = endpoints(2)
    answered(found[0], 0.010)
    answered(found[1], 0.015)
    assert set(share(found).values()) == {TURNS // 2}


def test_the_way_through_the_network_does_not_decide() -> None:
    found = endpoints(2)
    answered(found[0], 0.0004)
    answered(found[1], 0.0040)
    assert set(share(found).values()) == {TURNS // 2}


def test_one_slow_answer_does_not_decide() -> None:
    found = endpoints(2)
    for endpoint in found:
        answered(endpoint, 0.010, times=20)
    answered(found[0], 5.0)
    assert set(share(found).values()) == {TURNS // 2}


def test_one_failure_does_not_decide() -> None:
    found = endpoints(2)
    for endpoint in found:
        answered(endpoint, 0.010)
    found[0].fail(NOW, OutlierDetection(), may_eject=True)
    assert set(share(found).values()) == {TURNS // 2}


def test_a_slow_endpoint_gets_a_request_now_and_then() -> None:
    found = endpoints(3)
    for endpoint in found:
        answered(endpoint, 0.1 if endpoint is found[2] else 0.010)
    assert share(found)["e2"] == 0
    assert share(found, NOW + REST_SECONDS)["e2"] == TURNS // 3


def test_its_share_goes_to_all_others_alike() -> None:
    found = endpoints(5)
    for endpoint in found:
        answered(endpoint, 0.1 if endpoint is found[2] else 0.010)
    shares = share(found)
    assert max(shares.values()) < 1.5 * min(shares.values())


def test_a_busy_endpoint_gets_less() -> None:
    found = endpoints(2)
    found[0].begin(NOW)
    assert set(share(found)) == {"e1"}


def test_a_busy_endpoint_is_as_good_as_a_slow_one() -> None:
    """Latency counts four times at most."""
    found = endpoints(2)
    answered(found[0], 0.010)
    answered(found[1], 10.0)
    for _ in range(3):
        found[0].begin(NOW)
    assert set(share(found).values()) == {TURNS // 2}


def test_an_endpoint_without_news_is_taken_for_a_good_one() -> None:
    found = endpoints(2)
    answered(found[0], 0.5)
    assert set(share(found).values()) == {TURNS // 2}


def test_what_refuses_is_not_preferred_for_being_idle() -> None:
    found = endpoints(4)
    for endpoint in found:
        answered(endpoint, 0.020)
        for _ in range(8):
            endpoint.begin(NOW)
    for _ in range(8):
        found[3].end(0)
    answered(found[3], 0.0005, times=20, doubt=CLIENT_ERROR)
    assert share(found)["e3"] == TURNS // 4


def test_what_is_overloaded_gets_less() -> None:
    found = endpoints(4)
    for endpoint in found:
        answered(endpoint, 0.020)
    answered(found[3], 0.0005, times=20, doubt=OVERLOADED)
    assert share(found)["e3"] == 0
    answered(found[3], 0.020, times=10)
    assert share(found)["e3"] == TURNS // 4


def test_where_all_refuse_alike_nobody_is_left_out() -> None:
    found = endpoints(3)
    for endpoint in found:
        answered(endpoint, 0.001, times=20, doubt=OVERLOADED)
    assert set(share(found).values()) == {TURNS // 3}


@given(st.integers(1, 20), st.integers(0, (1 << 16) - 1), st.integers(0, 1 << 40))
def test_any_draw_gives_one_of_the_choices(count: int, draw: int, turn: int) -> None:
    found = endpoints(count)
    for endpoint in found[: count // 2]:
        endpoint.begin(NOW)
    assert least_request(Choices(found), turn, NOW, draw) in found
