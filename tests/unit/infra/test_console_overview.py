"""All services from CloudWatch: known meshes in, rows and edges out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import pytest
from botocore.exceptions import ClientError

from infra.console import overview
from infra.console.mesh import State
from infra.console.metrics import PARALLEL_CALLS, MetricReader, ReadError, Times
from infra.console.overview import METRICS_PER_PERIOD, Overview, Registered, Row
from tests.support.control_plane.fake_cloudwatch import FakeCloudWatch
from tests.support.control_plane.mesh_metrics import datum, last_minutes
from tests.support.control_plane.meshes import Call, data, shop, thousand

NOW: Final = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MINUTES: Final = last_minutes(NOW, 10)
WINDOW: Final = timedelta(minutes=10)


def read(found: Iterable[dict[str, Any]], registered: Iterable[Registered] = ()) -> Overview:
    reader = MetricReader(cast("Any", FakeCloudWatch(found)), lambda: NOW)
    return overview.read(reader, "test", WINDOW, 60, list(registered))


def row(mesh: Overview, name: str) -> Row:
    (found,) = [each for each in mesh.services if each.name == name]
    return found


def test_a_row_says_how_a_service_is_now_and_how_it_was_in_the_window() -> None:
    call = Call("web", "orders", 600, 10.0, lambda place: 0.3 if place >= 8 else 0.0)
    mesh = read(data(MINUTES, [call]))
    orders = row(mesh, "orders")
    assert (orders.state, orders.reason) == (State.FAILING, "30 % of calls fail")
    assert orders.since == MINUTES[8].timestamp()
    assert (orders.rate, orders.window_rate) == (10.0, 10.0)
    assert orders.success == pytest.approx(0.7)
    assert orders.window_success == pytest.approx(0.94)
    assert (orders.p50, orders.p95, orders.p99) == (10.0, 19.0, 34.0)
    assert (orders.healthy, orders.protocol, orders.namespaces) == (3.0, "http", [])
    assert mesh.times[mesh.now] == MINUTES[-1].timestamp()


def test_edges_are_what_each_caller_saw_and_callers_that_offer_nothing_are_named() -> None:
    calls = [
        Call("web", "orders", 600),
        Call("orders", "stock", 300, fails=lambda _: 1.0),
        Call("jobs", "orders", 60),
    ]
    mesh = read(data(MINUTES, calls))
    assert [(each.source, each.target, each.rate, each.failed) for each in mesh.edges] == [
        ("jobs", "orders", 1.0, 0.0),
        ("orders", "stock", 5.0, 5.0),
        ("web", "orders", 10.0, 0.0),
    ]
    assert mesh.edges[0].p95 == 19.0
    assert mesh.callers == ["jobs", "web"]
    assert mesh.roots == ["stock"]


def test_an_ecs_service_is_known_by_the_names_that_it_offers() -> None:
    offered = [
        datum("NewConnectionCount", at, [1.0], DiscoveryName=name, ServiceName="shop-api", ClusterName="shop")
        for at in MINUTES
        for name in ("orders", "baskets")
    ]
    mesh = read([*offered, *data(MINUTES, [Call("shop-api", "stock", 60)])])
    assert [(each.source, each.target) for each in mesh.edges] == [("baskets", "stock"), ("orders", "stock")]


def test_a_dead_tcp_service_looks_dead() -> None:
    alive = Call("web", "cache", 120, tcp=True)
    dead = Call("web", "queue", 120, fails=lambda _: 1.0, flag="UF", healthy=0.0, tcp=True)
    mesh = read(data(MINUTES, [alive, dead]))
    assert (row(mesh, "cache").state, row(mesh, "cache").protocol, row(mesh, "cache").success) == (
        State.HEALTHY,
        "tcp",
        1,
    )
    queue = row(mesh, "queue")
    assert (queue.state, queue.protocol, queue.reason) == (State.FAILING, "tcp", "no healthy endpoint")
    assert (queue.rate, queue.success) == (2.0, 0.0)
    assert mesh.roots == ["queue"]
    rates = {each.target: (each.rate, each.failed) for each in mesh.edges}
    assert rates == {"cache": (2.0, 0.0), "queue": (2.0, 2.0)}


def test_a_service_that_only_others_call_has_traffic_and_no_success() -> None:
    served = [datum("RequestCount", at, [120.0], DiscoveryName="web") for at in MINUTES]
    web = row(read([*served, *data(MINUTES, [Call("web", "orders", 60)])]), "web")
    assert (web.state, web.rate, web.success, web.window_success) == (State.HEALTHY, 2.0, None, None)


def test_where_nothing_was_sent_there_is_a_gap() -> None:
    mesh = read(data(MINUTES, [Call("web", "orders", 600)], lambda _, place: place in (3, 4)))
    assert row(mesh, "orders").calls == [10, 10, 10, None, None, 10, 10, 10, 10, 10]
    assert row(mesh, "orders").state is State.HEALTHY


def test_the_registry_adds_protocol_namespace_and_services_without_traffic() -> None:
    registered = [Registered("shop.local", "orders", "grpc", 2, 3), Registered("shop.local", "idle", "tcp", 0, 1)]
    mesh = read(data(MINUTES, [Call("web", "orders", 600)]), registered)
    orders, idle = row(mesh, "orders"), row(mesh, "idle")
    assert (orders.protocol, orders.namespaces, orders.ready, orders.endpoints) == ("grpc", ["shop.local"], 2, 3)
    assert (idle.state, idle.ready, idle.rate) == (State.IDLE, 0, None)


def test_the_cause_in_a_shop_is_found_among_all_that_fail_with_it() -> None:
    mesh = read(shop(MINUTES, stock_fails=5))
    assert {each.name for each in mesh.services if each.state is State.FAILING} == {
        "stock",
        "orders",
        "cart",
        "catalog",
    }
    assert mesh.roots == ["stock"]
    assert row(mesh, "stock").since == MINUTES[5].timestamp()


def test_a_thousand_services_are_read_in_full_calls_within_the_limits() -> None:
    client = FakeCloudWatch(thousand(MINUTES[-2:]))
    reader = MetricReader(cast("Any", client), lambda: NOW)
    mesh = overview.read(reader, "test", WINDOW, 60)
    assert len(mesh.services) == 1000
    assert len(mesh.edges) == 1899
    assert mesh.roots == ["svc0500"]
    assert {each.name for each in mesh.services if each.state is State.FAILING} == {"svc0399", "svc0400", "svc0500"}
    assert row(mesh, "svc0999").rate == pytest.approx(900 + 899)
    assert mesh.metrics == reader.asked
    assert client.most_at_once <= PARALLEL_CALLS
    assert mesh.next_read == 60 * -(-mesh.metrics // METRICS_PER_PERIOD)
    listed = client.calls.count("list_metrics")
    overview.read(reader, "test", WINDOW, 60)
    assert client.calls.count("list_metrics") == listed, "the list is kept"


def test_what_aws_refuses_is_an_error_that_says_so() -> None:
    client = FakeCloudWatch(data(MINUTES, [Call("web", "orders", 6)]))
    client.error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListMetrics")
    reader = MetricReader(cast("Any", client), lambda: NOW)
    with pytest.raises(ReadError, match="AccessDenied"):
        reader.listed(WINDOW)
    with pytest.raises(ReadError, match="AccessDenied"):
        reader.values([next(iter(_metrics()))], Times.until(NOW.timestamp(), WINDOW, 60))


def _metrics() -> list[Any]:
    from infra.console.metrics import Metric
    from infra.dashboards.widgets import MESH

    return [Metric(MESH, "RequestCount", (("DiscoveryName", "orders"),), "Sum")]
