"""Known traffic, and what CloudWatch knows of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import aws
from tests.support.sidecar import Stage
from tests.support.sidecar import stage as open_stage
from tests.support.waiting import until

TASK = {"ServiceName": "web-svc", "ClusterName": "main"}


@pytest.fixture
def measured(tmp_path: Path, moto_endpoint: str) -> Iterator[Stage]:
    """A sidecar that sends its metrics every now and then."""
    environment = {
        "TRAMO_METRICS": "cloudwatch",
        "TRAMO_METRICS_SECONDS": "0.5",
        "TRAMO_INBOUND": "metered=15100:8080/http",
        "AWS_ENDPOINT_URL_CLOUDWATCH": moto_endpoint,
    }
    with open_stage(tmp_path, **environment) as found:
        yield found


def total(client: Any, name: str, dimensions: dict[str, str], statistic: str = "Sum") -> float:
    """The sum over all time of one metric with exactly these dimensions."""
    now = datetime.now(UTC)
    metric = {
        "Namespace": "Tramo",
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }
    answer = client.get_metric_data(
        MetricDataQueries=[{"Id": "m1", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": statistic}}],
        StartTime=now - timedelta(minutes=30),
        EndTime=now + timedelta(minutes=30),
    )
    return float(sum(answer["MetricDataResults"][0]["Values"]))


def test_every_request_is_counted_once(measured: Stage, moto_endpoint: str) -> None:
    app = measured.backend("app", f"{measured.prefix}.250.2", 8080)
    app.behaviours["/missing"] = lambda peer, request: peer.answer(404)
    ingress = {"id": "self/http", "address": f"{measured.prefix}.250.1", "port": 15100, "state": "ready"}
    address = measured.publish("metered", ingress)
    count = 0
    for _ in range(4):  # while metrics are being sent
        for _ in range(25):
            assert address.get()[0] == 200
        assert address.get("/missing")[0] == 404
        count += 26
        sent = measured.sidecar.page("/stats")[1]["metrics"]["sent"]
        until(lambda sent=sent: measured.sidecar.page("/stats")[1]["metrics"]["sent"] > sent, 10, "a push")  # type: ignore[misc]
    assert measured.sidecar.stop() == 0
    assert len(app.requests) == count
    client = aws.client("cloudwatch", moto_endpoint)
    for extra in ({}, TASK):
        serving, calling = {"DiscoveryName": "metered"} | extra, {"TargetDiscoveryName": "metered"} | extra
        assert total(client, "RequestCount", serving) == count
        assert total(client, "HTTPCode_Target_2XX_Count", calling) == count - 4
        assert total(client, "HTTPCode_Target_4XX_Count", calling) == 4
        assert total(client, "RequestCountPerTarget", calling) == count
        assert total(client, "NewConnectionCount", serving) >= 1
        assert total(client, "ProcessedBytes", serving) > count * 50
        assert total(client, "TargetProcessedBytes", calling) > count * 50
        assert total(client, "TargetResponseTime", calling, "SampleCount") == count
    wanted = [{"Name": "TargetDiscoveryName", "Value": "metered"}]
    names = {metric["MetricName"] for metric in client.list_metrics(Namespace="Tramo", Dimensions=wanted)["Metrics"]}
    assert "HTTPCode_Target_2XX_Count" in names
    assert "HTTPCode_Target_5XX_Count" not in names, "what did not happen is not sent"
