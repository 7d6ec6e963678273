from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.fitting import fit
from registry.domain.snapshot import Document, Part, encode_part


def document(name: str, size: int, salt: int = 0) -> Document:
    """Return a service that takes about so many bytes, whatever gzip does."""
    found: dict[str, Any] = {"name": name, "noise": random.Random(f"{name} {salt}").randbytes(size // 2).hex()}  # noqa: S311
    return found


def test_what_fits_is_left_alone() -> None:
    part = Part({"a": document("a", 500), "b": document("b", 500)}, {"c": 3}, 2)
    assert fit(part, Part(), 2000) == (part, frozenset())


def test_the_largest_new_service_pays() -> None:
    part = Part({"a": document("a", 500), "b": document("b", 5000), "c": document("c", 400)})
    fitting, left_out = fit(part, Part(), 2000)
    assert fitting.services.keys() == {"a", "c"}
    assert left_out == {"b"}


def test_a_service_that_has_grown_too_large_stays_as_it_was() -> None:
    before = Part({"a": document("a", 500), "b": document("b", 600)})
    part = Part({"a": document("a", 500, 1), "b": document("b", 5000)})
    fitting, left_out = fit(part, before, 2000)
    assert fitting.services == {"a": part.services["a"], "b": before.services["b"]}
    assert left_out == {"b"}


def test_a_service_that_did_not_change_does_not_pay() -> None:
    before = Part({"large": document("large", 3000)})
    part = Part({**before.services, "a": document("a", 200), "b": document("b", 900)})
    fitting, left_out = fit(part, before, 2100)
    assert fitting.services.keys() == {"large", "a"}
    assert left_out == {"b"}


SIZES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1500), max_size=6)


@given(SIZES, SIZES, st.integers(300, 4000))
def test_a_part_fits_or_is_as_it_was(old: dict[str, int], new: dict[str, int], most: int) -> None:
    before = Part({name: document(name, size) for name, size in old.items()})
    part = Part(
        {name: document(name, size, 1) for name, size in new.items()}, {name: 1 for name in old if name not in new}
    )
    fitting, left_out = fit(part, before, most)
    if fitting != before:
        assert len(encode_part(fitting)) <= most
        assert fitting.services.keys() | left_out == part.services.keys()
    for name, found in fitting.services.items():
        assert found == (before if name in left_out or name not in part.services else part).services[name]
