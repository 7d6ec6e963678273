"""Turns and chances by weight."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.choices import Choices
from sidecar.core.routing.endpoint import Endpoint


def choices(*weights: int) -> Choices:
    found = []
    for number, weight in enumerate(weights):
        endpoint = Endpoint(f"e{number}", "10.0.0.1", 8000 + number)
        endpoint.weight = weight
        found.append(endpoint)
    return Choices(found)


@pytest.mark.parametrize("weights", [(100, 100, 100), (100, 50), (100, 0, 50), (1, 2, 3, 4), (1000, 1)])
def test_turns_follow_the_weights(weights: tuple[int, ...]) -> None:
    found = choices(*weights)
    turns = 6000
    seen = Counter(found.at_turn(turn).id for turn in range(turns))
    for number, weight in enumerate(weights):
        assert abs(seen[f"e{number}"] - turns * weight / sum(weights)) < 4


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12), st.integers(0, 10_000))
def test_any_few_turns_are_even(weights: list[int], start: int) -> None:
    found = choices(*weights)
    total = sum(weights)
    shares = [weight / total if total else 1 / len(weights) for weight in weights]
    turns = 500
    seen = Counter(found.at_turn(start + turn).id for turn in range(turns))
    for number, share in enumerate(shares):
        assert abs(seen[f"e{number}"] - turns * share) <= 6


def test_chances_follow_the_weights() -> None:
    found = choices(100, 50, 50)
    seen = Counter(found.another(found.endpoints[1], draw).id for draw in range(65_536))
    assert seen["e1"] == 0
    assert seen["e0"] > 0.6 * 65_536


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12), st.integers(0, 65_535))
def test_another_is_another(weights: list[int], draw: int) -> None:
    found = choices(*weights)
    for first in found.endpoints:
        assert found.another(first, draw) is not first


def test_those_for_a_retry_keep_their_weights() -> None:
    found = choices(100, 100, 0, 50)
    tried = [found.endpoints[0]]
    left = found.for_retry(tried, 0.0)
    seen = Counter(left.at_turn(turn).id for turn in range(3000))
    assert abs(seen["e1"] - 2000) < 4
    assert abs(seen["e3"] - 1000) < 4


def test_who_asks_for_a_pause_gets_no_retry() -> None:
    found = choices(100, 100, 100)
    found.endpoints[1].rests_until = 10.0
    assert [endpoint.id for endpoint in found.for_retry([found.endpoints[0]], 9.9).endpoints] == ["e2"]
    assert [endpoint.id for endpoint in found.for_retry([found.endpoints[0]], 10.0).endpoints] == ["e1", "e2"]
    assert [endpoint.id for endpoint in found.willing(9.9).endpoints] == ["e0", "e2"]
