from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.pattern import PatternError, check, matches

EVENT: dict[str, Any] = {
    "source": "aws.ecs",
    "detail-type": "ECS Task State Change",
    "detail": {
        "lastStatus": "RUNNING",
        "group": "service:orders",
        "version": 3,
        "enableExecuteCommand": False,
        "stoppedReason": None,
        "tags": ["blue", "green"],
        "containers": [{"name": "web", "exitCode": 0}, {"name": "sidecar"}],
    },
}


@pytest.mark.parametrize(
    "detail",
    [
        {"lastStatus": ["STOPPED", "RUNNING"]},
        {"group": [{"prefix": "service:"}]},
        {"group": [{"suffix": "orders"}]},
        {"group": [{"equals-ignore-case": "SERVICE:Orders"}]},
        {"group": [{"anything-but": ["family:x", "family:y"]}]},
        {"group": [{"anything-but": {"prefix": "family:"}}]},
        {"version": [3]},
        {"version": [{"numeric": [">", 2, "<=", 3]}]},
        {"enableExecuteCommand": [False]},
        {"stoppedReason": [None]},
        {"tags": ["green", "red"]},
        {"containers": {"name": ["sidecar"]}},
        {"stopCode": [{"exists": False}]},
        {"lastStatus": [{"exists": True}]},
        {"overrides": {"cpu": [{"exists": False}]}},
    ],
)
def test_matches(detail: dict[str, Any]) -> None:
    assert matches({"source": ["aws.ecs"], "detail": detail}, EVENT)


@pytest.mark.parametrize(
    "detail",
    [
        {"lastStatus": ["STOPPED"]},
        {"lastStatus": ["running"]},
        {"group": [{"prefix": "family:"}]},
        {"group": [{"anything-but": "service:orders"}]},
        {"version": ["3"]},
        {"version": [True]},
        {"enableExecuteCommand": [0]},
        {"version": [{"numeric": ["<", 3]}]},
        {"enableExecuteCommand": [{"numeric": ["=", 0]}]},
        {"stoppedReason": ["null"]},
        {"tags": ["red"]},
        {"containers": {"name": ["cache"]}},
        {"stopCode": [{"exists": True}]},
        {"stopCode": [{"anything-but": "UserInitiated"}]},
        {"missing": {"deep": ["x"]}},
        {"lastStatus": {"deep": ["RUNNING"]}},
    ],
)
def test_does_not_match(detail: dict[str, Any]) -> None:
    assert not matches({"detail": detail}, EVENT)


def test_every_key_must_match() -> None:
    assert not matches({"source": ["aws.ecs"], "detail-type": ["Other"]}, EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        {"a": "text"},
        {"a": []},
        {"a": [{"wildcard": "x*"}]},
        {"a": [{"prefix": 3}]},
        {"a": [{"prefix": "x", "suffix": "y"}]},
        {"a": {"b": [{"numeric": [">", "3"]}]}},
        {"a": [{"numeric": ["~", 3]}]},
        {"a": [{"numeric": [">"]}]},
    ],
)
def test_a_wrong_pattern_is_an_error(pattern: dict[str, Any]) -> None:
    with pytest.raises(PatternError):
        check(pattern)


LEAVES = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.booleans(), st.none())
EVENTS = st.recursive(
    st.dictionaries(st.text(max_size=3), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=3), st.one_of(LEAVES, inner), max_size=3),
    max_leaves=8,
)


def as_pattern(event: dict[str, Any]) -> dict[str, Any]:
    return {key: as_pattern(value) if isinstance(value, dict) else [value] for key, value in event.items()}


@given(EVENTS)
def test_an_event_matches_the_pattern_made_of_it(event: dict[str, Any]) -> None:
    pattern = as_pattern(event)
    check(pattern)
    assert matches(pattern, event)


@given(EVENTS, EVENTS)
def test_what_the_pattern_does_not_name_does_not_matter(event: dict[str, Any], more: dict[str, Any]) -> None:
    assert matches(as_pattern(event), {**more, **event})


@given(st.dictionaries(st.text(min_size=1, max_size=3), LEAVES, min_size=1, max_size=3))
def test_a_missing_key_does_not_match(event: dict[str, Any]) -> None:
    assert not matches(as_pattern(event), {})
