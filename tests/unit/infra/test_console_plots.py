"""The console's plots: known numbers in, series out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import boto3
import pytest
from botocore.config import Config

from infra.console import plots
from infra.console.metrics import MetricReader, ReadError, Times
from infra.console.plots import Plot
from infra.console.service_plots import service_sections
from infra.dashboards.widgets import MESH, SERVICE, Graph, Line, Section
from sidecar.core.metrics import CLIENT_METRICS, SERVER_METRICS
from tests.support.control_plane.mesh_metrics import cloudwatch, datum, last_minutes, put

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NOW: Final = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
TEN: Final = timedelta(minutes=10)
MINUTES: Final = last_minutes(NOW, 10)
SECTIONS: Final = [
    Section(
        "One",
        "",
        (
            Graph("Requests", (Line(MESH, "RequestCount", {"DiscoveryName": SERVICE}),)),
            Graph("Open", (Line(MESH, "ActiveConnectionCount", {"DiscoveryName": SERVICE}),)),
            Graph(
                "Endpoints",
                (Line(MESH, "HealthyEndpoints", {"TargetDiscoveryName": SERVICE}, "Minimum", "healthy"),),
            ),
            Graph("Age", (Line(MESH, "SnapshotAge", {}, "Maximum"),)),
            Graph("Errors", (Line("AWS/Lambda", "Errors", {"FunctionName": "${Api}"}),)),
        ),
    )
]


@pytest.fixture(scope="module")
def client() -> Iterator[CloudWatchClient]:
    with cloudwatch("eu-west-3") as (_, found):
        put(
            found,
            [
                *(datum("RequestCount", at, [60.0], DiscoveryName="web") for at in MINUTES[:5]),
                *(datum("ActiveConnectionCount", at, [8.0], DiscoveryName="web") for at in MINUTES),
                datum("RequestCount", MINUTES[2], [120.0, 60.0], DiscoveryName="orders"),
                datum("RequestCount", MINUTES[2], [900.0], DiscoveryName="orders", ServiceName="s", ClusterName="c"),
                datum("RequestCount", NOW, [800.0], DiscoveryName="orders"),
                datum("HealthyEndpoints", MINUTES[3], [3.0, 2.0], TargetDiscoveryName="orders"),
                datum("SnapshotAge", MINUTES[4], [1.0, 4.0]),
            ],
        )
        yield found


def plot(client: CloudWatchClient, title: str, service: str = "", period: int = 60, **references: str) -> Plot:
    reader = MetricReader(client, lambda: NOW)
    times = Times.until(NOW.timestamp(), TEN, period)
    (part,) = plots.read(reader, SECTIONS, times, reader.listed(TEN), 60, service, references)
    (found,) = [each for each in part.plots if each.title == title]
    return found


def test_counters_are_shown_a_second_and_gaps_stay_gaps(client: CloudWatchClient) -> None:
    requests = plot(client, "Requests", "orders")
    assert requests.unit == "/s"
    (series,) = requests.series
    assert series.values[:3] == [None, None, 3.0], "neither callers' copies nor the minute that is not over"
    assert series.values[3] == 0.0, "others said something of it"
    assert series.values[9] is None


def test_a_sum_that_was_not_sent_is_zero_where_other_metrics_were(client: CloudWatchClient) -> None:
    (series,) = plot(client, "Requests", "web").series
    assert series.values == [1.0] * 5 + [0.0] * 5


def test_what_is_open_is_no_rate_and_is_not_added_up_over_a_long_period(client: CloudWatchClient) -> None:
    short, long = plot(client, "Open", "web"), plot(client, "Open", "web", 300)
    assert (short.unit, short.series[0].values) == ("", [8.0] * 10)
    assert long.series[0].values == [8.0, 8.0]


def test_a_plot_without_values_says_why(client: CloudWatchClient) -> None:
    assert plot(client, "Endpoints", "orders").series[0].values[3] == 2.0
    assert plot(client, "Endpoints", "web").empty == "Nothing in this time"
    assert "--stack" in plot(client, "Errors").empty
    assert plot(client, "Errors", Api="tramo-Api-1").empty == "Nothing in this time"


def test_what_has_no_dimension_is_read_too(client: CloudWatchClient) -> None:
    assert plot(client, "Age").series[0].values[4] == 4.0


def test_all_of_a_service_is_on_its_page() -> None:
    shown = {line.name for section in service_sections() for graph in section.graphs for line in graph.lines}
    known = {metric.name for metric in (*SERVER_METRICS, *CLIENT_METRICS)}
    assert known - shown == {"RequestCountPerTarget"}, "which says less than the answers"


def test_a_cloudwatch_that_is_away_is_an_error_that_says_so() -> None:
    client: CloudWatchClient = boto3.client(
        "cloudwatch",
        endpoint_url="http://127.0.0.1:9",  # discard: nobody listens
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ReadError, match=r"127\.0\.0\.1:9"):
        MetricReader(client).listed(TEN)
