"""What one call to CloudWatch carries: PutMetricData's limits, and the body on the wire."""

from __future__ import annotations

import asyncio
import gzip
import json
import random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.meters import Datum
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.cloudwatch import MAX_DATA_PER_CALL, CloudWatchSink, calls
from sidecar.telemetry.put_metric_data import PutMetricData
from tests.support.wire.fake_http import FakeHttp, given_credentials

SEEDED = random.Random(7)  # noqa: S311 - a seed makes tests repeatable
DIMENSIONS = (("TargetDiscoveryName", "orders"), ("ServiceName", "orders-service"), ("ClusterName", "main"))


def datum(values: int) -> Datum:
    return Datum(
        "TargetResponseTime",
        "Milliseconds",
        DIMENSIONS,
        [SEEDED.random() * 1e6 for _ in range(values)],
        [float(SEEDED.randrange(1, 10**9)) for _ in range(values)],
    )


def sent(data: list[Datum]) -> list[tuple[str, bytes]]:
    """Content encoding and body of the HTTP requests that are made of these data."""

    async def flush(url: str) -> None:
        runtime = Runtime(asyncio.get_running_loop())
        put = PutMetricData("eu-west-1", given_credentials(), url)
        sink = CloudWatchSink(runtime, "Tramo", lambda: data, put, 60.0)
        await sink.close()
        assert (sink.sent, sink.failures, sink.dropped) == (len(data), 0, 0)

    with FakeHttp() as cloudwatch:
        asyncio.run(flush(cloudwatch.origin))
        return [(fields.get("content-encoding", ""), body) for _, _, fields, body in cloudwatch.requests]


def test_the_largest_batch_stays_below_a_megabyte_before_it_is_compressed() -> None:
    requests = sent([datum(150) for _ in range(400)])
    assert len(requests) > 1
    for encoding, body in requests:
        assert encoding == "gzip"
        assert len(body) < len(gzip.decompress(body)) < 1_000_000


def test_a_minute_of_a_busy_sidecar_is_one_call() -> None:
    (request,) = sent([datum(60) for _ in range(40)] + [datum(1) for _ in range(900)])
    document = json.loads(gzip.decompress(request[1]))
    assert document["Namespace"] == "Tramo"
    assert len(document["MetricData"]) == 940


@given(st.lists(st.integers(1, 150), max_size=2500))
def test_no_call_is_larger_than_cloudwatch_takes(sizes: list[int]) -> None:
    data = [Datum("M", "Count", DIMENSIONS, [1.0] * size, [1.0] * size) for size in sizes]
    found = calls(data)
    assert [each for part in found for each in part] == data
    assert all(0 < len(part) <= MAX_DATA_PER_CALL for part in found)
