"""A log-linear histogram of durations, ready for CloudWatch's `Values` and `Counts` and for Prometheus' buckets.

Rules:
- Sixteen linear steps in every power of two of microseconds: a value is off by at most 1/32 (3.2 %).
- Recording is two shifts and two additions; memory is two small lists, whatever the traffic.
- Counts only grow. `take` gives what came since the last `take`; it resets nothing that others read.
- CloudWatch takes at most 150 distinct values of a metric in one datum, so the folded result comes in groups.
- Prometheus' bounds are powers of two of a microsecond, where a step begins: `below` is exact there.
"""

from __future__ import annotations

from typing import Final

MAX_VALUES_PER_DATUM: Final = 150
_STEPS: Final = 16
_MAX_MICROSECONDS: Final = (1 << 36) - 1  # 19 hours; longer durations count as this
_SIZE: Final = 33 * _STEPS
_NONE: Final = [0] * _SIZE
"""Of a histogram that has counted nothing: most services of a namespace are never called from one task."""

BOUNDS: Final = tuple(1 << power for power in range(8, 25))
"""Upper bounds of Prometheus' buckets in microseconds: 256 µs to 16.8 s, each twice the one before."""


class Histogram:
    """Counts of durations."""

    __slots__ = ("_counts", "_taken", "_taken_count", "count", "seconds")

    def __init__(self) -> None:
        self._counts = _NONE
        self._taken = _NONE  # the counts at the last `take`
        self._taken_count = 0
        self.count = 0
        self.seconds = 0.0  # sum of the durations

    def record(self, seconds: float) -> None:
        """Count one duration."""
        counts = self._counts
        if counts is _NONE:
            counts = self._counts = [0] * _SIZE
        counts[index(int(seconds * 1e6))] += 1
        self.count += 1
        self.seconds += seconds

    def take(self) -> list[tuple[list[float], list[float]]]:
        """Return what was counted since the last call, as groups of (milliseconds, counts)."""
        if self.count == self._taken_count:
            return []
        filled = [
            (at, count - before)
            for at, (count, before) in enumerate(zip(self._counts, self._taken, strict=True))
            if count != before
        ]
        self._taken = list(self._counts)
        self._taken_count = self.count
        groups = []
        for start in range(0, len(filled), MAX_VALUES_PER_DATUM):
            group = filled[start : start + MAX_VALUES_PER_DATUM]
            groups.append(([middle(at) / 1000.0 for at, _ in group], [float(count) for _, count in group]))
        return groups

    def counts(self) -> list[int]:
        """Return how many durations were in each bucket since the start; empty if there were none."""
        return list(self._counts)

    def below(self) -> list[int]:
        """Return how many durations were shorter than each of BOUNDS, since the start."""
        found = []
        total = start = 0
        for bound in BOUNDS:
            end = index(bound)
            total += sum(self._counts[start:end])
            start = end
            found.append(total)
        return found


def index(microseconds: int) -> int:
    """Return the bucket of a duration."""
    if microseconds < _STEPS:
        return max(microseconds, 0)
    microseconds = min(microseconds, _MAX_MICROSECONDS)
    shift = microseconds.bit_length() - 5
    return (shift << 4) + (microseconds >> shift)


def middle(at: int) -> float:
    """Return the middle of a bucket, in microseconds; a bucket of one number is that number."""
    if at < 2 * _STEPS:
        return float(at)
    shift = (at >> 4) - 1
    step = (at & 15) + 16
    return (step + 0.5) * float(1 << shift) - 0.5
