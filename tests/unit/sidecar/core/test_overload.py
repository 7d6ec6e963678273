"""When requests are refused for want of memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.overload import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Shedding,
    is_critical,
    limit_of,
    look_again,
    reclaimable,
)

TAKING = Shedding()
SHEDDING = Shedding(is_on=True, load=100)


@pytest.mark.parametrize(
    ("before", "used", "limit", "load", "expected"),
    [
        (TAKING, 84, 100, 100, False),
        (TAKING, 85, 100, 100, True),
        (SHEDDING, 84, 100, 100, True),
        (SHEDDING, 75, 100, 51, True),
        (SHEDDING, 74, 100, 100, False),
        (TAKING, 10**9, None, 100, False),
        (SHEDDING, 10**9, None, 100, False),
        (TAKING, 1, 0, 100, False),
    ],
)
def test_thresholds_with_hysteresis(before: Shedding, used: int, limit: int | None, load: int, expected: bool) -> None:
    assert before.next(used, limit, load).is_on is expected


def test_what_an_allocator_keeps_of_a_load_that_has_gone_is_no_shortage() -> None:
    state = TAKING.next(used=880, limit=1000, load=5000)
    assert state.is_on
    state = state.next(used=870, limit=1000, load=2500)
    assert not state.is_on, "half of the load has gone"
    assert not state.next(used=885, limit=1000, load=2600).is_on, "it is used again"
    assert state.next(used=891, limit=1000, load=2600).is_on, "it is not enough"


def test_the_last_of_the_memory_is_never_given_to_requests() -> None:
    assert SHEDDING.next(used=95, limit=100, load=0).is_on


def test_what_is_held_is_forgotten_when_it_comes_back() -> None:
    state = Shedding(held=90).next(used=70, limit=100, load=0)
    assert state.next(used=86, limit=100, load=10).is_on


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10_000))),
    st.integers(0, 749),
)
def test_no_history_keeps_requests_refused_once_memory_is_free(history: list[tuple[int, int]], used: int) -> None:
    state = TAKING
    for before, load in history:
        state = state.next(before, 1000, load)
    assert state.next(used, 1000, 0) == TAKING


@pytest.mark.parametrize(
    ("text", "limit"),
    [("67108864\n", 67108864), ("max\n", None), ("9223372036854771712\n", None), ("", None), ("-1", None)],
)
def test_limits_of_both_cgroup_versions(text: str, limit: int | None) -> None:
    assert limit_of(text) == limit


def test_what_the_kernel_can_take_back() -> None:
    assert reclaimable("anon 5\nfile 9\ninactive_file 7\nactive_file 2\n") == 7
    assert reclaimable("cache 1\ntotal_inactive_file 3\n") == 3
    assert reclaimable("anon 5\n") == 0


@pytest.mark.parametrize(
    ("used", "limit", "expected"), [(91, 100, False), (92, 100, True), (10**9, None, False), (1, 0, False)]
)
def test_beyond_a_share_not_even_connections_are_taken(used: int, limit: int | None, expected: bool) -> None:
    assert is_critical(used, limit) is expected


@given(st.integers(0, 2_000), st.integers(0, 2_000))
def test_the_less_is_left_the_sooner_it_is_looked_at_again(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert SHORTEST_SECONDS <= look_again(more, 1_000) <= look_again(less, 1_000) <= LONGEST_SECONDS
