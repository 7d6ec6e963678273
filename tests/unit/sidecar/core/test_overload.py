"""When requests are refused for want of memory."""

from __future__ import annotations

import pytest

from sidecar.core.overload import limit_of, reclaimable, sheds


@pytest.mark.parametrize(
    ("shedding", "used", "limit", "expected"),
    [
        (False, 84, 100, False),
        (False, 85, 100, True),
        (True, 84, 100, True),
        (True, 75, 100, True),
        (True, 74, 100, False),
        (False, 10**9, None, False),
        (True, 10**9, None, False),
        (False, 1, 0, False),
    ],
)
def test_thresholds_with_hysteresis(shedding: bool, used: int, limit: int | None, expected: bool) -> None:
    assert sheds(shedding, used, limit) is expected


@pytest.mark.parametrize(
    ("text", "limit"),
    [("67108864\n", 67108864), ("max\n", None), ("9223372036854771712\n", None), ("", None), ("-1", None)],
)
def test_limits_of_both_cgroup_versions(text: str, limit: int | None) -> None:
    assert limit_of(text) == limit


def test_what_the_kernel_can_take_back() -> None:
    assert reclaimable("anon 5\nfile 9\ninactive_file 7\nactive_file 2\n") == 7
    assert reclaimable("cache 1\ntotal_inactive_file 3\n") == 3
    assert reclaimable("anon 5\n") == 0
