"""The default balancing beside round robin, in virtual time: never worse, and better where an endpoint is."""

from __future__ import annotations

from random import Random

import pytest

from tests.support.proxy.balancing import Answer, Outcome, Service, simulate


def mixed(number: int, now: float, random: Random) -> Answer:
    """Single-threaded apps with a slow request now and then."""
    return Answer(0.010, busy=True) if random.random() > 1 / 600 else Answer(1.0)


def two_kinds(number: int, now: float, random: Random) -> Answer:
    return Answer(0.020) if random.random() < 0.9 else Answer(0.8)


def scattered(number: int, now: float, random: Random) -> Answer:
    return Answer(random.expovariate(100.0), busy=True)


def long_polls(number: int, now: float, random: Random) -> Answer:
    return Answer(0.005) if random.random() < 0.9 else Answer(20.0, measured=False)


def late_heads(number: int, now: float, random: Random) -> Answer:
    return Answer(0.005) if random.random() < 0.7 else Answer(5.0, measured=False)


MIXTURES = pytest.mark.parametrize("service", [mixed, two_kinds, scattered, long_polls, late_heads])


@MIXTURES
def test_it_is_as_good_as_round_robin_over_mixed_latencies(service: Service) -> None:
    ours = simulate("least_request", 3, 150.0, 40.0, service)
    turns = simulate("round_robin", 3, 150.0, 40.0, service)
    assert ours.quantile(0.99) <= turns.quantile(0.99) * 1.2
    assert max(ours.share(number) for number in range(3)) < 0.4


def slow(number: int, now: float, random: Random) -> Answer:
    return Answer(2.0 if number == 0 else 0.005)


def somewhat_slow(number: int, now: float, random: Random) -> Answer:
    return Answer(0.024 if number == 0 else 0.008, busy=True)


def hanging(number: int, now: float, random: Random) -> Answer:
    return Answer(60.0 if number == 0 else 0.005)


@pytest.mark.parametrize(("service", "share"), [(slow, 0.02), (somewhat_slow, 0.2), (hanging, 0.01)])
def test_it_is_better_where_an_endpoint_is_truly_slow(service: Service, share: float) -> None:
    ours = simulate("least_request", 3, 120.0, 40.0, service)
    turns = simulate("round_robin", 3, 120.0, 40.0, service)
    assert ours.quantile(0.98) < turns.quantile(0.98) / 4
    assert ours.share(0) < share


def one_event(status: int, seconds: float) -> Service:
    """Two endpoints of 2 ms, one of which answers once so."""
    seen: list[float] = []

    def answer(number: int, now: float, random: Random) -> Answer:
        if number == 0 and now > 10.0 and not seen:
            seen.append(now)
            return Answer(seconds, status)
        return Answer(0.002)

    return answer


@pytest.mark.parametrize(("status", "seconds"), [(200, 2.0), (500, 0.002), (429, 0.002)])
def test_one_slow_or_failed_answer_costs_a_part_of_the_share_for_seconds(status: int, seconds: float) -> None:
    outcome = simulate("least_request", 2, 60.0, 30.0, one_event(status, seconds))
    assert outcome.share(0, 15.0, 30.0) > 0.45
    for begin in range(10, 15):
        assert outcome.share(0, float(begin), begin + 5.0) > 0.2


def recovering(number: int, now: float, random: Random) -> Answer:
    return Answer(2.0 if number == 0 and now < 10.0 else 0.005)


def test_an_endpoint_that_is_well_again_has_its_share_within_seconds() -> None:
    outcome = simulate("least_request", 3, 120.0, 60.0, recovering)
    assert outcome.share(0, 2.0, 10.0) < 0.05
    assert outcome.share(0, 30.0, 60.0) > 0.28


def refusing(status: int) -> Service:
    def answer(number: int, now: float, random: Random) -> Answer:
        return Answer(0.0005, status) if number == 0 else Answer(0.020)

    return answer


def refused(outcome: Outcome, status: int) -> float:
    return outcome.statuses[status] / len(outcome.picked)


@pytest.mark.parametrize("rate", [20.0, 200.0, 1000.0])
@pytest.mark.parametrize("status", [401, 429])
def test_what_refuses_quickly_attracts_nothing(rate: float, status: int) -> None:
    outcome = simulate("least_request", 4, rate, 10_000 / rate, refusing(status))
    assert refused(outcome, status) <= 0.26
    if status == 429 and rate > 100.0:
        assert refused(outcome, status) < 0.05
