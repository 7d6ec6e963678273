"""What a sidecar learns of an endpoint from its answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.load import (
    CLIENT_ERROR,
    GENERATION_SECONDS,
    GOOD,
    LATENCY_STEP_UP,
    OVERLOADED,
    Load,
    doubt_of_grpc,
    doubt_of_status,
)

NOW = 1000.0


# Requests that press.


def test_requests_are_counted() -> None:
    load = Load()
    first = load.enter(NOW)
    load.enter(NOW)
    load.end(first)
    assert (load.active, load.pressing, load.requests) == (1, 1, 2)


def test_a_stream_stops_pressing_once_later_requests_were_answered() -> None:
    load = Load()
    stream = load.enter(NOW)
    now = NOW
    for _ in range(3):
        now += GENERATION_SECONDS
        quick = load.enter(now)
        load.heard(quick, now + 0.001)
        load.end(quick)
    assert (load.active, load.pressing) == (1, 0)
    load.end(stream)
    assert (load.active, load.pressing, load.recent) == (0, 0, 0)


def test_requests_of_an_endpoint_that_hangs_press_for_good() -> None:
    load = Load()
    for second in range(60):
        load.enter(NOW + second)
    assert load.pressing == 60


def test_a_late_answer_to_an_old_request_proves_nothing_about_new_ones() -> None:
    load = Load()
    quick = load.enter(NOW)
    load.heard(quick, NOW)
    load.end(quick)
    old = load.enter(NOW + 0.1)
    load.enter(NOW + 0.2)
    load.heard(old, NOW + 0.3)
    assert load.pressing == 2, "not a second has passed"
    later = load.enter(NOW + 2.0)
    load.heard(later, NOW + 2.1)
    assert load.pressing == 3, "these are the generation before"
    load.heard(old, NOW + 9.0)
    assert load.pressing == 3, "and no new one has been answered"


@given(st.lists(st.tuples(st.sampled_from(["begin", "answer", "end"]), st.integers(0, 9), st.floats(0.0, 2.0))))
def test_counts_never_drift(history: list[tuple[str, int, float]]) -> None:
    load = Load()
    open_requests: list[int] = []
    now = NOW
    for what, which, pause in history:
        now += pause
        if what == "begin":
            open_requests.append(load.enter(now))
        elif open_requests:
            generation = open_requests[which % len(open_requests)]
            if what == "answer":
                load.heard(generation, now)
            else:
                open_requests.remove(generation)
                load.end(generation)
        assert load.active == len(open_requests)
        assert load.pressing == sum(generation >= load.generation - 1 for generation in open_requests)
        assert load.recent == sum(generation == load.generation for generation in open_requests)


# Latency.


def test_one_answer_moves_the_mean_by_a_bounded_step() -> None:
    load = Load()
    load.observe(0.010)
    load.observe(60.0)
    assert load.latency == pytest.approx(0.010 * (1.0 + LATENCY_STEP_UP))


def test_many_slow_answers_are_believed() -> None:
    load = Load()
    load.observe(0.010)
    for _ in range(7):
        load.observe(2.0)
    assert load.latency > 0.020


def test_slow_days_are_forgotten_within_a_few_answers() -> None:
    load = Load()
    for _ in range(100):
        load.observe(30.0)
    for _ in range(10):
        load.observe(0.010)
    assert load.latency < 0.020


@given(st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=50))
def test_the_mean_stays_between_what_was_seen(latencies: list[float]) -> None:
    load = Load()
    for latency in latencies:
        load.observe(latency)
    assert min(latencies) * 0.999 <= load.latency <= max(latencies) * 1.001


# Doubt.


@pytest.mark.parametrize(
    ("status", "doubt"), [(200, GOOD), (304, GOOD), (401, CLIENT_ERROR), (404, CLIENT_ERROR), (429, OVERLOADED)]
)
def test_what_a_status_says(status: int, doubt: float) -> None:
    assert doubt_of_status(status) == doubt


@pytest.mark.parametrize(
    ("code", "doubt"), [(0, GOOD), (8, OVERLOADED), (12, CLIENT_ERROR), (16, CLIENT_ERROR), (None, CLIENT_ERROR)]
)
def test_what_a_grpc_status_says(code: int | None, doubt: float) -> None:
    assert doubt_of_grpc(code) == doubt


@given(st.lists(st.sampled_from([GOOD, CLIENT_ERROR, OVERLOADED]), max_size=60))
def test_doubt_stays_between_none_and_all(doubts: list[float]) -> None:
    load = Load()
    for doubt in doubts:
        load.doubted(doubt)
        assert 0.0 <= load.doubt <= 1.0
