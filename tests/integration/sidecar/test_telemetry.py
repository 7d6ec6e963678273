"""What a sidecar tells of itself on its admin port, read as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.client import HTTPConnection

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from tests.support.sidecar import Stage

PARSE: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scrape(stage: Stage, accept: str = "*/*") -> tuple[str, str]:
    """Content type and text of /metrics."""
    host, _, port = stage.sidecar.environment["TRAMO_ADMIN"].rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=5)
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
    backend = stage.backend("scraped-1")
    address = stage.publish("scraped", backend)
    assert value(stage, "tramo_client_endpoints", service="scraped", state="healthy") == 1
    for _ in range(7):
        assert address.get()[0] == 200
    assert value(stage, "tramo_client_requests_total", service="scraped") == 7
    assert value(stage, "tramo_client_responses_total", service="scraped", **{"class": "2xx"}) == 7
    assert value(stage, "tramo_client_response_seconds_count", service="scraped") == 7
    assert value(stage, "tramo_snapshot_revision") == stage.sidecar.page("/clusters")[1]["revision"]
    assert 0 <= value(stage, "tramo_snapshot_age_seconds") < 5
    assert value(stage, "process_cpu_seconds_total") > 0
    assert 2**20 < value(stage, "process_resident_memory_bytes") < 2**30


def test_who_does_not_ask_for_openmetrics_gets_the_older_format(stage: Stage) -> None:
    content_type, text = scrape(stage)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert {family.name for family in text_string_to_metric_families(text)} >= {"tramo_snapshot_revision", "tramo_work"}


def test_ejected_endpoints_are_told(stage: Stage) -> None:
    bad, good = stage.backend("eject-bad"), stage.backend("eject-good")
    bad.behaviours["/"] = lambda peer, request: peer.answer(500)
    policy = {"outlier_detection": {"consecutive_failures": 2}, "load_balancing": {"algorithm": "round_robin"}}
    address = stage.publish("eject", bad, good, policy=policy)
    for _ in range(40):
        address.get()
    assert value(stage, "tramo_client_endpoints", service="eject", state="ejected") == 1
    assert value(stage, "tramo_client_endpoints", service="eject", state="healthy") == 1
    assert value(stage, "tramo_client_ejections_total", service="eject") == 1
