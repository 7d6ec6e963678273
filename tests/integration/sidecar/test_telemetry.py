"""What a sidecar tells of itself on its admin port, read as Prometheus reads it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from tests.support.proxy.sidecar import Peer, Request, Stage, receive_until
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until

PARSE: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMTOOL = Path(__file__).parents[3] / ".tools" / "promtool" / "promtool"


def scrape(stage: Stage, accept: str = "*/*") -> tuple[str, str]:
    """Content type and text of /metrics."""
    host, _, port = stage.sidecar.environment["TRAMO_ADMIN"].rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        response = connection.getresponse()
        assert response.status == 200
        return response.headers["content-type"], response.read().decode()
    finally:
        connection.close()


def values(stage: Stage) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    content_type, text = scrape(stage, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    families = PARSE(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for each in families for sample in each.samples
    }


def value(stage: Stage, name: str, **labels: str) -> float:
    return values(stage)[name, frozenset(labels.items())]


def test_metrics_are_there_without_asking(stage: Stage) -> None:
    backend = stage.backend("flag-scraped-1")
    address = stage.publish("flag-scraped", backend)
    assert value(stage, "tramo_client_endpoints", service="flag-scraped", state="healthy") == 1
    for _ in range(7):
        assert address.get()[0] == 200
    assert value(stage, "tramo_client_requests_total", service="flag-scraped") == 7
    assert value(stage, "tramo_client_responses_total", service="flag-scraped", **{"class": "2xx"}) == 7
    assert value(stage, "tramo_client_response_seconds_count", service="flag-scraped") == 7
    assert value(stage, "tramo_snapshot_revision") == stage.sidecar.page("/clusters")[1]["revision"]
    assert 0 <= value(stage, "tramo_snapshot_age_seconds") < 5
    assert value(stage, "process_cpu_seconds_total") > 0
    assert 2**20 < value(stage, "process_resident_memory_bytes") < 2**30


def test_who_does_not_ask_for_openmetrics_gets_the_older_format(stage: Stage) -> None:
    content_type, text = scrape(stage)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert {family.name for family in text_string_to_metric_families(text)} >= {"tramo_snapshot_revision", "tramo_work"}


def test_promtool_finds_nothing_to_say(tmp_path: Path) -> None:
    """It knows Prometheus' rules of naming, of units, of HELP and TYPE. `make setup` puts it there."""
    with open_stage(tmp_path, TRAMO_ACCESS_LOG="json") as stage:
        assert stage.publish("orders", stage.backend("orders-1")).get()[0] == 200
        assert stage.publish("nobody").get()[0] == 503
        text = scrape(stage)[1]
    command = [str(PROMTOOL), "check", "metrics"]
    found = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_ejected_endpoints_are_told(stage: Stage) -> None:
    bad, good = stage.backend("flag-eject-bad"), stage.backend("flag-eject-good")
    bad.behaviours["/"] = lambda peer, request: peer.answer(500)
    policy = {"outlier_detection": {"consecutive_failures": 2}, "load_balancing": {"algorithm": "round_robin"}}
    address = stage.publish("flag-eject", bad, good, policy=policy)
    for _ in range(40):
        address.get()
    assert value(stage, "tramo_client_endpoints", service="flag-eject", state="ejected") == 1
    assert value(stage, "tramo_client_endpoints", service="flag-eject", state="healthy") == 1
    assert value(stage, "tramo_client_ejections_total", service="flag-eject") == 1


def test_endpoints_that_fail_their_health_checks_are_told(stage: Stage) -> None:
    records = [stage.backend(f"health-{state}").record(state) for state in ("ready", "unhealthy", "draining")]
    assert stage.publish("health", *records).get()[0] == 200
    states = ("healthy", "ejected", "unhealthy")
    assert [value(stage, "tramo_client_endpoints", service="health", state=state) for state in states] == [1, 0, 1]


def flags(stage: Stage, service: str) -> dict[str, float]:
    """Response flags of calls to this service that are not zero."""
    wanted = ("service", service)
    return {
        dict(labels)["flag"]: count
        for (name, labels), count in values(stage).items()
        if name == "tramo_client_response_flags_total" and wanted in labels and count
    }


def test_every_failed_or_cut_request_is_flagged(stage: Stage) -> None:
    odd = stage.backend("flags-odd")

    def half(peer: Peer, request: Request) -> None:
        peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        peer.reset()

    def slow(peer: Peer, request: Request) -> None:
        released.wait(10)

    released = threading.Event()
    odd.behaviours["/half"] = half
    odd.behaviours["/reset"] = lambda peer, request: peer.reset()
    odd.behaviours["/noise"] = lambda peer, request: peer.socket.sendall(b"SSH-2.0-what\r\n\r\n")
    odd.behaviours["/slow"] = slow
    odd.behaviours["/busy"] = lambda peer, request: peer.answer(503)
    address = stage.publish("flags", odd, policy={"retries": {"count": 1}})
    assert address.get("/reset", "POST")[0] == 502
    assert flags(stage, "flags") == {"UC": 1}
    assert address.get("/reset")[0] == 502
    assert flags(stage, "flags") == {"UC": 2, "URX": 1}
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        address.get("/half")
    assert flags(stage, "flags") == {"UC": 3, "URX": 1}
    assert address.get("/noise")[0] == 502
    assert address.get("/busy")[0] == 503
    stage.publish("flags", odd, policy={"timeouts": {"request_seconds": 0.3}, "retries": {"count": 1}})
    assert address.get("/slow")[0] == 504
    assert flags(stage, "flags") == {"UC": 3, "URX": 2, "UPE": 1, "UT": 1}
    with address.socket() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
        assert receive_until(client, b"\r\n").startswith(b"HTTP/1.1 400")
    stage.publish("flags", odd)  # no time-out any more that would be first
    with address.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close with RST
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: odd.paths().count("GET /slow") > 1, 5, "the request to arrive")
    until(lambda: "DC" in flags(stage, "flags"), 5, "the disconnect to be counted")
    released.set()
    assert flags(stage, "flags") == {"UC": 3, "URX": 2, "UPE": 1, "UT": 1, "DPE": 1, "DC": 1}


def test_requests_that_reach_nobody_are_flagged(stage: Stage) -> None:
    assert stage.publish("flag-nobody").get()[0] == 503
    assert flags(stage, "flag-nobody") == {"UH": 1}
    refused = stage.publish("flag-refused", stage.refusing("flag-refused-1"), policy={"retries": {"count": 2}})
    assert refused.get()[0] == 503
    assert flags(stage, "flag-refused") == {"UF": 1, "URX": 1}
    assert value(stage, "tramo_client_retries_total", service="flag-refused") == 2
    assert value(stage, "tramo_client_connect_errors_total", service="flag-refused") == 3
    full = stage.publish("flag-full", stage.backend("flag-full-1"), policy={"circuit_breaker": {"max_requests": 0}})
    assert full.get()[0] == 503
    assert flags(stage, "flag-full") == {"UO": 1}


def test_a_used_up_retry_budget_is_counted(stage: Stage) -> None:
    backend = stage.backend("flag-budget-1")
    backend.behaviours["/"] = lambda peer, request: peer.answer(503)
    policy = {"retries": {"count": 1, "budget_percent": 1.0}, "outlier_detection": {"consecutive_failures": 0}}
    address = stage.publish("flag-budget", backend, policy=policy)
    for _ in range(15):
        assert address.get()[0] == 503
    assert value(stage, "tramo_client_retries_total", service="flag-budget") == 10, "what is always allowed"
    assert value(stage, "tramo_client_retry_budget_exhausted_total", service="flag-budget") == 5


def test_the_forward_proxy_counts_names_that_it_does_not_know(stage: Stage) -> None:
    before = value(stage, "tramo_forward_response_flags_total", flag="NR")
    host, _, port = stage.sidecar.environment["TRAMO_FORWARD_PROXY"].rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", "http://nowhere/")
    assert connection.getresponse().status == 404
    connection.close()
    assert value(stage, "tramo_forward_response_flags_total", flag="NR") == before + 1


def test_metrics_as_lines_on_stdout(tmp_path: Path) -> None:
    with open_stage(tmp_path, TRAMO_METRICS="emf", TRAMO_METRICS_SECONDS="3600") as stage:
        address = stage.publish("orders", stage.backend("orders-1"))
        for _ in range(7):
            assert address.get()[0] == 200
        assert stage.sidecar.stop() == 0
    documents = [json.loads(line) for line in (tmp_path / "sidecar.out").read_text().splitlines()]
    (orders,) = [each for each in documents if "TargetDiscoveryName" in each and "ServiceName" not in each]
    assert orders["TargetDiscoveryName"] == "orders"
    assert orders["HTTPCode_Target_2XX_Count"] == 7
    assert orders["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["TargetDiscoveryName"]]
    assert any(each.get("SidecarMemory", 0) > 2**20 and "ServiceName" not in each for each in documents)
