"""What the console makes of numbers: states, their reasons, since when, and the probable root."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.console.mesh import Edge, Sample, State, failing_since, judge, latest, probable_roots

BAD = Sample(calls=100, failed=50, healthy=3)
GOOD = Sample(calls=100, healthy=3)


@pytest.mark.parametrize(
    ("sample", "state", "reason"),
    [
        (None, State.IDLE, "no traffic"),
        (Sample(), State.IDLE, "no traffic"),
        (Sample(open=3, healthy=2), State.HEALTHY, ""),
        (Sample(calls=1000, failed=9, healthy=3), State.HEALTHY, ""),
        (Sample(calls=1000, failed=10, healthy=3), State.DEGRADED, "1.0 % of calls fail"),
        (Sample(calls=1000, failed=50, healthy=3), State.FAILING, "5.0 % of calls fail"),
        (Sample(calls=10, failed=10, healthy=3), State.FAILING, "100 % of calls fail"),
        (Sample(calls=10, healthy=0), State.FAILING, "no healthy endpoint"),
        (Sample(open=1, healthy=0), State.FAILING, "no healthy endpoint"),
        (Sample(healthy=0), State.DEGRADED, "no healthy endpoint, and nobody calls it"),
        (Sample(calls=10, healthy=2, ejected=1), State.DEGRADED, "1 endpoint ejected"),
        (Sample(calls=10, healthy=2, unhealthy=2), State.DEGRADED, "2 endpoints fail health checks"),
        (Sample(calls=100, healthy=2, retries=10), State.DEGRADED, "10 % of calls are retried"),
    ],
)
def test_a_state_has_its_reason(sample: Sample | None, state: State, reason: str) -> None:
    verdict = judge(sample)
    assert (verdict.state, verdict.reason) == (state, reason)


def test_a_failure_began_after_the_last_good_period_and_gaps_do_not_end_it() -> None:
    assert failing_since([GOOD, BAD, None, BAD], 3) == 1
    assert failing_since([BAD, GOOD, BAD, BAD], 3) == 2
    assert failing_since([BAD, BAD], 1) == 0
    assert failing_since([BAD, GOOD], 1) is None
    assert failing_since([None, None], 1) is None


def test_now_is_the_last_period_with_values_but_not_an_old_one() -> None:
    assert latest([[1.0, 1.0, 1.0, None, None]], 5) == 2
    assert latest([[1.0, None, None, None, None]], 5) == 4
    assert latest([], 0) == -1


def edge(source: str, target: str, failed: float = 1.0) -> Edge:
    return Edge(source, target, 10.0, failed)


def test_the_deepest_failing_service_is_the_root() -> None:
    edges = [edge("web", "orders"), edge("orders", "stock"), edge("orders", "mail", 0.0)]
    assert probable_roots({"web": 3.0, "orders": 5.0, "stock": 5.0}, edges) == ["stock"]


def test_a_failing_service_whose_calls_succeed_is_a_root_itself() -> None:
    edges = [edge("orders", "stock", 0.0)]
    assert probable_roots({"orders": 1.0, "stock": 9.0}, edges) == ["stock", "orders"]


def test_services_that_call_each_other_are_roots_together() -> None:
    edges = [edge("web", "a"), edge("a", "b"), edge("b", "a")]
    assert probable_roots({"web": 9.0, "a": 1.0, "b": 2.0}, edges) == ["b", "a"]


NAMES = "abcdef"


@given(
    st.dictionaries(st.sampled_from(NAMES), st.floats(0, 100), min_size=1),
    st.lists(st.builds(edge, st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from([0.0, 1.0]))),
)
def test_where_something_fails_there_is_a_root_and_every_failing_service_leads_to_one(
    failing: dict[str, float], edges: list[Edge]
) -> None:
    roots = probable_roots(failing, edges)
    assert roots
    assert set(roots) <= set(failing)
    for name in failing:
        seen, waiting = {name}, [name]
        while waiting:
            at = waiting.pop()
            following = {each.target for each in edges if each.source == at and each.failed and each.target in failing}
            waiting += following - seen
            seen |= following
        assert seen & set(roots)
