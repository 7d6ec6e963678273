"""What a mesh costs in AWS a month: a fleet and its habits in, lines of a bill out. Pure; no account is asked.

Rules:
- Prices are of US East (N. Virginia), without free tiers and discounts; `PRICES_AS_OF` says when they were looked up.
- What the code uses for one poll or one change stands here as constants; `make bench-control` measures them.
- Data transfer is priced as if it left AWS: that is the most it can be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PRICES_AS_OF: Final = "May 2025 to June 2026"
HOURS: Final = 730.0
"""Of a month, as AWS counts it."""
MILLION: Final = 1e6
GB: Final = 1e9

# Dollars, and up to how many they hold.
API_REQUESTS: Final = ((333 * MILLION, 3.50 / MILLION), (1_000 * MILLION, 2.80 / MILLION), (math.inf, 2.38 / MILLION))
CUSTOM_METRICS: Final = ((10_000.0, 0.30), (math.inf, 0.10))
LAMBDA_REQUEST: Final = 0.20 / MILLION
LAMBDA_GB_SECOND: Final = 0.0000166667
READ_UNIT: Final = 0.125 / MILLION
WRITE_UNIT: Final = 0.625 / MILLION
DATA_OUT_GB: Final = 0.09
PUT_METRIC_DATA: Final = 0.01 / 1_000
LOGS_GB: Final = 0.50

# One poll that brings nothing new.
POLL_READ_UNITS: Final = 0.5
POLL_SECONDS_IN_LAMBDA: Final = 0.015
POLL_ANSWER_BYTES: Final = 500.0  # the head of a 304, as API Gateway sends it
DELTA_BYTES: Final = 1_100.0  # head and gzip of one changed service, beyond a 304's
FUNCTION_GB: Final = 0.5

# One task that starts or stops: ECS's events of it, and what they lead to.
EVENTS_PER_CHANGE: Final = 3.0
SECONDS_PER_EVENT: Final = 0.050
WRITE_UNITS_PER_CHANGE: Final = 7.0
READ_UNITS_PER_CHANGE: Final = 20.0
PUBLISHER_SECONDS_PER_CHANGE: Final = 0.2
PUBLISHER_GB: Final = 1769 / 1024

# One sweep of the reconciler, of which there is one a minute.
SWEEPS_PER_HOUR: Final = 60.0
SWEEP_SECONDS_PER_TASK: Final = 0.0005
SWEEP_READ_UNITS_PER_TASK: Final = 0.09
SWEEP_GB: Final = 1769 / 1024

# Metrics: Service Connect's names and ours that a called service has, by two sets of dimensions; sent once a minute.
METRICS_PER_SERVICE: Final = 12.0
DIMENSION_SETS: Final = 2.0
SENDS_PER_HOUR: Final = 60.0
EMF_BYTES: Final = 1_024.0


@dataclass(frozen=True, slots=True)
class Use:
    """A fleet. `metrics` is the sidecars' TRAMO_METRICS: `cloudwatch`, `emf` or `off`."""

    sidecars: int
    poll_seconds: float
    changes_per_hour: float
    services: int = 100
    metrics: str = "cloudwatch"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill. `quantity` is a month's, in `unit`s."""

    service: str
    what: str
    quantity: float
    unit: str
    dollars: float


def tiered(quantity: float, tiers: Sequence[tuple[float, float]]) -> float:
    """Return what a quantity costs whose price falls in steps: (up to, price of one)."""
    dollars = below = 0.0
    for up_to, price in tiers:
        dollars += max(0.0, min(quantity, up_to) - below) * price
        below = up_to
    return dollars


def monthly(use: Use) -> list[Line]:
    """Return the lines of a month's bill."""
    return [*_polls(use), *_changes(use), *_sweeps(use), *_metrics(use)]


def _polls(use: Use) -> list[Line]:
    polls = use.sidecars * HOURS * 3_600 / use.poll_seconds
    # Changes between two polls come in one answer.
    deltas = use.sidecars * HOURS * min(use.changes_per_hour, 3_600 / use.poll_seconds)
    sent = (polls * POLL_ANSWER_BYTES + deltas * DELTA_BYTES) / GB
    computed = polls * POLL_SECONDS_IN_LAMBDA * FUNCTION_GB
    units = polls * POLL_READ_UNITS
    return [
        Line("API Gateway", "polls (REST API)", polls, "requests", tiered(polls, API_REQUESTS)),
        Line("Lambda", "polls", polls, "requests", polls * LAMBDA_REQUEST),
        Line("Lambda", "polls", computed, "GB-s", computed * LAMBDA_GB_SECOND),
        Line("DynamoDB", "polls", units, "RRU", units * READ_UNIT),
        Line("Data transfer", "answers to polls", sent, "GB", sent * DATA_OUT_GB),
    ]


def _changes(use: Use) -> list[Line]:
    changes = use.changes_per_hour * HOURS
    events = changes * EVENTS_PER_CHANGE
    requests = events + changes  # of the registrar and of the publisher
    computed = events * SECONDS_PER_EVENT * FUNCTION_GB + changes * PUBLISHER_SECONDS_PER_CHANGE * PUBLISHER_GB
    written, read = changes * WRITE_UNITS_PER_CHANGE, changes * READ_UNITS_PER_CHANGE
    return [
        Line("Lambda", "changes", requests, "requests", requests * LAMBDA_REQUEST),
        Line("Lambda", "changes", computed, "GB-s", computed * LAMBDA_GB_SECOND),
        Line("DynamoDB", "changes", written, "WRU", written * WRITE_UNIT),
        Line("DynamoDB", "changes", read, "RRU", read * READ_UNIT),
    ]


def _sweeps(use: Use) -> list[Line]:
    sweeps = SWEEPS_PER_HOUR * HOURS
    computed = sweeps * use.sidecars * SWEEP_SECONDS_PER_TASK * SWEEP_GB
    read = sweeps * use.sidecars * SWEEP_READ_UNITS_PER_TASK
    return [
        Line("Lambda", "sweeps", computed, "GB-s", computed * LAMBDA_GB_SECOND),
        Line("DynamoDB", "sweeps", read, "RRU", read * READ_UNIT),
    ]


def _metrics(use: Use) -> list[Line]:
    if use.metrics == "off":
        return []
    sends = use.sidecars * HOURS * SENDS_PER_HOUR
    kept = use.services * METRICS_PER_SERVICE * DIMENSION_SETS
    custom = Line("CloudWatch", "custom metrics", kept, "metrics", tiered(kept, CUSTOM_METRICS))
    if use.metrics == "emf":
        written = sends * EMF_BYTES / GB
        return [Line("CloudWatch", "metrics in log lines", written, "GB", written * LOGS_GB), custom]
    return [Line("CloudWatch", "PutMetricData", sends, "requests", sends * PUT_METRIC_DATA), custom]
