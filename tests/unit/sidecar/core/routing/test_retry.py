"""Which failures are tried again, and how many of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.messages import Fields
from sidecar.core.routing.retry import (
    FOREVER,
    MINIMUM_RETRIES,
    MOST_PAUSE_SECONDS,
    PERHAPS_PROCESSED,
    UNPROCESSED,
    WINDOW_SECONDS,
    RetryBudget,
    may_retry,
    pause_seconds,
)

NOW = 1000.0


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"])
def test_idempotent_methods_are_always_retried(method: bytes) -> None:
    assert may_retry(method, UNPROCESSED)
    assert may_retry(method, PERHAPS_PROCESSED)


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"CONNECT", b"LOCK", b"get"])
def test_other_methods_only_what_was_not_processed(method: bytes) -> None:
    assert may_retry(method, UNPROCESSED)
    assert not may_retry(method, PERHAPS_PROCESSED)


def test_a_quiet_service_can_retry() -> None:
    budget = RetryBudget()
    assert [budget.take(NOW, 20.0) for _ in range(MINIMUM_RETRIES + 1)] == [True] * MINIMUM_RETRIES + [False]


def test_a_busy_service_retries_its_share() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(NOW)
    assert sum(budget.take(NOW, 20.0) for _ in range(1000)) == 200
    assert not budget.take(NOW, 20.0)
    assert budget.take(NOW, 100.0), "another policy, another share"


def test_the_budget_renews_itself() -> None:
    budget = RetryBudget()
    while budget.take(NOW, 20.0):
        pass
    assert not budget.take(NOW + WINDOW_SECONDS / 2, 20.0)
    assert budget.take(NOW + WINDOW_SECONDS, 20.0)


def test_old_requests_do_not_pay_for_new_retries() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(NOW)
    later = NOW + 2 * WINDOW_SECONDS
    assert sum(budget.take(later, 20.0) for _ in range(1000)) == MINIMUM_RETRIES


@given(st.lists(st.booleans(), max_size=300), st.floats(0.0, 100.0))
def test_retries_never_outgrow_their_share(events: list[bool], percent: float) -> None:
    budget = RetryBudget()
    requests = retries = 0
    for is_request in events:
        if is_request:
            requests += 1
            budget.request(NOW)
        else:
            granted = budget.take(NOW, percent)
            assert granted == (retries < max(requests * percent / 100.0, MINIMUM_RETRIES))
            retries += granted


@given(st.lists(st.floats(0.0, 3.0), min_size=50, max_size=300))
def test_a_service_that_only_fails_is_retried_at_a_bounded_rate(pauses: list[float]) -> None:
    budget = RetryBudget()
    now = NOW
    granted: list[float] = []
    for pause in pauses:
        now += pause
        budget.request(now)
        if budget.take(now, 20.0):
            granted.append(now)
        recent = [at for at in granted if at > now - WINDOW_SECONDS / 2]
        assert len(recent) <= max(len(pauses) * 0.2 + 1, MINIMUM_RETRIES)


def test_what_is_unprocessed_has_a_budget_of_its_own() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.request(NOW)
    assert sum(budget.take(NOW, 20.0, UNPROCESSED) for _ in range(300)) == 100
    assert sum(budget.take(NOW, 20.0) for _ in range(300)) == 20


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"2")], 2.0),
        ([(b"retry-after", b"86400")], MOST_PAUSE_SECONDS),
        ([(b"date", b"Wed, 21 Oct 2026 07:28:00 GMT"), (b"retry-after", b"Wed, 21 Oct 2026 07:28:07 GMT")], 7.0),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT"), (b"date", b"Tue, 20 Oct 2026 07:28:00 GMT")], 30.0),
        ([(b"date", b"Wed, 21 Oct 2026 07:28:00 GMT"), (b"retry-after", b"Wed, 21 Oct 2026 07:27:00 GMT")], 0.0),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")], None),
        ([(b"date", b"\xff"), (b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")], None),
        ([(b"date", b"Wed, 21 Oct 2026 07:28:00 GMT"), (b"retry-after", b"tomorrow")], None),
        ([(b"grpc-retry-pushback-ms", b"250")], 0.25),
        ([(b"grpc-retry-pushback-ms", b"-1")], FOREVER),
        ([(b"grpc-retry-pushback-ms", b"soon")], FOREVER),
    ],
)
def test_the_pause_that_an_answer_asks_for(fields: Fields, seconds: float | None) -> None:
    assert pause_seconds(fields) == seconds
