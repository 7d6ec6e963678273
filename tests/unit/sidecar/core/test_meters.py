"""What is counted, under which names and dimensions."""

from __future__ import annotations

from sidecar.core.meters import COUNT, MILLISECONDS, Datum, Meters

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html, the twelve of Service Connect.
SERVICE_CONNECT = {
    "ActiveConnectionCount",
    "NewConnectionCount",
    "ProcessedBytes",
    "RequestCount",
    "GrpcRequestCount",
    "HTTPCode_Target_2XX_Count",
    "HTTPCode_Target_3XX_Count",
    "HTTPCode_Target_4XX_Count",
    "HTTPCode_Target_5XX_Count",
    "RequestCountPerTarget",
    "TargetProcessedBytes",
    "TargetResponseTime",
}
TASK = (("ServiceName", "web-svc"), ("ClusterName", "main"))


def busy() -> Meters:
    meters = Meters("web-svc", "main")
    server = meters.server("web")
    server.active_connections = 2
    server.connections, server.bytes, server.requests, server.grpc_requests = 3, 400, 5, 1
    client = meters.client("orders")
    client.targets, client.requests, client.bytes = 2, 6, 700
    for status in (200, 201, 304, 404, 503):
        client.answered(status, 0.010)
    client.retries = client.ejections = client.timeouts = client.connect_errors = client.overflows = 1
    return meters


def value(data: list[Datum], name: str, dimensions: object) -> float:
    (found,) = [datum for datum in data if datum.name == name and datum.dimensions == dimensions]
    return sum(value * count for value, count in zip(found.values, found.counts, strict=True))


def test_the_names_of_service_connect_are_all_there() -> None:
    assert {datum.name for datum in busy().take()} >= SERVICE_CONNECT


def test_both_dimension_sets() -> None:
    data = busy().take()
    for dimensions in ((("DiscoveryName", "web"),), (("DiscoveryName", "web"), *TASK)):
        assert value(data, "RequestCount", dimensions) == 5.0
        assert value(data, "ActiveConnectionCount", dimensions) == 2.0
        assert value(data, "ProcessedBytes", dimensions) == 400.0
    for dimensions in ((("TargetDiscoveryName", "orders"),), (("TargetDiscoveryName", "orders"), *TASK)):
        assert value(data, "HTTPCode_Target_2XX_Count", dimensions) == 2.0
        assert value(data, "HTTPCode_Target_5XX_Count", dimensions) == 1.0
        assert value(data, "RequestCountPerTarget", dimensions) == 3.0
        assert value(data, "Retries", dimensions) == 1.0
    assert len({datum.dimensions for datum in data}) == 4


def test_a_task_that_no_service_started_has_one_set() -> None:
    meters = Meters("", "main")
    meters.server("web").requests = 1
    assert [datum.dimensions for datum in meters.take()] == [(("DiscoveryName", "web"),)]


def test_latency_is_a_distribution_in_milliseconds() -> None:
    found = [datum for datum in busy().take() if datum.name == "TargetResponseTime"]
    assert {datum.unit for datum in found} == {MILLISECONDS}
    assert [sum(datum.counts) for datum in found] == [5.0, 5.0]
    assert all(abs(value - 10.0) < 0.4 for datum in found for value in datum.values)


def test_taking_moves_the_counts_out() -> None:
    meters = busy()
    meters.take()
    again = meters.take()
    assert {datum.name for datum in again} == {"ActiveConnectionCount"}, "what is open stays open"
    meters.server("web").requests += 1
    assert value(meters.take(), "RequestCount", (("DiscoveryName", "web"),)) == 1.0


def test_what_did_not_move_is_not_sent() -> None:
    meters = Meters("web-svc", "main")
    meters.server("web")
    meters.client("orders")
    assert meters.take() == []


def test_a_meter_is_made_once() -> None:
    meters = Meters("", "")
    assert meters.server("web") is meters.server("web")
    assert meters.client("web") is meters.client("web")


def test_units() -> None:
    units = {datum.name: datum.unit for datum in busy().take()}
    assert units["ProcessedBytes"] == units["TargetProcessedBytes"] == "Bytes"
    assert {unit for name, unit in units.items() if name.endswith("Count")} == {COUNT}
