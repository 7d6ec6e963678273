"""The local CloudWatch's answers, by boto3 as the dashboard asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.metric_data import statistic
from tests.support.control_plane.local_aws import local_aws

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def cloudwatch() -> Iterator[CloudWatchClient]:
    with local_aws("eu-west-2", lambda: NOON) as aws:
        yield aws.cloudwatch()


def put(cloudwatch: CloudWatchClient, name: str, minute: int, values: list[float], **dimensions: str) -> None:
    cloudwatch.put_metric_data(
        Namespace="Tramo",
        MetricData=[
            {
                "MetricName": name,
                "Timestamp": NOON + timedelta(minutes=minute),
                "Values": values,
                "Counts": [1.0] * len(values),
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            }
        ],
    )


def read(cloudwatch: CloudWatchClient, name: str, stat: str, **dimensions: str) -> list[tuple[datetime, float]]:
    metric: Any = {
        "Namespace": "Tramo",
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}],
        StartTime=NOON,
        EndTime=NOON + timedelta(minutes=10),
        ScanBy="TimestampAscending",
    )
    (result,) = answer["MetricDataResults"]
    return list(zip(result["Timestamps"], result["Values"], strict=True))


def test_values_of_a_minute_are_summed_up_as_asked(cloudwatch: CloudWatchClient) -> None:
    put(cloudwatch, "Time", 1, [1.0, 2.0, 3.0, 4.0], Service="a")
    put(cloudwatch, "Time", 1, [10.0], Service="a")
    put(cloudwatch, "Time", 3, [7.0], Service="a")
    put(cloudwatch, "Time", 3, [900.0], Service="b")
    put(cloudwatch, "Time", 3, [800.0], Service="a", Cluster="c")
    put(cloudwatch, "Time", 11, [600.0], Service="a")  # after the end
    minutes = [NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)]
    for stat, first in {
        "Sum": 20.0, "Average": 4.0, "Minimum": 1.0, "Maximum": 10.0, "SampleCount": 5.0, "p50": 3.0, "p99": 10.0
    }.items():  # fmt: skip
        second = 1.0 if stat == "SampleCount" else 7.0
        assert read(cloudwatch, "Time", stat, Service="a") == [(minutes[0], first), (minutes[1], second)]
    assert read(cloudwatch, "Time", "Sum") == [], "no dimensions are dimensions too"


def test_metrics_are_listed_by_what_is_asked_for(cloudwatch: CloudWatchClient) -> None:
    put(cloudwatch, "Listed", 1, [1.0], Service="a")
    put(cloudwatch, "Listed", 2, [1.0], Service="a")
    put(cloudwatch, "Listed", 1, [1.0], Service="a", Cluster="c")
    put(cloudwatch, "Listed", 1, [1.0])

    def listed(**filters: Any) -> list[dict[str, str]]:
        found = cloudwatch.list_metrics(Namespace="Tramo", MetricName="Listed", **filters)["Metrics"]
        return [{each["Name"]: each["Value"] for each in metric["Dimensions"]} for metric in found]

    assert listed() == [{}, {"Cluster": "c", "Service": "a"}, {"Service": "a"}]
    assert listed(Dimensions=[{"Name": "Cluster"}]) == [{"Cluster": "c", "Service": "a"}]
    assert listed(Dimensions=[{"Name": "Service", "Value": "b"}]) == []
    assert cloudwatch.list_metrics(Namespace="Other")["Metrics"] == []


def test_expressions_are_left_to_moto(cloudwatch: CloudWatchClient) -> None:
    put(cloudwatch, "Added", 1, [1.0, 2.0], Service="a")
    metric: Any = {"Namespace": "Tramo", "MetricName": "Added", "Dimensions": [{"Name": "Service", "Value": "a"}]}
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[
            {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
            {"Id": "e1", "Expression": "m1"},
        ],
        StartTime=NOON,
        EndTime=NOON + timedelta(minutes=10),
    )
    assert [each["Values"] for each in answer["MetricDataResults"]] == [[3.0]]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0.1, 100.0))
def test_a_percentile_is_a_value_with_that_share_at_or_below(values: list[float], percent: float) -> None:
    found = statistic(f"p{percent}", values)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100.0 * (1 - 1e-12)
    assert sum(value < found for value in values) <= len(values) * percent / 100.0 * (1 + 1e-12)


def test_an_unknown_statistic_is_an_error() -> None:
    with pytest.raises(ValueError, match="trimmed"):
        statistic("trimmed", [1.0])
