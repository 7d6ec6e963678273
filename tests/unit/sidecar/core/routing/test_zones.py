"""Which share of a service's traffic stays in the zone, over even and skewed counts."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.policy import DEFAULT
from sidecar.core.routing.zones import LEAST_ENDPOINTS, CallerZones, spread
from sidecar.core.snapshot import EndpointRecord, ServiceRecord

GOLDEN_RATIO = 40_503
"""Of 2**16."""
ZONES = ("a", "b", "c", "d")


def endpoints(counts: dict[str, int]) -> list[Endpoint]:
    found = []
    for zone, count in counts.items():
        for number in range(count):
            endpoint = Endpoint(f"{zone}{number}", "10.0.0.1", 8000)
            endpoint.zone = zone
            found.append(endpoint)
    return found


def record(name: str, counts: dict[str, int], state: str = "ready") -> ServiceRecord:
    return ServiceRecord(
        name,
        "http",
        "127.254.0.2",
        1,
        (),
        tuple(
            EndpointRecord(f"{zone}{n}", "10.0.0.1", 80, state, zone)
            for zone, count in counts.items()
            for n in range(count)
        ),
    )


def per_endpoint(
    counts: dict[str, int], callers: dict[str, int], requests: int = 400
) -> tuple[dict[str, float], float]:
    """What each endpoint gets, by zone, if each caller sends as many requests; and the share that stays in its zone.

    The draws are spread evenly, by multiples of the golden ratio: what differs from the rule is not chance.
    """
    found = endpoints(counts)
    seen: Counter[str] = Counter()
    local = total = 0
    for zone, count in callers.items():
        plan = spread(found, zone, callers)
        turns = Counter[bool]()
        for turn in range(count * requests):
            choices = plan.choose(turn * GOLDEN_RATIO & 0xFFFF)
            endpoint = choices.at_turn(turns[choices is plan.near])
            turns[choices is plan.near] += 1
            seen[endpoint.zone] += 1
            local += endpoint.zone == zone
            total += 1
    return {zone: seen[zone] / count for zone, count in counts.items() if count}, local / total


@pytest.mark.parametrize("callers", [{"a": 1, "b": 1, "c": 1}, {"a": 8, "b": 8, "c": 8}])
def test_balanced_zones_keep_their_traffic(callers: dict[str, int]) -> None:
    _, local = per_endpoint({"a": 4, "b": 4, "c": 4}, callers)
    assert local == 1.0


def test_nearly_balanced_zones_keep_four_fifths() -> None:
    load, local = per_endpoint({"a": 4, "b": 4, "c": 3}, {"a": 5, "b": 4, "c": 5})
    assert local > 0.8
    assert max(load.values()) < 1.1 * min(load.values())


COUNTS = st.dictionaries(st.sampled_from(ZONES), st.integers(0, 12), min_size=1)
CALLERS = st.dictionaries(st.sampled_from(ZONES), st.integers(1, 12), min_size=1)


@given(COUNTS, CALLERS)
def test_no_endpoint_gets_more_than_its_share_in_any_zone(counts: dict[str, int], callers: dict[str, int]) -> None:
    total = sum(counts.values())
    if total < LEAST_ENDPOINTS:
        return
    load, local = per_endpoint(counts, callers, 100)
    sent = 100 * sum(callers.values())
    assert sum(load[zone] * counts[zone] for zone in load) == pytest.approx(sent)
    for zone, each in load.items():
        fair = sent / total
        noise = 5.0 * (fair / counts[zone]) ** 0.5  # of the draws, for those that leave their zone
        assert each <= fair * 1.02 + noise
    possible = sum(min(counts.get(zone, 0) / total, count / sum(callers.values())) for zone, count in callers.items())
    assert local == pytest.approx(possible, abs=0.05), "and as much stays as can"


def test_a_zone_without_endpoints_is_served_by_those_with_room() -> None:
    load, _ = per_endpoint({"a": 6, "b": 3}, {"a": 1, "b": 1, "c": 1})
    assert load["a"] == pytest.approx(load["b"], rel=0.15)


def test_where_nothing_is_known_of_callers_they_are_taken_for_even() -> None:
    found = endpoints({"a": 2, "b": 6})
    plan = spread(found, "a", {})
    assert plan.near_share / 65_536 == pytest.approx(0.5, abs=0.001)
    assert spread(found, "b", {}).far is None


def test_small_services_and_tasks_without_a_zone_spread_over_all() -> None:
    few = endpoints({"a": 2, "b": 3})
    assert spread(few, "a", {"a": 1, "b": 1}).near.endpoints == few
    many = endpoints({"a": 4, "b": 4})
    assert spread(many, "", {}).near.endpoints == many


def test_weights_count_as_capacity() -> None:
    found = endpoints({"a": 3, "b": 3})
    for endpoint in found[:3]:
        endpoint.weight = 50
    plan = spread(found, "a", {"a": 1, "b": 1})
    assert plan.near_share / 65_536 == pytest.approx(2 / 3, abs=0.001)


def cluster(counts: dict[str, int]) -> Cluster:
    found = Cluster("orders", "http", DEFAULT)
    found.called_from({"a": 1, "b": 1, "c": 1})
    found.update("http", DEFAULT, record("orders", counts).endpoints, "a", 0.0)
    return found


def zones(found: Cluster, now: float, tried: list[Endpoint] | None = None) -> set[str]:
    random = Random(1)  # noqa: S311 -- the same draws each time
    picks = [found.pick(now, random.getrandbits(48), tried or []) for _ in range(500)]
    return {endpoint.zone for endpoint in picks if endpoint is not None}


def test_all_are_served_when_the_zone_dies() -> None:
    found = cluster({"a": 4, "b": 4, "c": 4})
    assert zones(found, 1.0) == {"a"}
    for endpoint in found.endpoints[:4]:
        for _ in range(5):
            found.fail(endpoint, 1.0)
    assert zones(found, 1.0) == {"b", "c"}
    found.update("http", DEFAULT, record("orders", {"b": 4, "c": 4}).endpoints, "a", 2.0)
    assert zones(found, 2.0) == {"b", "c"}


def test_a_retry_leaves_the_zone_when_all_in_it_were_tried() -> None:
    found = cluster({"a": 2, "b": 2, "c": 2})
    assert zones(found, 1.0, found.endpoints[:1]) == {"a"}
    found = cluster({"a": 1, "b": 4, "c": 4})
    near = found.endpoints[:1]
    assert "a" not in zones(found, 1.0, near)


# Where the callers are.


def test_the_tasks_of_ones_own_services_are_the_callers() -> None:
    callers = CallerZones(frozenset({"web"}))
    assert not callers.replace("orders", record("orders", {"a": 9}))
    assert callers.replace("web", record("web", {"a": 1, "b": 2}))
    assert callers.counts == {"a": 1, "b": 2}
    assert not callers.replace("web", record("web", {"a": 1, "b": 2}))
    assert callers.replace("web", record("web", {"b": 1}))
    assert callers.counts == {"b": 1}
    assert callers.replace("web", None)
    assert callers.counts == {}


def test_a_task_that_offers_nothing_takes_all_tasks_for_callers() -> None:
    callers = CallerZones(frozenset())
    callers.replace("orders", record("orders", {"a": 1, "b": 2}))
    callers.replace("stock", record("stock", {"b": 1}))
    assert callers.counts == {"a": 1, "b": 3}
    callers.replace("orders", record("orders", {"a": 5}, state="draining"))
    assert callers.counts == {"b": 1}
