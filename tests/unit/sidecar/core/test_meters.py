"""What is counted, under which names and dimensions."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.flags import NR, UF, URX
from sidecar.core.meters import MAX_DEPARTED, Datum, Meters
from sidecar.core.metrics import COUNT, MESH_WIDE, METRICS, MILLISECONDS

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
    assert {datum.dimensions for datum in data if datum.name not in MESH_WIDE} == {
        (("DiscoveryName", "web"),),
        (("DiscoveryName", "web"), *TASK),
        (("TargetDiscoveryName", "orders"),),
        (("TargetDiscoveryName", "orders"), *TASK),
    }


def test_alarms_find_answers_of_all_services_together() -> None:
    meters = busy()
    meters.client("carts").requests = 1
    meters.client("carts").answered(500, 0.1)
    meters.client("orders").healthy, meters.client("carts").healthy = 3, 2
    meters.client("carts").ejected, meters.client("carts").unhealthy = 1, 4
    data = meters.take()
    assert value(data, "HTTPCode_Target_5XX_Count", ()) == 2.0
    endpoints = ("HealthyEndpoints", "EjectedEndpoints", "UnhealthyEndpoints")
    assert [value(data, name, ()) for name in endpoints] == [5.0, 1.0, 4.0]
    assert {datum.name for datum in data if not datum.dimensions} == MESH_WIDE


def test_the_share_of_the_zone_is_of_each_interval() -> None:
    meters = Meters("web-svc", "main")
    orders = meters.client("orders")
    key = (("TargetDiscoveryName", "orders"),)
    orders.requests = 5
    for zone in ("a", "a", "a", "b", ""):
        orders.tried("a", zone)
    assert value(meters.take(), "ZoneLocalShare", key) == 75.0
    orders.tried("a", "b")
    assert value(meters.take(), "ZoneLocalShare", key) == 0.0, "nothing local is news"
    orders.tried("", "b")
    assert "ZoneLocalShare" not in {datum.name for datum in meters.take()}, "this task's zone is unknown"


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
    assert {datum.name for datum in again} == {"ActiveConnectionCount", "HealthyEndpoints"}, "what is open stays open"
    meters.server("web").requests += 1
    assert value(meters.take(), "RequestCount", (("DiscoveryName", "web"),)) == 1.0


def test_what_did_not_move_is_not_sent() -> None:
    meters = Meters("web-svc", "main")
    meters.server("web")
    meters.client("orders")
    assert meters.take() == []


def test_taking_resets_no_total() -> None:
    meters = busy()
    before = [(metric.name, value) for metric, value in meters.client("orders").rows()]
    meters.take()
    assert [(metric.name, value) for metric, value in meters.client("orders").rows()] == before
    assert meters.client("orders").latency.count == 5


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([200, 302, 404, 500, 503]), st.booleans())))
def test_what_was_taken_in_pieces_is_the_whole(events: list[tuple[int, int, bool]]) -> None:
    meters = Meters("", "")
    client = meters.client("orders")
    taken: Counter[str] = Counter()
    for retries, status, take in [*events, (0, 200, True)]:
        client.requests += 1
        client.retries += retries
        client.answered(status, 0.01)
        client.count_flags((UF, URX))
        if take:
            taken.update(
                {datum.name: sum(datum.counts) * datum.values[0] for datum in meters.take() if datum.dimensions}
            )
    assert taken["Retries"] == client.retries
    assert taken["RequestCountPerTarget"] == taken["ResponseFlag_URX_Count"] == len(events) + 1
    for digit in (2, 3, 4, 5):
        assert taken[f"HTTPCode_Target_{digit}XX_Count"] == client.statuses[digit]


def test_endpoints_are_told_of_services_that_were_called() -> None:
    meters = Meters("", "")
    client = meters.client("orders")
    client.healthy, client.ejected = 3, 1
    assert meters.take() == [], "a metric for every pair of services would be the bill"
    client.requests = 1
    assert value(meters.take(), "HealthyEndpoints", (("TargetDiscoveryName", "orders"),)) == 3.0
    client.healthy = client.ejected = 0
    data = meters.take()
    assert value(data, "HealthyEndpoints", (("TargetDiscoveryName", "orders"),)) == 0.0, "none is what wakes people"
    assert {datum.name for datum in data} == {"HealthyEndpoints"}


def test_the_sidecar_tells_of_itself_without_a_discovery_name() -> None:
    meters = Meters("web-svc", "main")
    own = meters.sidecar
    own.snapshot_age, own.snapshot_revision, own.memory = 2.5, 42, 1000
    own.cpu_seconds, own.uptime = 1.5, 60.0
    own.count_flags((NR,))
    data = meters.take()
    for dimensions in ((), TASK):
        assert value(data, "SnapshotAge", dimensions) == 2.5
        assert value(data, "SnapshotRevision", dimensions) == 42.0
        assert value(data, "SidecarCpu", dimensions) == 2.5, "1.5 of 60 seconds, in per cent"
        assert value(data, "SidecarMemory", dimensions) == 1000.0
        assert value(data, "ResponseFlag_NR_Count", dimensions) == 1.0


def test_every_metric_has_a_name_of_its_own_and_a_meaning() -> None:
    assert len({(metric.key, metric.name) for metric in METRICS}) == len(METRICS)
    assert len({(metric.series, metric.labels) for metric in METRICS}) == len(METRICS)
    assert all(metric.meaning for metric in METRICS)
    assert {metric.name for metric in METRICS} >= SERVICE_CONNECT


def test_a_meter_is_made_once() -> None:
    meters = Meters("", "")
    assert meters.server("web") is meters.server("web")
    assert meters.client("web") is meters.client("web")


def test_units() -> None:
    units = {datum.name: datum.unit for datum in busy().take()}
    assert units["ProcessedBytes"] == units["TargetProcessedBytes"] == "Bytes"
    assert {unit for name, unit in units.items() if name.endswith("Count")} == {COUNT}


def test_the_meter_of_a_service_that_left_stays_for_what_is_under_way() -> None:
    meters = Meters("web-svc", "main")
    meter = meters.client("orders")
    meters.depart("orders")
    meter.requests += 1
    assert value(meters.take(), "RequestCountPerTarget", (("TargetDiscoveryName", "orders"),)) == 1.0


def test_services_that_left_are_forgotten_when_many_have() -> None:
    meters = Meters("web-svc", "main")
    for number in range(MAX_DEPARTED + 5):
        meters.client(f"preview-{number}")
    for number in range(1, MAX_DEPARTED + 5):
        meters.depart(f"preview-{number}")
    meters.client("preview-5")  # is back
    meters.depart("preview-0")
    assert len(meters.clients) == MAX_DEPARTED + 1
    assert {"preview-0", "preview-5"} <= meters.clients.keys()
    assert not {"preview-1", "preview-4"} & meters.clients.keys()
