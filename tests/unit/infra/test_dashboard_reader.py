"""What the dashboard reads from CloudWatch: known numbers in, plots out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from infra.dashboards.reader import MAX_SERIES, MAX_SERVICES, Page, Plot, Reader, ReadError
from infra.dashboards.widgets import MESH, SERVICE, Graph, Line, Search, Section
from tests.support.control_plane.mesh_metrics import cloudwatch, datum, last_minutes, put

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
TEN = timedelta(minutes=10)
MINUTES = last_minutes(NOW, 10)

SECTIONS = [
    Section(
        "Services",
        "All of them.",
        (
            Graph("Requests", searches=(Search("Tramo", "DiscoveryName", "RequestCount"),)),
            Graph(
                "Times",
                searches=tuple(Search("Tramo", "TargetDiscoveryName", "Time", each) for each in ("p50", "p99")),
                unit="ms",
            ),
            Graph(
                "Repairs",
                searches=tuple(Search("Tramo", "TargetDiscoveryName", each) for each in ("Retries", "Ejections")),
            ),
        ),
    ),
    Section(
        "One service",
        "",
        (
            Graph("Traffic", (Line("Tramo", "RequestCount", {"DiscoveryName": SERVICE}),)),
            Graph("Endpoints", (Line("Tramo", "HealthyEndpoints", {"TargetDiscoveryName": SERVICE}, "Minimum"),)),
        ),
    ),
    Section(
        "Stack",
        "",
        (
            Graph("Age", (Line("Tramo", "SnapshotAge", {}, "Maximum"),)),
            Graph("Errors", (Line("AWS/Lambda", "Errors", {"FunctionName": "${Api}"}),)),
        ),
    ),
]


@pytest.fixture(scope="module")
def client() -> Iterator[CloudWatchClient]:
    with cloudwatch("eu-west-3") as (_, found):
        put(
            found,
            [
                *(datum("RequestCount", at, [10.0 + place], DiscoveryName="web") for place, at in enumerate(MINUTES)),
                datum("RequestCount", MINUTES[2], [5.0, 7.0], DiscoveryName="orders"),
                datum("RequestCount", MINUTES[2], [900.0], DiscoveryName="orders", ServiceName="s", ClusterName="c"),
                datum("RequestCount", NOW, [800.0], DiscoveryName="orders"),
                datum("Time", MINUTES[1], [1.0, 2.0, 50.0], [49.0, 50.0, 1.0], TargetDiscoveryName="orders"),
                datum("Retries", MINUTES[0], [2.0], TargetDiscoveryName="orders"),
                datum("Ejections", MINUTES[9], [1.0], TargetDiscoveryName="orders"),
                datum("HealthyEndpoints", MINUTES[3], [3.0, 2.0], TargetDiscoveryName="orders"),
                datum("SnapshotAge", MINUTES[4], [1.0, 4.0]),
            ],
        )
        yield found


def read(client: CloudWatchClient, service: str = "", **references: str) -> Page:
    return Reader(client, SECTIONS, "test", references, clock=lambda: NOW).read(service, TEN)


def test_another_mesh_has_other_metrics(client: CloudWatchClient) -> None:
    sections = [Section("S", "", (Graph("Requests", (Line(MESH, "SnapshotAge", {}, "Maximum"),)),))]
    for mesh, found in (("Tramo", 1), ("blue", 0)):
        page = Reader(client, sections, "test", clock=lambda: NOW, mesh=mesh).read("", TEN)
        assert len(plot(page, "Requests").series) == found


def plot(page: Page, title: str) -> Plot:
    (found,) = [plot for part in page.parts for plot in part.plots if plot.title == title]
    return found


def test_every_service_is_a_line_and_a_sum_that_was_not_sent_is_zero(client: CloudWatchClient) -> None:
    page = read(client)
    assert page.services == ["orders", "web"]
    assert [datetime.fromtimestamp(time, UTC) for time in page.times] == MINUTES
    orders, web = plot(page, "Requests").series
    assert (orders.label, orders.service, web.label) == ("orders", "orders", "web")
    assert orders.values == [0, 0, 12, 0, 0, 0, 0, 0, 0, 0], "neither callers' copies nor the minute that is not over"
    assert web.values == [10.0 + place for place in range(10)]


def test_percentiles_are_told_apart_and_stay_away_where_nothing_was_measured(client: CloudWatchClient) -> None:
    half, most = plot(read(client), "Times").series
    assert (half.label, half.values[1], most.label, most.values[1]) == ("orders p50", 2.0, "orders p99", 2.0)
    assert half.values[0] is None
    assert half.values[2:] == [None] * 8


def test_lines_of_several_metrics_say_which(client: CloudWatchClient) -> None:
    assert [each.label for each in plot(read(client), "Repairs").series] == ["orders Retries", "orders Ejections"]


def test_the_one_service_is_the_first_or_the_one_that_is_chosen(client: CloudWatchClient) -> None:
    assert read(client).service == read(client, "nobody").service == "orders"
    assert plot(read(client), "Endpoints").series[0].values[3] == 2.0
    page = read(client, "web")
    assert page.service == "web"
    assert plot(page, "Traffic").series[0].values[0] == 10.0
    assert plot(page, "Endpoints").empty == "Nothing in this time"


def test_what_has_no_dimension_is_read_too(client: CloudWatchClient) -> None:
    assert plot(read(client), "Age").series[0].values[4] == 4.0


def test_a_resource_of_the_stack_must_be_known(client: CloudWatchClient) -> None:
    assert "--stack" in plot(read(client), "Errors").empty
    put_elsewhere = datum("Errors", MINUTES[0], [3.0], FunctionName="tramo-Api-1")
    client.put_metric_data(Namespace="AWS/Lambda", MetricData=[put_elsewhere])  # type: ignore[list-item]
    (errors,) = plot(read(client, Api="tramo-Api-1"), "Errors").series
    assert errors.values == [3.0] + [None] * 9, "AWS sends its zeros"


def test_large_meshes_are_bounded() -> None:
    with cloudwatch("ap-south-1") as (_, client):
        names = [f"service-{number:03}" for number in range(MAX_SERVICES + 3)]
        put(
            client,
            [
                datum(metric, MINUTES[0], [1.0 + number], **{key: name})
                for number, name in enumerate(names)
                for key, metric in (("DiscoveryName", "RequestCount"), ("TargetDiscoveryName", "Time"))
            ],
        )
        many = [Graph(f"{each}", SECTIONS[0].graphs[1].lines, SECTIONS[0].graphs[1].searches) for each in range(2)]
        section = Section("Services", "", (SECTIONS[0].graphs[0], *many))
        page = Reader(client, [section], "test", clock=lambda: NOW).read("", TEN)
        assert (page.services, page.services_left_out) == (names, 3)
        shown = plot(page, "Requests")
        assert (len(shown.series), shown.left_out) == (MAX_SERIES, MAX_SERVICES - MAX_SERIES)
        assert shown.series[-1].label == f"service-{MAX_SERVICES - 1:03}", "the highest ones stay"


def test_a_cloudwatch_that_is_away_is_an_error_that_says_so() -> None:
    client: CloudWatchClient = boto3.client(
        "cloudwatch",
        endpoint_url="http://127.0.0.1:9",  # discard: nobody listens
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ReadError, match=r"127\.0\.0\.1:9"):
        Reader(client, SECTIONS, "test").read("", TEN)
