from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.layout import (
    ITEM_BYTES,
    PARTS,
    UNIT_BYTES,
    Place,
    Places,
    largest_changes,
    pack,
    part_of,
    place_after,
    unpack,
)

REVISIONS = st.integers(1, 5 * 10**11)
PLACES = st.builds(Place, st.integers(0, 1), REVISIONS)
LAYOUTS = st.dictionaries(st.integers(0, PARTS - 1), st.builds(Places, PLACES, st.none() | PLACES))


def test_the_part_of_a_name_never_changes() -> None:
    # Stored parts depend on it: these numbers are crc32 of the name, modulo 64.
    assert (part_of("orders"), part_of("stock"), part_of("web")) == (46, 32, 17)
    assert {part_of(f"service-{number}") for number in range(2000)} == set(range(PARTS))


@given(LAYOUTS)
def test_places_are_packed_and_unpacked(parts: dict[int, Places]) -> None:
    assert unpack(pack(parts)) == parts


def test_the_head_costs_one_unit() -> None:
    full = dict.fromkeys(range(PARTS), Places(Place(1, 10**11), Place(1, 10**11)))
    assert len(pack(full)) + ITEM_BYTES <= UNIT_BYTES


def test_nothing_packed_is_no_part() -> None:
    assert unpack(b"") == {}


def test_the_next_place_is_never_the_present_one() -> None:
    assert place_after(None, 3) == Place(0, 3)
    assert place_after(Place(0, 3), 4) == Place(1, 4)
    assert place_after(Place(1, 4), 5) == Place(0, 5)


def test_a_part_is_as_new_as_its_changes() -> None:
    assert Places(Place(0, 3)).revision == 3
    assert Places(Place(0, 3), Place(1, 7)).revision == 7


@pytest.mark.parametrize(
    ("base", "units"), [(100, 0), (896, 0), (897, 1), (5_000, 1), (15_000, 2), (150_000, 5), (399_000, 9)]
)
def test_changes_grow_with_the_root_of_the_base(base: int, units: int) -> None:
    assert largest_changes(base) == (units and units * UNIT_BYTES - ITEM_BYTES)
