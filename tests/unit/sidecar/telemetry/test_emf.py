"""EMF documents against the rules of AWS's specification.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.meters import Datum, Meters
from sidecar.telemetry.emf import documents

WALL = 1_700_000_000.5
UNITS = {"Count", "Bytes", "Milliseconds", "Seconds", "Percent", "None"}
MAX_DOCUMENT_BYTES = 256 * 1024


def check(document: dict[str, Any]) -> None:
    """Raise where the document breaks the specification."""
    metadata = document["_aws"]
    assert set(metadata) == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(metadata["Timestamp"], int)
    assert metadata["Timestamp"] == WALL * 1000
    (directive,) = metadata["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert directive["Namespace"] == "blue"
    assert len(directive["Metrics"]) <= 100
    names = [metric["Name"] for metric in directive["Metrics"]]
    assert len(set(names)) == len(names)
    (dimensions,) = directive["Dimensions"]
    assert len(dimensions) <= 30
    assert all(isinstance(document[name], str) and 0 < len(document[name]) <= 1024 for name in dimensions)
    assert set(document) == {"_aws", *dimensions, *names}, "every target is there, and nothing else"
    assert not set(dimensions) & set(names)
    for metric in directive["Metrics"]:
        assert metric["Unit"] in UNITS
        value = document[metric["Name"]]
        if isinstance(value, dict):
            assert 0 < len(value["Values"]) == len(value["Counts"]) <= 100
            assert value["Count"] == sum(value["Counts"])
            assert value["Min"] == min(value["Values"])
            assert value["Max"] == max(value["Values"])
        else:
            assert isinstance(value, int | float)
    assert len(json.dumps(document)) < MAX_DOCUMENT_BYTES


def busy() -> Meters:
    meters = Meters("web-svc", "main")
    meters.server("web").requests = 5
    client = meters.client("orders")
    client.requests = 300
    for number in range(300):
        client.answered(200, 0.000_05 * 1.04**number)
    meters.sidecar.memory = 1000
    return meters


def test_one_document_for_each_dimension_set_and_more_for_long_distributions() -> None:
    found = documents("blue", busy().take(), WALL)
    for document in found:
        check(document)
    sets = [tuple(document["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) for document in found]
    assert set(sets) == {
        (),
        ("ServiceName", "ClusterName"),
        ("DiscoveryName",),
        ("DiscoveryName", "ServiceName", "ClusterName"),
        ("TargetDiscoveryName",),
        ("TargetDiscoveryName", "ServiceName", "ClusterName"),
    }
    assert sets.count(("TargetDiscoveryName",)) > 1
    assert sets.count(("DiscoveryName",)) == 1


def test_nothing_is_lost_or_told_twice() -> None:
    data = busy().take()
    counted = 0.0
    for document in documents("blue", data, WALL):
        if document.get("TargetDiscoveryName") == "orders" and "ServiceName" not in document:
            value = document.get("TargetResponseTime", {"Count": 0})
            counted += value["Count"]
    assert counted == 300


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 3)), max_size=400, unique=True))
def test_any_number_of_metrics_is_split_by_the_limits(rows: list[tuple[int, int]]) -> None:
    data = [Datum(f"M{name}", "Count", (("DiscoveryName", f"s{service}"),), [1.0], [1.0]) for name, service in rows]
    found = documents("blue", data, WALL)
    for document in found:
        check(document)
    assert sum(len(document["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for document in found) == len(data)


def test_nothing_gives_no_document() -> None:
    assert documents("blue", [], WALL) == []
