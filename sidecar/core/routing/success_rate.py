"""Which endpoints fail more often than the others of their service, though never often enough in a row.

Rules, Envoy's numbers:
- Compared are endpoints with `ENOUGH_ANSWERS` in an interval of `INTERVAL_SECONDS` or longer, if there are
  `ENOUGH_ENDPOINTS` of them.
- One whose share of good answers is more than `DEVIATIONS` standard deviations below the mean of all stands out.
- One that answers well nine times of ten never does: where all others are perfect, a single failure would stand out.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.routing.endpoint import HEALTHY, Endpoint

INTERVAL_SECONDS: Final = 10.0
ENOUGH_ANSWERS: Final = 100
ENOUGH_ENDPOINTS: Final = 5
DEVIATIONS: Final = 1.9
WELL_ENOUGH: Final = 0.9


def outliers(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Return those that stand out by the answers of the interval that ends."""
    compared = [endpoint for endpoint in endpoints if endpoint.health == HEALTHY and endpoint.answers >= ENOUGH_ANSWERS]
    if len(compared) < ENOUGH_ENDPOINTS:
        return []
    rates = [1.0 - endpoint.failed_answers / endpoint.answers for endpoint in compared]
    mean = sum(rates) / len(rates)
    deviation = (sum((rate - mean) ** 2 for rate in rates) / len(rates)) ** 0.5
    least = min(mean - DEVIATIONS * deviation, WELL_ENOUGH)
    return [endpoint for endpoint, rate in zip(compared, rates, strict=True) if rate < least]
