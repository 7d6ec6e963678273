"""What a mesh costs in AWS a month: a fleet and its habits in, lines of a bill out. Pure; no account is asked.

Rules:
- Prices are of US East (N. Virginia), without free tiers and discounts; `PRICES_AS_OF` says when they were looked up.
- What the code uses for one poll or one change stands here as constants; `make bench-control` measures them.
- Data transfer is priced as if it left AWS, and as if it went through a NAT gateway: that is the most it can be. The
  feed and the bucket go through gateway endpoints, which cost nothing. A NAT gateway's hours are not the mesh's.
- Polls are not traced, and Lambda writes no line of its own for each (`SystemLogLevel: WARN`).
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
READ_CAPACITY_HOUR: Final = 0.00013
WRITE_CAPACITY_HOUR: Final = 0.00065
S3_GET: Final = 0.40 / MILLION
S3_PUT: Final = 5.00 / MILLION
NAT_GB: Final = 0.045
TRACE: Final = 5.00 / MILLION
PUT_METRIC_DATA: Final = 0.01 / 1_000
LOGS_GB: Final = 0.50

# One poll that brings nothing new.
POLL_READ_UNITS: Final = 0.5
POLL_SECONDS_IN_LAMBDA: Final = 0.015
POLL_ANSWER_BYTES: Final = 500.0  # the head of a 304, as API Gateway sends it
DELTA_BYTES: Final = 1_100.0  # head and gzip of one changed service, beyond a 304's
FUNCTION_GB: Final = 0.5

POLL_REQUEST_BYTES: Final = 1_478.0

# One reading of the feed. News are the latest changes, which a reader fetches then: three of them, or as many as 4 KB
# hold, and at most 12 KB (`functions/registry/domain/feed.py`).
FEED_READ_UNITS: Final = 0.5
FEED_COPIES: Final = 8.0
NEWS_STEPS: Final = 3.0
NEWS_LEAST_KB: Final = 4.0
NEWS_MOST_KB: Final = 12.0
SERVICE_KB: Final = 0.4  # of a compressed change, and what each endpoint of the service adds to it
ENDPOINT_KB: Final = 0.037
FEED_COMPARING_UNITS: Final = 8.0  # of a publication and of a sweep: HEAD of each copy
WHOLE_DOCUMENTS_PER_CHANGE: Final = 0.5
FEED_HEADROOM: Final = 1.2  # provisioned over what is read on average
FEED_WRITE_CAPACITY: Final = 150.0  # as the template has it

# One task that starts or stops: ECS's events of it, and what they lead to.
EVENTS_PER_CHANGE: Final = 3.0
SECONDS_PER_EVENT: Final = 0.050
WRITE_UNITS_PER_CHANGE: Final = 7.0
READ_UNITS_PER_CHANGE: Final = 20.0
PUBLISHER_SECONDS_PER_CHANGE: Final = 0.2
PUBLISHER_GB: Final = 1769 / 1024
REPORTS_PER_CHANGE: Final = 3.0  # of health, by the API
TRACED_SHARE: Final = 0.05  # of the functions' invocations, X-Ray's default
LOG_BYTES_PER_REQUEST: Final = 1_500.0  # what a function says of an event: a line and its metrics

# One sweep of the reconciler, of which there is one a minute.
SWEEPS_PER_HOUR: Final = 60.0
SWEEP_SECONDS_PER_TASK: Final = 0.0005
SWEEP_READ_UNITS_PER_TASK: Final = 0.09
SWEEP_GB: Final = 1769 / 1024

# Metrics: Service Connect's names and ours that a called service has, by two sets of dimensions; sent once a minute.
METRICS_PER_SERVICE: Final = 12.0
DIMENSION_SETS: Final = 2.0
SENDS_PER_HOUR: Final = 60.0
# One sending of a task that offers a service, and what each service adds that it calls 100 times a second: values of
# PutMetricData, of which a call takes 1,000, and bytes of EMF with the 26 that CloudWatch Logs adds to each line.
VALUES: Final = 18.0
VALUES_PER_CALLED: Final = 12.0
VALUES_PER_CALL: Final = 1_000.0
EMF_BYTES: Final = 1_800.0
EMF_BYTES_PER_CALLED: Final = 5_000.0


@dataclass(frozen=True, slots=True)
class Use:
    """A fleet. `metrics` is the sidecars' TRAMO_METRICS: `cloudwatch`, `emf` or `off`.

    `feed` is how its table is paid for, `on-demand` or `provisioned`, or `off`: then the API is polled.
    """

    sidecars: int
    poll_seconds: float
    changes_per_hour: float
    services: int = 100
    metrics: str = "cloudwatch"
    feed: str = "off"
    read_seconds: float = 1.0
    called: int = 2  # services that each task calls


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
    discovery = _polls(use) if use.feed == "off" else _feed(use)
    return [*discovery, *_changes(use), *_sweeps(use), *_metrics(use)]


def discovery_dollars(use: Use) -> float:
    """Return what it costs a month that sidecars learn of changes, all else left out."""
    return sum(line.dollars for line in (_polls(use) if use.feed == "off" else _feed(use)))


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
        Line("NAT gateway", "polls", passed := sent + polls * POLL_REQUEST_BYTES / GB, "GB", passed * NAT_GB),
    ]


def _feed(use: Use) -> list[Line]:
    hours = use.sidecars * HOURS
    changes = use.changes_per_hour * HOURS
    reads = hours * 3_600 / use.read_seconds * FEED_READ_UNITS
    # Changes between two readings are fetched together.
    size = _news_kilobytes(use)
    news = hours * min(use.changes_per_hour, 3_600 / use.read_seconds) * math.ceil(size / 4.0) * FEED_READ_UNITS
    written = changes * FEED_COPIES * (1 + math.ceil(size))  # HEAD and the changes
    compared = (changes + SWEEPS_PER_HOUR * HOURS) * FEED_COMPARING_UNITS
    puts = changes * WHOLE_DOCUMENTS_PER_CHANGE
    starts = changes / 2.0  # the others are stops
    bucket = [
        Line("S3", "whole snapshots written", puts, "requests", puts * S3_PUT),
        Line("S3", "whole snapshots read", starts, "requests", starts * S3_GET),
    ]
    if use.feed == "provisioned":
        capacity = (reads + news + compared) / (HOURS * 3_600) * FEED_HEADROOM
        return [
            Line("DynamoDB", "feed", capacity, "RCU", capacity * HOURS * READ_CAPACITY_HOUR),
            Line("DynamoDB", "feed", FEED_WRITE_CAPACITY, "WCU", FEED_WRITE_CAPACITY * HOURS * WRITE_CAPACITY_HOUR),
            *bucket,
        ]
    return [
        Line("DynamoDB", "feed, every reading", reads, "RRU", reads * READ_UNIT),
        Line("DynamoDB", "feed, news", news, "RRU", news * READ_UNIT),
        Line("DynamoDB", "feed, comparing", compared, "RRU", compared * READ_UNIT),
        Line("DynamoDB", "feed", written, "WRU", written * WRITE_UNIT),
        *bucket,
    ]


def _news_kilobytes(use: Use) -> float:
    """Return the size of the feed's latest changes, if each sidecar is an endpoint of one service."""
    change = SERVICE_KB + ENDPOINT_KB * use.sidecars / use.services
    return min(NEWS_MOST_KB, max(NEWS_LEAST_KB, NEWS_STEPS * change))


def _changes(use: Use) -> list[Line]:
    changes = use.changes_per_hour * HOURS
    events = changes * EVENTS_PER_CHANGE
    requests = events + changes  # of the registrar and of the publisher
    computed = events * SECONDS_PER_EVENT * FUNCTION_GB + changes * PUBLISHER_SECONDS_PER_CHANGE * PUBLISHER_GB
    written, read = changes * WRITE_UNITS_PER_CHANGE, changes * READ_UNITS_PER_CHANGE
    reports = changes * REPORTS_PER_CHANGE
    traces = requests * TRACED_SHARE
    logged = (requests + reports) * LOG_BYTES_PER_REQUEST / GB
    return [
        Line("API Gateway", "health reports (REST API)", reports, "requests", tiered(reports, API_REQUESTS)),
        Line("X-Ray", "changes", traces, "traces", traces * TRACE),
        Line("CloudWatch Logs", "changes", logged, "GB", logged * LOGS_GB),
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
        written = sends * (EMF_BYTES + use.called * EMF_BYTES_PER_CALLED) / GB
        return [Line("CloudWatch", "metrics in log lines", written, "GB", written * LOGS_GB), custom]
    calls = sends * math.ceil((VALUES + use.called * VALUES_PER_CALLED) / VALUES_PER_CALL)
    return [Line("CloudWatch", "PutMetricData", calls, "requests", calls * PUT_METRIC_DATA), custom]
