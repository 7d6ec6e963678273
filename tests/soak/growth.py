"""What a process holds over time, and whether it grows: values in, sentences out.

Rules:
- The first part of a run warms up: pools fill, code and tables are loaded, the allocator finds its size.
- What is left is split into thirds. A process grows when the median of the last third is above that of the first by
  more than its allowance: medians, because connections come and go between any two samples.
- The allowance is a part of the value and an amount that short runs can differ by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Final

WARM_PART: Final = 0.25
MIN_SAMPLES: Final = 9


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sidecar holds at a moment."""

    pss_kib: int
    descriptors: int
    tasks: int
    timers: int


@dataclass(frozen=True, slots=True)
class Growth:
    """A measure at the begin and at the end of what follows the warm-up, and what it may grow by."""

    measure: str
    first: float
    last: float
    allowed: float

    def too_much(self) -> bool:
        """Whether it grew by more than that."""
        return self.last - self.first > self.allowed


ALLOWED: Final = {
    "pss_kib": (0.03, 1024),  # a page here and there; 600 snapshots of 2 KiB each would be 1.2 MiB
    "descriptors": (0.1, 8),  # idle connections of a pool
    "tasks": (0.0, 4),  # one per connection being opened
    "timers": (0.1, 12),  # one per connection and one per request
}
"""Of each measure: the part of its value, and the amount, that it may grow by."""


def growths(samples: Sequence[Sample], slack: float = 1.0) -> list[Growth]:
    """Each measure's growth. `slack` multiplies what is allowed. Raises ValueError when there are too few samples."""
    warm = samples[int(len(samples) * WARM_PART) :]
    if len(warm) < MIN_SAMPLES:
        raise ValueError(f"{len(samples)} samples are too few to see growth")
    third = len(warm) // 3
    found = []
    for measure in (field.name for field in fields(Sample)):
        first = median(getattr(sample, measure) for sample in warm[:third])
        last = median(getattr(sample, measure) for sample in warm[-third:])
        part, amount = ALLOWED[measure]
        found.append(Growth(measure, first, last, (first * part + amount) * slack))
    return found
