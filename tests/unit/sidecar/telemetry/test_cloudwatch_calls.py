"""What one call to CloudWatch carries: PutMetricData's limits, and the body on the wire."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from typing import Any, cast

import boto3
from botocore.awsrequest import AWSResponse
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.meters import Datum
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.cloudwatch import MAX_DATA_PER_CALL, CloudWatchSink, calls
from tests.support.control_plane.aws import ENVIRONMENT

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


class Empty:
    """The stream of an answer without a body."""

    def stream(self) -> list[bytes]:
        return [b"{}"]


def sent(data: list[Datum]) -> list[tuple[str, bytes]]:
    """Content encoding and body of the HTTP requests that boto3 makes of these data."""
    client: Any = boto3.client(
        "cloudwatch",
        region_name=ENVIRONMENT["AWS_REGION"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        endpoint_url="http://127.0.0.1:9",
    )
    seen: list[tuple[str, bytes]] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        encoding = request.headers.get("Content-Encoding", b"")
        seen.append((encoding.decode(), request.body))
        headers = cast("Any", {"Content-Type": "application/x-amz-json-1.0"})
        return AWSResponse(request.url, 200, headers, cast("Any", Empty()))

    client.meta.events.register("before-send.cloudwatch.PutMetricData", answer)

    async def flush() -> None:
        runtime = Runtime(asyncio.get_running_loop())
        sink = CloudWatchSink(runtime, "Tramo", lambda: data, lambda: client, 60.0)
        await sink.close()
        assert (sink.sent, sink.failures, sink.dropped) == (len(data), 0, 0)

    asyncio.run(flush())
    return seen


def test_the_largest_batch_stays_below_a_megabyte_before_it_is_compressed() -> None:
    requests = sent([datum(150) for _ in range(400)])
    assert len(requests) > 1
    for encoding, body in requests:
        assert encoding == "gzip", "request compression is boto3's default for this call"
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
