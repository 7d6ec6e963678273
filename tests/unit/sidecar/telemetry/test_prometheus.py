"""Metrics as text: read back with Prometheus' own strict parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric as Parsed
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from sidecar.core.flags import UF, URX
from sidecar.core.meters import Meters
from sidecar.core.metrics import COUNTER, METRICS
from sidecar.telemetry.prometheus import Family, families, render, wants_openmetrics

Parser = Callable[[str], Iterable[Parsed]]
FORMATS: list[tuple[bool, Parser]] = [
    (False, text_string_to_metric_families),
    (True, openmetrics_parser.text_string_to_metric_families),
]


def busy() -> Meters:
    meters = Meters("web-svc", "main")
    server = meters.server("web")
    server.active_connections, server.connections, server.bytes, server.requests = 2, 3, 400, 5
    client = meters.client("orders")
    client.requests, client.bytes, client.healthy, client.ejected = 6, 700, 3, 1
    for status, seconds in ((200, 0.001), (200, 0.002), (404, 0.1), (503, 30.0)):
        client.answered(status, seconds)
    client.count_flags((UF, URX))
    meters.client("idle").healthy = 2
    meters.sidecar.snapshot_age, meters.sidecar.snapshot_revision = 1.5, 42
    return meters


def samples(text: bytes, parse: Parser) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in parse(text.decode()):
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.mark.parametrize(("openmetrics", "parse"), FORMATS)
def test_every_value_is_read_back(openmetrics: bool, parse: Parser) -> None:
    found = samples(render(families(busy()), openmetrics), parse)
    assert found[key("tramo_server_connections", service="web")] == 2
    assert found[key("tramo_server_requests_total", service="web")] == 5
    assert found[key("tramo_client_requests_total", service="orders")] == 6
    assert found[key("tramo_client_responses_total", service="orders", **{"class": "2xx"})] == 2
    assert found[key("tramo_client_endpoints", service="orders", state="ejected")] == 1
    assert found[key("tramo_client_response_flags_total", service="orders", flag="URX")] == 1
    assert found[key("tramo_client_response_flags_total", service="orders", flag="UO")] == 0
    assert found[key("tramo_snapshot_age_seconds")] == 1.5
    assert found[key("tramo_snapshot_revision")] == 42
    assert found[key("tramo_client_response_seconds_count", service="orders")] == 4
    assert found[key("tramo_client_response_seconds_sum", service="orders")] == pytest.approx(30.103)
    assert found[key("tramo_client_response_seconds_bucket", service="orders", le="0.001024")] == 1
    assert found[key("tramo_client_response_seconds_bucket", service="orders", le="16.777216")] == 3
    assert found[key("tramo_client_response_seconds_bucket", service="orders", le="+Inf")] == 4


@pytest.mark.parametrize(("openmetrics", "parse"), FORMATS)
def test_every_metric_of_the_list_is_there(openmetrics: bool, parse: Parser) -> None:
    names = {name for name, _ in samples(render(families(busy()), openmetrics), parse)}
    for metric in METRICS:
        suffix = {COUNTER: "_total", "histogram": "_bucket"}.get(metric.kind, "")
        assert f"{metric.series}{suffix}" in names


def test_totals_stay_when_cloudwatch_has_taken_them() -> None:
    meters = busy()
    before = render(families(meters), True)
    meters.take()
    assert render(families(meters), True) == before


def test_a_service_that_was_never_called_shows_its_endpoints_only() -> None:
    found = samples(render(families(busy()), False), text_string_to_metric_families)
    assert {name for name, labels in found if ("service", "idle") in labels} == {"tramo_client_endpoints"}


def test_an_empty_sidecar_is_valid_too() -> None:
    for openmetrics, parse in FORMATS:
        names = {name for name, _ in samples(render(families(Meters("", "")), openmetrics), parse)}
        assert "tramo_snapshot_age_seconds" in names
        assert "tramo_client_requests_total" not in names


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=20))
def test_any_name_survives(name: str) -> None:
    for openmetrics, parse in FORMATS:
        family = Family("tramo_x", "gauge", "Help.", [("", (("service", name),), 0.25)])
        assert samples(render([family], openmetrics), parse) == {key("tramo_x", service=name): 0.25}


def test_openmetrics_is_for_those_who_ask() -> None:
    prometheus = b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    assert wants_openmetrics(prometheus)
    assert not wants_openmetrics(b"text/html, */*")
    assert not wants_openmetrics(None)
