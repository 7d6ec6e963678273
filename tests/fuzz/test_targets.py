"""Every fuzz target with inputs of hypothesis: arbitrary ones, and good ones that were damaged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

PIECES = st.one_of(st.binary(max_size=8), st.sampled_from((b"\r\n", b"\n", b"\r", b" ", b":", b"0", b"\0", b",", b"%")))


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some of its bytes replaced, left out or added to."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(PIECES) + data[start + draw(st.integers(0, 4)) :]
    return data


@pytest.mark.parametrize("name", TARGETS)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_target(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(st.one_of(st.binary(max_size=200), damaged(SEEDS[name]))))


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_taken(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


def test_every_target_has_seeds() -> None:
    assert SEEDS.keys() == TARGETS.keys()
