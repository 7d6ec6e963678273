"""A mesh's metrics in a CloudWatch, as its sidecars would have sent them: known numbers for the dashboard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.support.control_plane.local_aws import local_aws

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

MINUTE = timedelta(minutes=1)
Datum = dict[str, Any]


@contextmanager
def cloudwatch(region: str) -> Iterator[tuple[str, CloudWatchClient]]:
    """Yield URL and client of a CloudWatch of this region; no other test may use the same: moto has one per process."""
    long_ago = datetime(1970, 1, 2, tzinfo=UTC)  # so that it forgets nothing
    with local_aws(region, lambda: long_ago) as aws:
        yield aws.cloudwatch_url, aws.cloudwatch()


def datum(
    name: str, at: datetime, values: list[float], counts: list[float] | None = None, /, **dimensions: str
) -> Datum:
    """Return one metric datum of a minute."""
    return {
        "MetricName": name,
        "Timestamp": at,
        "Values": values,
        "Counts": counts or [1.0] * len(values),
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }


def put(client: CloudWatchClient, data: list[Datum]) -> None:
    """Send them, at most a thousand a call."""
    for start in range(0, len(data), 1000):
        client.put_metric_data(Namespace="Tramo", MetricData=data[start : start + 1000])  # type: ignore[arg-type]


def last_minutes(now: datetime, count: int) -> list[datetime]:
    """Return the last whole minutes before now, oldest first."""
    this = now.astimezone(UTC).replace(second=0, microsecond=0)
    return [this - MINUTE * each for each in range(count, 0, -1)]


SHOP = {
    "web": (900.0, 9.0),
    "orders": (620.0, 14.0),
    "cart": (410.0, 6.0),
    "stock": (300.0, 22.0),
    "payments": (95.0, 48.0),
}
"""Services with their requests a minute and their usual time to answer in milliseconds."""


def shop(minutes: list[datetime]) -> Iterator[Datum]:
    """Yield three hours of a shop: a busy morning, and an hour ago a release of orders that failed for some minutes."""
    count = len(minutes)
    for place, at in enumerate(minutes):
        wave = 0.75 + 0.25 * math.sin(place / count * 2.4 * math.pi) + 0.04 * math.sin(place * 1.7)
        trouble = 0.35 if 0.62 < place / count < 0.68 else 0.0
        for number, (name, (rate, usual)) in enumerate(SHOP.items()):
            ripple = 1 + 0.05 * math.sin(place * 0.9 + number * 2)
            requests = round(rate * wave * ripple)
            bad = (
                round(requests * trouble)
                if name == "orders"
                else round(requests * trouble * 0.1)
                if name == "web"
                else 0
            )
            serving, calling = {"DiscoveryName": name}, {"TargetDiscoveryName": name}
            slow = 1 + (2.2 if bad and name == "orders" else 0.0)
            latencies = [usual * slow * factor * ripple for factor in (0.6, 0.8, 1.0, 1.3, 1.9, 3.4)]
            yield datum("RequestCount", at, [requests], **serving)
            yield datum("NewConnectionCount", at, [round(requests / 40)], **serving)
            yield datum("ActiveConnectionCount", at, [round(requests / 22) + 3], **serving)
            yield datum("ProcessedBytes", at, [requests * 2150.0], **serving)
            yield datum("TargetProcessedBytes", at, [requests * 2150.0], **calling)
            yield datum("HTTPCode_Target_2XX_Count", at, [requests - bad], **calling)
            yield datum("HTTPCode_Target_4XX_Count", at, [round(requests * 0.004 * (number + 1))], **calling)
            yield datum("RequestCountPerTarget", at, [requests / 3], **calling)
            yield datum("TargetResponseTime", at, latencies, [8.0, 20.0, 40.0, 20.0, 10.0, 2.0], **calling)
            yield datum("HealthyEndpoints", at, [2.0 if bad and name == "orders" else 3.0], **calling)
            if bad:
                yield datum("HTTPCode_Target_5XX_Count", at, [bad], **calling)
                yield datum("Retries", at, [bad * 1.6], **calling)
                yield datum("RetryBudgetExhausted", at, [bad * 0.3], **calling)
                yield datum("Ejections", at, [2.0], **calling)
                yield datum("EjectedEndpoints", at, [1.0], **calling)
                yield datum("ResponseFlag_URX_Count", at, [bad * 0.4], **calling)
        yield from _sidecars(at, place, wave)


def _sidecars(at: datetime, place: int, wave: float) -> Iterator[Datum]:
    yield datum("SnapshotAge", at, [1.2, 2.6, 4.1 + (place % 5) * 0.2])
    yield datum("SnapshotRevision", at, [40.0 + place // 30, 40.0 + (place + 1) // 30])
    yield datum("SidecarCpu", at, [3.0 * wave, 4.0 * wave, 9.0 * wave])
    yield datum("SidecarMemory", at, [46e6, 48e6, 52e6 + place * 1e4])
    for name, share in (("HTTPCode_Target_2XX_Count", 2300.0), ("HTTPCode_Target_4XX_Count", 19.0)):
        yield datum(name, at, [round(share * wave)])
    yield datum("HealthyEndpoints", at, [27.0])
    for name, value in (("EventsApplied", 1.0 + place % 7), ("EventsStale", place % 3), ("EventsIgnored", place % 2)):
        yield datum(name, at, [float(value)], service="registrar")
    yield datum("TasksSwept", at, [15.0], service="reconciler")
    yield datum("SnapshotsPublished", at, [1.0 + place % 4], service="publisher")
