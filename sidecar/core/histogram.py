"""A log-linear histogram of durations, ready for CloudWatch's `Values` and `Counts`.

Rules:
- Sixteen linear steps in every power of two of microseconds: a value is off by at most 1/32 (3.2 %).
- Recording is two shifts and one addition; memory is one small list, whatever the traffic.
- CloudWatch takes at most 150 distinct values of a metric in one datum, so the folded result comes in groups.
"""

from __future__ import annotations

from typing import Final

MAX_VALUES_PER_DATUM: Final = 150
_STEPS: Final = 16
_MAX_MICROSECONDS: Final = (1 << 36) - 1  # 19 hours; longer durations count as this
_SIZE: Final = 33 * _STEPS


class Histogram:
    """Counts of durations."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts = [0] * _SIZE
        self.count = 0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[index(int(seconds * 1e6))] += 1
        self.count += 1

    def take(self) -> list[tuple[list[float], list[float]]]:
        """What was counted since the last call, as groups of (milliseconds, counts); starts anew."""
        if self.count == 0:
            return []
        filled = [(at, count) for at, count in enumerate(self._counts) if count]
        self._counts = [0] * _SIZE
        self.count = 0
        groups = []
        for start in range(0, len(filled), MAX_VALUES_PER_DATUM):
            group = filled[start : start + MAX_VALUES_PER_DATUM]
            groups.append(([middle(at) / 1000.0 for at, _ in group], [float(count) for _, count in group]))
        return groups


def index(microseconds: int) -> int:
    """The bucket of a duration."""
    if microseconds < _STEPS:
        return max(microseconds, 0)
    microseconds = min(microseconds, _MAX_MICROSECONDS)
    shift = microseconds.bit_length() - 5
    return (shift << 4) + (microseconds >> shift)


def middle(at: int) -> float:
    """The middle of a bucket, in microseconds; a bucket of one number is that number."""
    if at < 2 * _STEPS:
        return float(at)
    shift = (at >> 4) - 1
    step = (at & 15) + 16
    return (step + 0.5) * float(1 << shift) - 0.5
