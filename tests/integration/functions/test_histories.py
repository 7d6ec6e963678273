from __future__ import annotations

import pytest

from tests.support.control_plane.histories import World

HISTORIES = 300
SHORT = 25
FIRST_SEEDS = range(0, HISTORIES, 50)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("first", FIRST_SEEDS)
def test_whatever_happens_the_registry_ends_as_ecs_is(world: World, first: int) -> None:
    for seed in range(first, first + 50):
        try:
            world.run(seed, SHORT)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
