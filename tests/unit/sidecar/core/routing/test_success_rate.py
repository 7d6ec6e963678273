"""Endpoints that fail more often than others, though never five times in a row."""

from __future__ import annotations

import pytest

from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import EJECTED, HEALTHY
from sidecar.core.routing.policy import DEFAULT, OutlierDetection, Policy
from sidecar.core.routing.success_rate import ENOUGH_ANSWERS, ENOUGH_ENDPOINTS, INTERVAL_SECONDS
from sidecar.core.snapshot import EndpointRecord


def cluster(count: int, policy: Policy = DEFAULT) -> Cluster:
    found = Cluster("orders", "http", policy)
    records = tuple(EndpointRecord(f"e{number}", "10.0.0.1", 8000 + number, "ready") for number in range(count))
    found.update("http", policy, records, "", 0.0)
    return found


def play(found: Cluster, answers: int, each_nth_fails: dict[int, int]) -> list[int]:
    """Let an interval pass with so many answers of each endpoint. Return the numbers of those that were ejected."""
    ejected = 0
    for turn in range(answers):
        now = 1.0 + turn * 1.01 * INTERVAL_SECONDS / answers
        for number, endpoint in enumerate(found.endpoints):
            if (turn + 1) % each_nth_fails.get(number, answers + 1) == 0:
                ejected += found.fail(endpoint, now)
            else:
                found.succeed(endpoint, now, 0.01)
    ejected += found.fail(found.endpoints[-1], 2.0 + 1.01 * INTERVAL_SECONDS)
    numbers = [number for number, endpoint in enumerate(found.endpoints) if endpoint.health == EJECTED]
    assert len(numbers) == ejected
    return numbers


def test_an_endpoint_that_fails_each_third_request_is_ejected() -> None:
    assert play(cluster(6), 3 * ENOUGH_ANSWERS, {1: 3}) == [1]


@pytest.mark.parametrize(
    ("endpoints", "answers", "failing"),
    [
        (6, 3 * ENOUGH_ANSWERS, {1: 20}),  # well enough, though all others are perfect
        (6, 3 * ENOUGH_ANSWERS, dict.fromkeys(range(6), 3)),  # all are alike: it is the service
        (ENOUGH_ENDPOINTS - 1, 3 * ENOUGH_ANSWERS, {1: 3}),
        (6, ENOUGH_ANSWERS // 2, {1: 3}),
    ],
)
def test_nobody_is_ejected_for_little(endpoints: int, answers: int, failing: dict[int, int]) -> None:
    assert play(cluster(endpoints), answers, failing) == []


def test_the_cap_of_ejections_holds() -> None:
    policy = Policy(outlier_detection=OutlierDetection(max_ejection_percent=10.0))
    assert len(play(cluster(20, policy), 3 * ENOUGH_ANSWERS, {1: 2, 2: 2, 3: 2})) <= 2
    off = Policy(outlier_detection=OutlierDetection(consecutive_failures=0))
    assert play(cluster(6, off), 3 * ENOUGH_ANSWERS, {1: 3}) == []


def test_an_endpoint_begins_anew_with_each_interval() -> None:
    found = cluster(6)
    assert play(found, 3 * ENOUGH_ANSWERS, {}) == []
    assert {endpoint.answers for endpoint in found.endpoints} == {0}
    assert all(endpoint.health == HEALTHY for endpoint in found.endpoints)
