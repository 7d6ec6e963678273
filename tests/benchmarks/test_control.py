"""What the figures of `make bench-control` rest on: sizes of items, and documents as the API sends them."""

from __future__ import annotations

import json

import pytest

from sidecar.core.snapshot import apply, decode
from tests.benchmarks.control import population
from tests.benchmarks.control.documents import Documents
from tests.benchmarks.control.fleet import request_bytes
from tests.benchmarks.control.population import NAMESPACE
from tests.support.control_plane.schemas import check
from tests.support.control_plane.storm import item_bytes


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({}, 0),
        ({"pk": {"S": "abc"}}, 5),
        ({"ü": {"S": "ü"}}, 4),
        ({"n": {"N": "12345"}}, 1 + 4),
        ({"n": {"N": "-100"}}, 1 + 2),
        ({"b": {"B": b"1234"}, "t": {"BOOL": True}}, 5 + 2),
        ({"m": {"M": {"a": {"S": "x"}}}}, 1 + 3 + 1 + 1 + 1),
        ({"l": {"L": [{"S": "xy"}, {"N": "7"}]}}, 1 + 3 + 3 + 3),
    ],
)
def test_the_size_of_an_item(item: dict[str, dict[str, object]], size: int) -> None:
    assert item_bytes(item) == size


def test_deltas_lead_to_the_whole_document() -> None:
    documents = Documents(population.tasks(services=4, endpoints=10))
    snapshot = apply(None, decode(documents.whole(), NAMESPACE))
    first = documents.names()[0]
    for delta in (documents.move([first]), documents.add("new", first), documents.move(documents.names()[1:3])):
        snapshot = apply(snapshot, decode(delta, NAMESPACE))
    whole = apply(None, decode(documents.whole(), NAMESPACE))
    assert (snapshot.revision, snapshot.services) == (whole.revision, whole.services)
    assert len(whole.services) == 5


def test_documents_are_as_the_schema_says() -> None:
    documents = Documents(population.tasks(services=2, endpoints=3))
    check("snapshot", json.loads(documents.whole()))
    check("snapshot", json.loads(documents.move(documents.names())))


def test_a_poll_is_signed_with_everything_that_a_task_role_needs() -> None:
    assert 1_000 < request_bytes() < 2_000
