from __future__ import annotations

import pytest

from registry.domain.leftovers import EMPTY_SECONDS, IDLE_SECONDS, QUARANTINE_SECONDS, idleness, most_recent_use
from registry.domain.service import ServiceRecord
from tests.support.control_plane.building import service

NOW = 1_795_345_200.0
DAY = 24 * 3600.0


def found(record: ServiceRecord, *living: str) -> tuple[list[str], list[str], list[str]]:
    """Names of the services whose idleness begins, ends and is over."""
    result = idleness({record.name: record}, {(name, "orders:7") for name in living}, NOW)
    return tuple([each.name for each in group] for group in (result.begins, result.ends, result.over))  # type: ignore[return-value] # three of them


def test_a_service_is_idle_from_the_first_sweep_that_finds_no_task() -> None:
    assert found(service("orders")) == (["orders"], [], [])
    assert found(service("orders"), "orders") == ([], [], [])
    assert found(service("orders", idle_since=NOW - 60.0), "orders") == ([], ["orders"], [])


def test_an_idle_service_goes_after_the_named_time_and_not_before() -> None:
    assert found(service("orders", idle_since=NOW - IDLE_SECONDS + 1.0)) == ([], [], [])
    assert found(service("orders", idle_since=NOW - IDLE_SECONDS)) == ([], [], ["orders"])


@pytest.mark.parametrize("changes", [{"policy": {"retries": {"count": 1}}}, {"allowed": ("arn:aws:iam::1:role/x",)}])
def test_what_an_operator_has_said_of_a_service_is_not_thrown_away(changes: dict[str, object]) -> None:
    assert found(service("orders", idle_since=NOW - 2 * IDLE_SECONDS, **changes)) == ([], [], [])


def test_the_named_times_are_a_week_and_days() -> None:
    assert (IDLE_SECONDS, QUARANTINE_SECONDS, EMPTY_SECONDS) == (7 * DAY, DAY, DAY)


def test_a_namespace_was_of_use_when_a_task_joined_or_it_was_made() -> None:
    assert most_recent_use(None, None) == 0.0
    assert most_recent_use(5.0, None) == 5.0
    assert most_recent_use(5.0, 7.0) == 7.0
