from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.part_changes import apply_changes, changes_between, decode_changes, encode_changes
from registry.domain.snapshot import Document, Part, PartError, compress, encode_part

ENDPOINTS = st.dictionaries(st.sampled_from(["a/http", "b/http", "c/http"]), st.sampled_from(["ready", "draining"]))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    endpoints = draw(ENDPOINTS)
    return {
        "name": "n",
        "revision": draw(st.integers(1, 3)),
        "policy": draw(st.sampled_from([{}, {"retries": {"count": 1}}])),
        "endpoints": [{"id": key, "state": endpoints[key]} for key in sorted(endpoints)],
    }


PARTS = st.builds(
    Part,
    st.dictionaries(st.sampled_from(["orders", "stock", "mail"]), documents()),
    st.dictionaries(st.sampled_from(["old", "older"]), st.integers(1, 3)),
    st.integers(0, 3),
)


@given(PARTS, PARTS)
def test_a_base_and_its_changes_make_the_part(base: Part, part: Part) -> None:
    assert apply_changes(base, changes_between(base, part)) == part
    made = decode_changes(encode_changes(base, part), base)
    assert encode_part(made) == encode_part(part)


def test_the_change_of_one_endpoint_of_many_is_small() -> None:
    endpoints = [{"id": f"{number:04}/http", "state": "ready"} for number in range(1000)]
    service = {"name": "n", "revision": 1, "policy": {}, "endpoints": endpoints}
    changed = {**service, "revision": 2, "endpoints": [*endpoints[:-1], {"id": "0999/http", "state": "draining"}]}
    found = changes_between(Part({"n": service}), Part({"n": changed}))
    assert found["services"] == {
        "n": {"fields": {"revision": 2}, "endpoints": [{"id": "0999/http", "state": "draining"}], "without": []}
    }


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense",
        compress({}),
        encode_changes(Part(), Part())[:-9],
        # of another base: an endpoint went that is not there
        encode_changes(Part({"n": {"endpoints": [{"id": "a"}]}}), Part({"n": {"endpoints": []}})),
    ],
)
def test_damaged_changes_are_said_to_be_damaged(data: bytes) -> None:
    with pytest.raises(PartError, match="damaged"):
        decode_changes(data, Part({"n": {"endpoints": []}}))
