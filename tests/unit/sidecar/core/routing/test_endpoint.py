"""The life of an ejection, and what one more request costs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.endpoint import EJECTED, HEALTHY, PROBE_SECONDS, PROBING, Endpoint
from sidecar.core.routing.load import OVERLOADED
from sidecar.core.routing.policy import OutlierDetection

POLICY = OutlierDetection()
NOW = 1000.0


def endpoint() -> Endpoint:
    return Endpoint("a/http", "10.0.0.1", 15100)


def ejected(at: float = NOW) -> Endpoint:
    found = endpoint()
    for _ in range(POLICY.consecutive_failures):
        found.fail(at, POLICY, may_eject=True)
    return found


def test_failures_in_a_row_eject() -> None:
    found = endpoint()
    results = [found.fail(NOW + count, POLICY, may_eject=True) for count in range(5)]
    assert results == [False, False, False, False, True]
    assert found.health == EJECTED
    assert not found.available(NOW + 4)
    assert found.health_name() == "ejected"


def test_a_success_in_between_starts_anew() -> None:
    found = endpoint()
    for _ in range(4):
        found.fail(NOW, POLICY, may_eject=True)
    found.succeed(NOW, 0.01)
    assert not found.fail(NOW, POLICY, may_eject=True)
    assert found.health == HEALTHY


def test_failures_too_far_apart_do_not_add_up() -> None:
    found = endpoint()
    for count in range(20):
        assert not found.fail(NOW + count * (POLICY.interval_seconds + 1.0), POLICY, may_eject=True)


def test_the_cluster_may_forbid_an_ejection() -> None:
    found = endpoint()
    assert not any(found.fail(NOW, POLICY, may_eject=False) for _ in range(20))
    assert found.fail(NOW, POLICY, may_eject=True), "once it may, the next failure ejects"


def test_one_probe_decides() -> None:
    found = ejected()
    due = NOW + POLICY.base_ejection_seconds
    assert not found.available(due - 0.001)
    assert found.available(due)
    found.begin(due)
    assert found.health_name() == "probing"
    assert not found.available(due), "one probe at a time"
    found.succeed(due, 0.01)
    assert found.health == HEALTHY
    assert found.latency == 0.01, "the penalties of its bad days are forgotten"


def test_a_failed_probe_ejects_for_longer_up_to_the_maximum() -> None:
    found = ejected()
    seconds = []
    for _ in range(12):
        at = found.ejected_until
        found.begin(at)
        assert found.fail(at, POLICY, may_eject=False), "a probe's verdict needs no permission"
        seconds.append(found.ejected_until - at)
    assert seconds[:3] == [60.0, 90.0, 120.0]
    assert seconds[-1] == POLICY.max_ejection_seconds


def test_after_a_recovery_the_next_ejection_is_short_again() -> None:
    found = ejected()
    found.begin(found.ejected_until)
    found.fail(found.ejected_until, POLICY, may_eject=True)
    at = found.ejected_until
    found.begin(at)
    found.succeed(at, 0.01)
    for _ in range(5):
        found.fail(at, POLICY, may_eject=True)
    assert found.ejected_until == at + POLICY.base_ejection_seconds


def test_an_abandoned_probe_is_due_again_at_once() -> None:
    found = ejected()
    found.begin(found.ejected_until)
    found.abandon(found.ejected_until)
    assert found.available(found.ejected_until)


def test_a_late_failure_does_not_prolong_an_ejection() -> None:
    found = ejected()
    until = found.ejected_until
    assert not found.fail(NOW + 1.0, POLICY, may_eject=True)
    assert found.ejected_until == until


def test_the_head_of_a_good_answer_ends_the_ejection() -> None:
    """The probe may be a stream that lives for hours."""
    found = ejected()
    due = found.ejected_until
    found.begin(due)
    assert found.come_back(due + 1.0)
    assert found.health == HEALTHY
    assert not found.come_back(due + 2.0), "once"


def test_a_probe_without_an_answer_is_followed_by_another() -> None:
    found = ejected()
    due = found.ejected_until
    found.begin(due)
    assert not found.is_due(due + PROBE_SECONDS - 0.001)
    assert found.is_due(due + PROBE_SECONDS)
    found.begin(due + PROBE_SECONDS)
    assert not found.is_due(due + PROBE_SECONDS)


def test_good_heads_alone_do_not_make_the_next_ejection_short() -> None:
    found = ejected()
    at = found.ejected_until
    found.begin(at)
    found.come_back(at)
    for _ in range(5):
        found.fail(at, POLICY, may_eject=True)
    assert found.ejected_until == at + 2 * POLICY.base_ejection_seconds


def test_an_answer_that_refuses_is_no_failure() -> None:
    found = endpoint()
    for _ in range(20):
        found.succeed(NOW, 0.001, OVERLOADED)
    assert (found.health, found.failures) == (HEALTHY, 0)
    assert found.doubt > 0.9
    assert found.latency == 0.0, "what is refused quickly is no quick answer"


@given(st.lists(st.sampled_from(["begin", "succeed", "fail", "abandon", "wait"]), max_size=60))
def test_any_history_keeps_the_states_apart(history: list[str]) -> None:
    """An endpoint is out only until a known time, and a probe never lasts longer than its request."""
    found = endpoint()
    now = NOW
    for step in history:
        if step == "begin":
            found.begin(now)
        elif step == "succeed":
            found.succeed(now, 0.01)
        elif step == "fail":
            found.fail(now, POLICY, may_eject=True)
        elif step == "abandon":
            found.abandon(now)
        else:
            now += 10.0
        assert found.available(now + POLICY.max_ejection_seconds) or found.health == PROBING
        assert found.ejected_until <= now + POLICY.max_ejection_seconds
