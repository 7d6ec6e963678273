"""How long requests took, by what they were."""

from __future__ import annotations

from sidecar.core.durations import BOUNDS, MAX_SERIES, Durations, Kind

OK = Kind(True, "orders", "GET", "1.1", 200, None, "")


def test_a_value_at_a_bound_is_in_the_bucket_below_it() -> None:
    durations = Durations()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-6, BOUNDS[-1], 60.0):
        durations.record(OK, seconds)
    found = durations.series[OK]
    assert (found.counts[0], found.counts[1], found.counts[-2], found.counts[-1]) == (2, 1, 1, 1)
    assert sum(found.counts) == 5
    assert found.seconds == 0.0 + 2 * BOUNDS[0] + 1e-6 + BOUNDS[-1] + 60.0


def test_names_from_outside_do_not_fill_memory() -> None:
    durations = Durations()
    for number in range(MAX_SERIES + 50):
        durations.record(OK._replace(service=f"s{number}"), 0.01)
    durations.record(OK._replace(service="s0"), 0.01)
    durations.record(OK._replace(service="late", inbound=False), 0.01)
    overflow = [kind for kind in durations.series if kind.is_overflow]
    assert {kind.inbound for kind in overflow} == {True, False}
    assert len(durations.series) == MAX_SERIES + 2
    assert sum(sum(found.counts) for found in durations.series.values()) == MAX_SERIES + 52
    assert sum(durations.series[OK._replace(service="s0")].counts) == 2
