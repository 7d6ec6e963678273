from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.lineage import Version, parse_version

VERSIONS = st.builds(Version, st.text("0123456789abcdef", max_size=32), st.integers(0, 10**15 - 1))


@given(VERSIONS)
def test_a_version_is_read_back(version: Version) -> None:
    assert parse_version(str(version)) == version


@pytest.mark.parametrize("text", ["", "-1", "a1-", "x1-2", "1.5", "1" * 16, "a-b-1", "1\n", "\u00b2"])
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None


@given(VERSIONS, VERSIONS)
def test_only_versions_of_one_epoch_are_compared(one: Version, other: Version) -> None:
    assert one.reaches(other) == (one.epoch == other.epoch and one.revision >= other.revision)
    assert one.reaches(Version(one.epoch, 0))
    assert not one.reaches(Version(one.epoch + "0", 0))
