"""Durations in buckets: how far off a value can be, and what CloudWatch can take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.histogram import BOUNDS, MAX_VALUES_PER_DATUM, Histogram, index, middle

LONGEST = (1 << 36) - 1


@given(st.integers(0, LONGEST))
def test_a_value_is_off_by_a_thirty_second_at_most(microseconds: int) -> None:
    assert abs(middle(index(microseconds)) - microseconds) <= microseconds / 32


@given(st.integers(0, LONGEST), st.integers(0, LONGEST))
def test_buckets_keep_the_order(one: int, other: int) -> None:
    assert (index(one) <= index(other)) == (one <= other) or index(one) == index(other)


def test_buckets_are_told_apart() -> None:
    buckets = [index(1 << power) for power in range(36)]
    assert len(set(buckets)) == len(buckets)
    assert index(-5) == 0
    assert index(1 << 60) == index(LONGEST)
    assert [middle(at) for at in range(32)] == [float(at) for at in range(32)]


@given(st.lists(st.floats(0.0, 1e6), max_size=400))
def test_every_duration_is_counted_once(durations: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.record(seconds)
    assert histogram.count == len(durations)
    groups = histogram.take()
    assert sum(sum(counts) for _, counts in groups) == len(durations)
    assert all(len(values) == len(counts) <= MAX_VALUES_PER_DATUM for values, counts in groups)
    values = [value for group, _ in groups for value in group]
    assert values == sorted(set(values))
    assert histogram.take() == []
    assert histogram.count == len(durations), "taking resets nothing"


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=400))
def test_percentiles_are_within_five_percent(durations: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.record(seconds)
    found = [
        value
        for values, counts in histogram.take()
        for value, n in zip(values, counts, strict=True)
        for _ in range(int(n))
    ]
    exact = sorted(durations)
    for percent in (50, 90, 99):
        at = (len(exact) - 1) * percent // 100
        assert abs(found[at] - exact[at] * 1000.0) <= max(exact[at] * 50.0, 0.001), percent


@given(st.lists(st.integers(0, 1 << 26), max_size=200), st.lists(st.integers(0, 1 << 26), max_size=200))
def test_taking_gives_only_what_is_new(first: list[int], second: list[int]) -> None:
    histogram, alone = Histogram(), Histogram()
    for microseconds in first:
        histogram.record(microseconds / 1e6)
    histogram.take()
    for microseconds in second:
        histogram.record(microseconds / 1e6)
        alone.record(microseconds / 1e6)
    assert histogram.take() == alone.take()


@given(st.lists(st.integers(0, 1 << 26), max_size=200))
def test_buckets_of_prometheus_are_exact(all_microseconds: list[int]) -> None:
    histogram = Histogram()
    for microseconds in all_microseconds:
        histogram.record((microseconds + 0.5) / 1e6)
    assert histogram.below() == [sum(value < bound for value in all_microseconds) for bound in BOUNDS]
    assert abs(histogram.seconds - sum(value + 0.5 for value in all_microseconds) / 1e6) < 1e-6


def test_values_are_milliseconds() -> None:
    histogram = Histogram()
    histogram.record(0.25)
    ((values, counts),) = histogram.take()
    assert counts == [1.0]
    assert abs(values[0] - 250.0) < 8.0


def test_many_values_come_in_groups() -> None:
    histogram = Histogram()
    for power in range(36):
        for step in range(16):
            histogram.record(((1 << power) * (1 + step / 16)) / 1e6)
    groups = histogram.take()
    assert [len(values) for values, _ in groups[:-1]] == [MAX_VALUES_PER_DATUM] * (len(groups) - 1)
    assert len(groups) > 1
