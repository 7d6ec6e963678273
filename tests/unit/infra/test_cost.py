"""A month's bill, held against sums by hand from the price lists."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import cost
from infra.cli import cost_table
from infra.cli.main import main
from infra.cli.tables import show
from infra.cost import API_REQUESTS, CUSTOM_METRICS, Line, Use, discovery_dollars, monthly, tiered
from sidecar.core.meters import Meters
from sidecar.telemetry.emf import documents

LOG_LINE_BYTES = 26  # that CloudWatch Logs adds to each event


def lines(use: Use) -> dict[tuple[str, str, str], Line]:
    found = {(line.service, line.what, line.unit): line for line in monthly(use)}
    assert len(found) == len(monthly(use))
    return found


def test_ten_thousand_sidecars_that_poll_every_ten_seconds() -> None:
    found = lines(Use(sidecars=10_000, poll_seconds=10, changes_per_hour=0))
    requests = found["API Gateway", "polls (REST API)", "requests"]
    assert requests.quantity == 2_628_000_000  # 10,000 * 730 h * 360
    # 333 M at 3.50, 667 M at 2.80, 1,628 M at 2.38
    assert requests.dollars == pytest.approx(1_165.50 + 1_867.60 + 3_874.64)
    assert found["Lambda", "polls", "requests"].dollars == pytest.approx(525.60)
    assert found["Lambda", "polls", "GB-s"].dollars == pytest.approx(2_628e6 * 0.015 * 0.5 * 0.0000166667)
    assert found["DynamoDB", "polls", "RRU"].dollars == pytest.approx(164.25)
    assert found["Data transfer", "answers to polls", "GB"].dollars == pytest.approx(1_314 * 0.09)
    # 10,000 * 730 * 60 calls at a cent for a thousand
    assert found["CloudWatch", "PutMetricData", "requests"].dollars == pytest.approx(4_380.00)
    # 100 services * 12 metrics * 2 sets of dimensions
    assert found["CloudWatch", "custom metrics", "metrics"].dollars == pytest.approx(720.00)
    # 43,800 sweeps of 10,000 tasks
    assert found["DynamoDB", "sweeps", "RRU"].dollars == pytest.approx(43_800 * 900 * 0.125e-6)
    assert {line.dollars for line in found.values() if line.what == "changes"} == {0.0}


def test_changes_cost_events_writes_and_longer_answers() -> None:
    quiet = lines(Use(sidecars=10, poll_seconds=10, changes_per_hour=0))
    busy = lines(Use(sidecars=10, poll_seconds=10, changes_per_hour=100))
    assert busy["DynamoDB", "changes", "WRU"].quantity == 73_000 * 7
    assert busy["Lambda", "changes", "requests"].quantity == 73_000 * 4
    key = ("Data transfer", "answers to polls", "GB")
    assert (busy[key].quantity - quiet[key].quantity) * 1e9 == pytest.approx(10 * 73_000 * 1_100)
    # A sidecar asks 360 times an hour: more changes than that share their answers.
    most = lines(Use(sidecars=10, poll_seconds=10, changes_per_hour=360))
    assert lines(Use(sidecars=10, poll_seconds=10, changes_per_hour=9_999))[key].quantity == most[key].quantity


def test_ten_thousand_sidecars_that_read_the_feed_every_second() -> None:
    found = lines(Use(sidecars=10_000, poll_seconds=5, changes_per_hour=500, feed="on-demand"))
    # 10,000 * 730 h * 3,600 readings of half a unit
    assert found["DynamoDB", "feed, every reading", "RRU"].dollars == pytest.approx(13_140e6 * 0.125e-6)
    # 10,000 * 730 h * 500 news of 12 KB: services have a hundred endpoints
    assert found["DynamoDB", "feed, news", "RRU"].dollars == pytest.approx(3_650e6 * 1.5 * 0.125e-6)
    # 365,000 changes to 8 copies of 13 units
    assert found["DynamoDB", "feed", "WRU"].dollars == pytest.approx(37.96e6 * 0.625e-6)
    assert found["S3", "whole snapshots written", "requests"].dollars == pytest.approx(0.9125)
    assert not [key for key in found if key[1].startswith("polls")]


@pytest.mark.parametrize(
    ("services", "units", "written"), [(1_000, 0.5, 5), (200, 1.0, 8), (100, 1.5, 13), (10, 1.5, 13)]
)
def test_news_are_as_large_as_services_are(services: int, units: float, written: int) -> None:
    use = Use(sidecars=10_000, poll_seconds=5, changes_per_hour=1, services=services, feed="on-demand")
    found = lines(use)
    assert found["DynamoDB", "feed, news", "RRU"].quantity == pytest.approx(10_000 * 730 * units)
    assert found["DynamoDB", "feed", "WRU"].quantity == pytest.approx(730 * 8 * written)


def test_provisioned_reads_are_a_third_of_the_price_and_keep_to_the_goals() -> None:
    every_second = Use(sidecars=10_000, poll_seconds=5, changes_per_hour=500, feed="provisioned")
    found = lines(every_second)
    units = (13_140e6 + 3_650e6 * 1.5 + 8 * (365_000 + 43_800)) / (730 * 3_600)
    assert found["DynamoDB", "feed", "RCU"].quantity == pytest.approx(units * 1.2)
    assert found["DynamoDB", "feed", "RCU"].dollars == pytest.approx(units * 1.2 * 730 * 0.00013)
    assert discovery_dollars(every_second) / 10_000 < 0.10
    assert discovery_dollars(replace(every_second, services=1_000)) / 10_000 < 0.08
    assert discovery_dollars(replace(every_second, read_seconds=2.0)) / 10_000 < 0.06
    assert discovery_dollars(replace(every_second, feed="off")) / 10_000 > 1.5


def test_polls_may_go_through_a_nat_gateway_and_changes_are_traced_and_logged() -> None:
    found = lines(Use(sidecars=10, poll_seconds=10, changes_per_hour=100))
    polls = 10 * 730 * 360
    sent = found["Data transfer", "answers to polls", "GB"].quantity
    assert found["NAT gateway", "polls", "GB"].quantity == pytest.approx(sent + polls * 1_478 / 1e9)
    # 73,000 changes of 3 events and 1 publication each, one in twenty traced
    assert found["X-Ray", "changes", "traces"].dollars == pytest.approx(73_000 * 4 * 0.05 * 5e-6)
    assert found["API Gateway", "health reports (REST API)", "requests"].quantity == 219_000
    assert found["CloudWatch Logs", "changes", "GB"].quantity == pytest.approx(73_000 * 7 * 1_500 / 1e9)


def test_metrics_in_log_lines_or_none() -> None:
    emf = lines(Use(sidecars=10_000, poll_seconds=10, changes_per_hour=0, metrics="emf"))
    # 438 M times 1.8 kB, and 5 kB for each of two services called
    assert emf["CloudWatch", "metrics in log lines", "GB"].dollars == pytest.approx(438 * 11.8 * 0.5)
    assert ("CloudWatch", "PutMetricData", "requests") not in emf
    off = Use(sidecars=10_000, poll_seconds=10, changes_per_hour=0, metrics="off")
    assert "CloudWatch" not in {line.service for line in monthly(off)}


@pytest.mark.parametrize(
    ("quantity", "dollars"),
    [(0, 0), (1e6, 3.5), (333e6, 1165.5), (334e6, 1168.3), (1_000e6, 3033.1), (2_000e6, 5413.1)],
)
def test_the_price_falls_in_steps(quantity: float, dollars: float) -> None:
    assert tiered(quantity, API_REQUESTS) == pytest.approx(dollars)


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_more_never_costs_less_and_never_more_than_at_the_first_price(one: float, other: float) -> None:
    for tiers in (API_REQUESTS, CUSTOM_METRICS):
        low, high = sorted((tiered(one, tiers), tiered(other, tiers)))
        assert (low, high) == tuple(tiered(each, tiers) for each in sorted((one, other)))
        assert high <= max(one, other) * tiers[0][1] * (1 + 1e-9)
        assert math.isfinite(high)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--sidecars", "10000", "--poll", "10", "--changes-per-hour", "500", "--feed", "off"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["SERVICE", "WHAT", "A", "MONTH", "UNIT", "DOLLARS"]
    assert out[1].split() == ["API", "Gateway", "polls", "(REST", "API)", "2.6", "G", "requests", "6907.74"]
    assert out[-1] == cost_table.NOTE
    assert [line.split()[0] for line in out[-4:-2]] == ["total", "per"]


def test_the_sum_is_of_all_lines() -> None:
    use = Use(sidecars=200, poll_seconds=5, changes_per_hour=60)
    stream = io.StringIO()
    show(stream, "json", cost_table.COLUMNS, cost_table.rows(use))
    found: list[dict[str, Any]] = json.loads(stream.getvalue())
    total = sum(line.dollars for line in monthly(use))
    assert found[-2]["dollars"] == f"{total:.2f}"
    assert found[-1]["dollars"] == f"{total / 200:.4f}"


@pytest.mark.parametrize("arguments", [["--sidecars", "0"], ["--sidecars", "x"], ["--poll", "0"], ["--metrics", "all"]])
def test_senseless_fleets_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["cost", "--sidecars", "10", *arguments])
    assert error.value.code == 64
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("quantity", "text"), [(0.25, "0.2"), (999, "999.0"), (1_000, "1.0 k"), (52_560e6, "52.6 G"), (2.5e6, "2.5 M")]
)
def test_quantities_are_shortened(quantity: float, text: str) -> None:
    assert cost_table.short(quantity) == text


def test_log_lines_grow_with_the_services_called_and_calls_do_not() -> None:
    """The figures of the model are those of what a busy sidecar sends."""
    for called, cheaper in ((0, "emf"), (2, "emf"), (5, "cloudwatch"), (50, "cloudwatch")):
        use = Use(sidecars=1, poll_seconds=5, changes_per_hour=0, called=called)
        dollars = {sink: _sent(replace(use, metrics=sink)) for sink in ("cloudwatch", "emf")}
        assert min(dollars, key=lambda sink: dollars[sink]) == cheaper
    assert _sent(Use(sidecars=1, poll_seconds=5, changes_per_hour=0, called=82)) > 0.8, "more than 1,000 values"


def _sent(use: Use) -> float:
    return sum(line.dollars for line in monthly(use) if line.service == "CloudWatch" and line.what != "custom metrics")


@pytest.mark.parametrize("called", [0, 2, 10])
def test_what_a_busy_sidecar_sends_is_what_the_model_says(called: int) -> None:
    meters = Meters("orders-svc", "main")
    server = meters.server("orders")
    server.active_connections, server.connections, server.bytes, server.requests = 5, 3, 900_000, 6000
    for number in range(called):
        client = meters.client(f"service-{number}")
        client.requests = client.zone_known = client.zone_local = 6000
        client.bytes, client.healthy = 90_000, 3
        for each in range(6000):  # 10 ms in the middle, 50 ms for the slowest of 100
            client.answered(200, 0.010 * math.exp(0.7 * NormalDist().inv_cdf((each + 0.5) / 6000)))
    meters.sidecar.snapshot_age, meters.sidecar.snapshot_revision, meters.sidecar.memory = 1.0, 42, 60 << 20
    meters.sidecar.cpu_seconds, meters.sidecar.uptime = 0.4, 60.0
    data = meters.take()
    lines = [json.dumps(document, separators=(",", ":")) for document in documents("Tramo", data, 1_795_348_800.0)]
    sent = sum(len(line) + LOG_LINE_BYTES for line in lines)
    assert len(data) == pytest.approx(cost.VALUES + called * cost.VALUES_PER_CALLED, abs=3 + called)
    assert sent == pytest.approx(cost.EMF_BYTES + called * cost.EMF_BYTES_PER_CALLED, rel=0.2)
