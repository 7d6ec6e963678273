"""What health checks conclude, when the next one is due, and the two messages of gRPC's protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.health_check import (
    FAILING,
    JITTER,
    PASSING,
    QUIET_SECONDS,
    UNKNOWN,
    CheckedHealth,
    first_check,
    grpc_failure,
    grpc_request,
    http_failure,
    next_check,
)
from sidecar.core.routing.policy import HealthCheck

POLICY = HealthCheck("http", interval_seconds=10.0, unhealthy_threshold=3, healthy_threshold=2)
NOW = 1000.0
DRAWS = st.integers(0, 0xFFFF)


def after(*failures: str) -> CheckedHealth:
    found = CheckedHealth()
    for failure in failures:
        found.observe(failure, POLICY, NOW)
    return found


def test_the_first_success_is_enough() -> None:
    found = CheckedHealth()
    assert (found.state, found.state_name()) == (UNKNOWN, "unknown")
    assert found.observe("", POLICY, NOW)
    assert found.state_name() == "passing"


@pytest.mark.parametrize("before", [(), ("",)])
def test_failures_in_a_row_are_needed_to_fail(before: tuple[str, ...]) -> None:
    found = after(*before)
    assert [found.observe("down", POLICY, NOW) for _ in range(5)] == [False, False, True, False, False]
    assert (found.state_name(), found.failure, found.checks) == ("failing", "down", len(before) + 5)


def test_successes_in_a_row_are_needed_to_pass_again() -> None:
    found = after("a", "b", "c")
    assert [found.observe(failure, POLICY, NOW) for failure in ("", "d", "", "")] == [False, False, False, True]
    assert (found.state, found.failure) == (PASSING, "")


def test_one_success_forgives() -> None:
    assert after("", "a", "b", "", "c", "d").state == PASSING
    assert after("a", "b", "", "c", "d").state == PASSING


@given(st.lists(st.sampled_from(["", "down"]), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_the_state_is_that_of_the_last_long_enough_row(results: list[str], unhealthy: int, healthy: int) -> None:
    policy = HealthCheck("http", unhealthy_threshold=unhealthy, healthy_threshold=healthy)
    found = CheckedHealth()
    state = UNKNOWN
    row = 0
    for index, result in enumerate(results):
        row = row + 1 if index and result == results[index - 1] else 1
        if result and row >= unhealthy:
            state = FAILING
        elif not result and (state == UNKNOWN or row >= healthy):
            state = PASSING
        before = found.state
        assert found.observe(result, policy, NOW) == (before != found.state)
        assert found.state == state


# When.


@given(DRAWS)
def test_checks_come_every_interval_give_or_take(random: int) -> None:
    due = next_check(POLICY, NOW, random) - NOW
    assert POLICY.interval_seconds * (1 - JITTER) <= due <= POLICY.interval_seconds * (1 + JITTER)


def test_checks_of_many_endpoints_do_not_stay_together() -> None:
    assert len({next_check(POLICY, NOW, draw) for draw in (0, 0x4000, 0x8000, 0xFFFF)}) == 4


@pytest.mark.parametrize("failures", [("",), ("a", "b", "c")])
def test_what_is_decided_is_checked_for_those_who_call(failures: tuple[str, ...]) -> None:
    found = after(*failures)
    assert found.is_wanted(NOW + 1.0, called=True)
    assert not found.is_wanted(NOW + QUIET_SECONDS - 1.0, called=False)
    assert found.is_wanted(NOW + QUIET_SECONDS, called=False)


@pytest.mark.parametrize("failures", [(), ("down",), ("", "down"), ("a", "b", "c", "")])
def test_what_is_not_decided_yet_is_checked_often_even_without_traffic(failures: tuple[str, ...]) -> None:
    assert after(*failures).is_wanted(NOW + 1.0, called=False)


@given(DRAWS, st.floats(0.1, 3600.0))
def test_the_first_check_comes_soon(random: int, interval: float) -> None:
    assert NOW <= first_check(HealthCheck("http", interval_seconds=interval), NOW, random) <= NOW + min(interval, 1.0)


# What counts as well.


def test_statuses() -> None:
    assert http_failure(POLICY, 200) == ""
    assert http_failure(POLICY, 204) == "status 204, not 200"
    several = HealthCheck("http", statuses=(200, 204))
    assert http_failure(several, 204) == ""
    assert http_failure(several, 503) == "status 503, not 200 or 204"


def test_a_grpc_request_asks_for_the_service() -> None:
    assert grpc_request("") == b"\0\0\0\0\0"
    assert grpc_request("shop.Orders") == b"\0\0\0\0\x0d\x0a\x0bshop.Orders"


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (0, b"\0\0\0\0\2\x08\1", ""),
        (0, b"\0\0\0\0\2\x08\2", "NOT_SERVING"),
        (0, b"\0\0\0\0\2\x08\3", "SERVICE_UNKNOWN"),
        (0, b"\0\0\0\0\2\x08\x63", "serving status 99"),
        (0, b"\0\0\0\0\0", "UNKNOWN"),
        (0, b"", "UNKNOWN"),
        (0, b"\0\0\0\0\5hello", "the answer is no HealthCheckResponse"),
        (12, b"", "grpc-status 12"),
        (None, b"\0\0\0\0\2\x08\1", "no grpc-status"),
    ],
)
def test_grpc_answers(status: int | None, body: bytes, failure: str) -> None:
    assert grpc_failure(status, body) == failure


@given(st.integers(0, 16), st.binary(max_size=40))
def test_any_grpc_answer_is_judged(status: int, body: bytes) -> None:
    assert (grpc_failure(status, body) == "") == (status == 0 and body[5:] == b"\x08\x01")
