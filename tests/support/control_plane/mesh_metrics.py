"""A mesh's metrics in a CloudWatch, as its sidecars would have sent them: known numbers for the console."""

from __future__ import annotations

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
