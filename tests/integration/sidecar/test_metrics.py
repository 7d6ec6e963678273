"""Known traffic, and what CloudWatch knows of it afterwards."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from h2.errors import ErrorCodes

from tests.support.control_plane import aws
from tests.support.proxy.sidecar import Address, Peer, Request, Stage, endpoint, receive_all
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until
from tests.support.wire.http2_server import Http2Server
from tests.support.wire.http2_server import Request as Http2Request

TASK = {"ServiceName": "web-svc", "ClusterName": "main"}
Counts = dict[tuple[str, str], dict[str, float]]
"""By dimension and service: numbers by metric."""


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


class Greeter(grpc.GenericRpcHandler):  # type: ignore[misc]  # its base has no types
    """Answers /greet, and says NOT_FOUND to all other methods."""

    def service(self, handler_call_details: Any) -> Any:
        def greet(request: bytes, context: Any) -> bytes:
            if handler_call_details.method != "/test/greet":
                context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
            return b"hello " + request

        return grpc.unary_unary_rpc_method_handler(greet)


@contextmanager
def grpc_app(address: str) -> Iterator[None]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Greeter()])
    server.add_insecure_port(address)
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait(5)


def call(address: Address, method: str) -> Any:
    """The status of one unary call on a connection of its own."""
    with grpc.insecure_channel(f"{address.host}:{address.port}") as channel:
        try:
            channel.unary_unary(method)(b"you", timeout=60)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def echo(connection: socket.socket) -> None:
    while data := connection.recv(100):
        connection.sendall(data * 2)


def read_back(client: Any, expected: Counts, extra: dict[str, str]) -> Counts:
    """What CloudWatch knows of the metrics that are expected, in the dimension set with these dimensions more."""
    return {
        (key, service): {name: total(client, name, {key: service} | extra) for name in names}
        for (key, service), names in expected.items()
    }


def test_traffic_of_every_kind_is_counted_exactly(tmp_path: Path, moto_endpoint: str) -> None:
    environment = {
        "TRAMO_METRICS": "cloudwatch",
        "TRAMO_METRICS_SECONDS": "3600",  # all is sent at the end
        "TRAMO_INBOUND": "every-h1=15100:8080/http,every-tcp=15101:8081/tcp,every-grpc=15102:8082/grpc",
        "AWS_ENDPOINT_URL_CLOUDWATCH": moto_endpoint,
    }
    with open_stage(tmp_path, **environment) as stage, grpc_app(f"{stage.prefix}.250.2:8082"):
        app = stage.backend("app", f"{stage.prefix}.250.2", 8080)
        raw = stage.backend("raw", f"{stage.prefix}.250.2", 8081)
        raw.raw = echo
        stage.wait_open(8082)
        released = threading.Event()
        flaky = [200, 503] * 4

        def slow(peer: Peer, request: Request) -> None:
            released.wait(10)
            peer.answer(200)

        app.behaviours["/missing"] = lambda peer, request: peer.answer(404)
        app.behaviours["/bad"] = lambda peer, request: peer.answer(500)
        app.behaviours["/flaky"] = lambda peer, request: peer.answer(flaky.pop())
        app.behaviours["/reset"] = lambda peer, request: peer.reset()
        app.behaviours["/slow"] = slow

        def ingress(port: int) -> dict[str, Any]:
            return endpoint("self", f"{stage.prefix}.250.1", port)

        policy = {"timeouts": {"request_seconds": 2.0}, "outlier_detection": {"consecutive_failures": 0}}
        http = stage.publish("every-h1", ingress(15100), policy=policy)
        tcp = stage.publish("every-tcp", ingress(15101), protocol="tcp", port=5432)
        calls = stage.publish("every-grpc", ingress(15102), protocol="grpc", port=50051)
        assert [http.get()[0] for _ in range(20)] == [200] * 20
        assert [http.get("/missing")[0] for _ in range(3)] == [404] * 3
        assert [http.get("/bad", "POST", b"x")[0] for _ in range(2)] == [500] * 2
        assert [http.get("/flaky")[0] for _ in range(4)] == [200] * 4
        assert [http.get("/reset", "POST", b"x")[0] for _ in range(2)] == [502] * 2
        assert http.get("/slow")[0] == 504
        for _ in range(3):
            with tcp.socket() as client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                assert receive_all(client) == b"hello" * 2
        assert [call(calls, "/test/greet") for _ in range(6)] == [grpc.StatusCode.OK] * 6
        assert [call(calls, "/test/other") for _ in range(2)] == [grpc.StatusCode.NOT_FOUND] * 2
        until(lambda: stage.sidecar.page("/stats")[1]["work"] == 0, 5, "all requests to end")
        released.set()
        assert stage.sidecar.stop() == 0
    cloudwatch = aws.client("cloudwatch", moto_endpoint)
    expected: Counts = {
        ("DiscoveryName", "every-h1"): {
            "RequestCount": 20 + 3 + 2 + 4 * 2 + 2,  # attempts arrive one by one
            "ResponseFlag_UC_Count": 2,
            "ResponseFlag_DC_Count": 1,  # the caller's time was over
            "GrpcRequestCount": 0,
        },
        ("TargetDiscoveryName", "every-h1"): {
            "RequestCountPerTarget": 32,
            "HTTPCode_Target_2XX_Count": 24,
            "HTTPCode_Target_3XX_Count": 0,
            "HTTPCode_Target_4XX_Count": 3,
            "HTTPCode_Target_5XX_Count": 4,
            "Retries": 4,
            "RequestTimeouts": 1,
            "ResponseFlag_UT_Count": 1,
            "ConnectErrors": 0,
            "RetryBudgetExhausted": 0,
            "HealthyEndpoints": 1,
        },
        ("DiscoveryName", "every-tcp"): {"NewConnectionCount": 3, "ProcessedBytes": 45, "RequestCount": 0},
        ("TargetDiscoveryName", "every-tcp"): {"TargetProcessedBytes": 45, "RequestCountPerTarget": 3},
        ("DiscoveryName", "every-grpc"): {"RequestCount": 8, "GrpcRequestCount": 8},
        ("TargetDiscoveryName", "every-grpc"): {
            "HTTPCode_Target_2XX_Count": 6,
            "HTTPCode_Target_4XX_Count": 2,  # NOT_FOUND, in answers whose own status is 200
            "RequestCountPerTarget": 8,
        },
    }
    for extra in ({}, TASK):
        assert read_back(cloudwatch, expected, extra) == expected
        times = {"TargetDiscoveryName": "every-h1"} | extra
        assert total(cloudwatch, "TargetResponseTime", times, "SampleCount") == 24 + 3 + 4
    revision = total(cloudwatch, "SnapshotRevision", TASK, "Maximum")
    assert revision == 4, "one for each service that was published"
    assert total(cloudwatch, "SidecarMemory", TASK, "Maximum") > 2**20
    assert 0 < total(cloudwatch, "SidecarCpu", TASK, "Maximum") <= 200


def test_http2_is_counted_exactly(tmp_path: Path, moto_endpoint: str) -> None:
    environment = {
        "TRAMO_METRICS": "cloudwatch",
        "TRAMO_METRICS_SECONDS": "3600",  # all is sent at the end
        "TRAMO_INBOUND": "every-h2=15100:8080/http2",
        "AWS_ENDPOINT_URL_CLOUDWATCH": moto_endpoint,
    }
    with open_stage(tmp_path, **environment) as stage, httpx.Client(http1=False, http2=True, trust_env=False) as client:
        app = Http2Server("app", f"{stage.prefix}.250.2", port=8080)
        stage.wait_open(8080)
        flaky, refusing = [200, 503] * 4, [True, False] * 4

        def refuse_first(request: Http2Request) -> None:
            if refusing.pop():
                request.peer.answer(request.stream, 200)
            else:
                request.peer.reset(request.stream, ErrorCodes.REFUSED_STREAM)

        app.behaviours["/moved"] = lambda request: request.peer.answer(request.stream, 301)
        app.behaviours["/missing"] = lambda request: request.peer.answer(request.stream, 404)
        app.behaviours["/bad"] = lambda request: request.peer.answer(request.stream, 500)
        app.behaviours["/flaky"] = lambda request: request.peer.answer(request.stream, flaky.pop())
        app.behaviours["/refused"] = refuse_first
        app.behaviours["/reset"] = lambda request: request.peer.reset(request.stream, ErrorCodes.INTERNAL_ERROR)
        app.behaviours["/slow"] = lambda request: None
        policy = {"timeouts": {"request_seconds": 1.0}, "outlier_detection": {"consecutive_failures": 0}}
        ingress = endpoint("self", f"{stage.prefix}.250.1", 15100)
        address = stage.publish("every-h2", ingress, protocol="http2", policy=policy)

        def call(method: str, path: str) -> int:
            body = b"x" * 1000 if method == "POST" else b""
            return client.request(method, f"http://{address.host}:{address.port}{path}", content=body).status_code

        assert [call("POST", "/echo") for _ in range(20)] == [200] * 20
        assert [call("GET", "/moved") for _ in range(5)] == [301] * 5
        assert [call("GET", "/missing") for _ in range(3)] == [404] * 3
        assert [call("POST", "/bad") for _ in range(2)] == [500] * 2
        assert [call("GET", "/flaky") for _ in range(4)] == [200] * 4
        assert [call("POST", "/refused") for _ in range(4)] == [200] * 4
        assert [call("POST", "/reset") for _ in range(2)] == [502] * 2
        assert call("POST", "/slow") == 504
        until(lambda: stage.sidecar.page("/stats")[1]["work"] == 0, 5, "all requests to end")
        assert stage.sidecar.stop() == 0
        app.close()
    expected: Counts = {
        ("DiscoveryName", "every-h2"): {
            "NewConnectionCount": 1,
            "RequestCount": 20 + 5 + 3 + 2 + 4 * 2 + 4 + 2,  # what the app refused its own sidecar has tried again
            "GrpcRequestCount": 0,
            "ResponseFlag_UC_Count": 2,
            "ResponseFlag_DC_Count": 1,  # the caller's time was over
        },
        ("TargetDiscoveryName", "every-h2"): {
            "RequestCountPerTarget": 41,
            "HTTPCode_Target_2XX_Count": 28,
            "HTTPCode_Target_3XX_Count": 5,
            "HTTPCode_Target_4XX_Count": 3,
            "HTTPCode_Target_5XX_Count": 4,
            "Retries": 4,
            "RequestTimeouts": 1,
            "ResponseFlag_UT_Count": 1,
            "ConnectErrors": 0,
            "HealthyEndpoints": 1,
        },
    }
    cloudwatch = aws.client("cloudwatch", moto_endpoint)
    for extra in ({}, TASK):
        assert read_back(cloudwatch, expected, extra) == expected
        calling = {"TargetDiscoveryName": "every-h2"} | extra
        sent = total(cloudwatch, "TargetProcessedBytes", calling)
        assert sent > 20 * 2 * 1000, "both ways"
        assert sent == total(cloudwatch, "ProcessedBytes", {"DiscoveryName": "every-h2"} | extra), "one connection"
        assert total(cloudwatch, "TargetResponseTime", calling, "SampleCount") == 28 + 5 + 3 + 4
