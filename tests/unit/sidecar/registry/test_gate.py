"""The gate opens once callers can know this task, and never closes again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.snapshot import Snapshot, apply, decode
from sidecar.registry.gate import MARGIN_SECONDS, Gate, GateState

INTERVAL = 6.0
WAIT = INTERVAL + MARGIN_SECONDS


def snapshot(**states: str) -> Snapshot:
    """A snapshot of services with one endpoint of this task, `t1`, in that state each, and one of another task."""
    services = [
        {
            "name": name,
            "protocol": "http",
            "vip": "127.254.0.2",
            "revision": 1,
            "aliases": [],
            "endpoints": [
                {"id": f"t1/{name}", "address": "10.0.0.1", "port": 15100, "state": state},
                {"id": f"t11/{name}", "address": "10.0.0.2", "port": 15100, "state": "ready"},
            ],
        }
        for name, state in states.items()
    ]
    document = {"schema": 1, "namespace": "shop.local", "revision": 1, "services": services}
    return apply(None, decode(json.dumps(document).encode(), "shop.local"))


def test_a_task_that_offers_nothing_need_not_be_known() -> None:
    gate = Gate("t1", [], list)
    assert gate.state(0.0) is GateState.OPEN
    assert gate.describe(0.0) == {"state": "open"}


def test_the_gate_opens_once_all_other_sidecars_have_read() -> None:
    gate = Gate("t1", ["orders"], list)
    assert gate.describe(0.0)["waits_for"] == ["orders"]
    gate.observe(snapshot(orders="starting"), 1.0, INTERVAL)
    assert gate.state(1.0) is GateState.CLOSED
    gate.observe(snapshot(orders="ready"), 2.0, INTERVAL)
    assert gate.describe(3.0) == {"state": "seen", "opens_in_seconds": WAIT - 1.0}
    gate.observe(snapshot(orders="ready"), 4.0, INTERVAL)
    assert gate.state(2.0 + WAIT - 0.1) is GateState.SEEN
    assert gate.state(2.0 + WAIT) is GateState.OPEN


def test_every_service_that_the_task_offers_must_be_known() -> None:
    gate = Gate("t1", ["orders", "events"], list)
    gate.observe(snapshot(orders="ready"), 0.0, INTERVAL)
    assert gate.describe(WAIT)["waits_for"] == ["events"]
    gate.observe(snapshot(orders="ready", events="ready"), 1.0, INTERVAL)
    assert gate.state(1.0 + WAIT) is GateState.OPEN


@pytest.mark.parametrize("state", ["starting", "unhealthy", "draining"])
def test_an_endpoint_that_is_not_ready_any_more_begins_anew(state: str) -> None:
    gate = Gate("t1", ["orders"], list)
    gate.observe(snapshot(orders="ready"), 0.0, INTERVAL)
    gate.observe(snapshot(orders=state), WAIT - 1.0, INTERVAL)
    assert gate.state(WAIT) is GateState.CLOSED
    gate.observe(snapshot(orders="ready"), 20.0, INTERVAL)
    assert gate.state(20.0) is GateState.SEEN


def test_the_endpoints_of_other_tasks_are_not_this_tasks() -> None:
    gate = Gate("t2", ["orders"], list)
    gate.observe(snapshot(orders="ready"), 0.0, INTERVAL)
    assert gate.state(WAIT) is GateState.CLOSED


def test_a_task_that_does_not_know_its_id_says_so() -> None:
    gate = Gate("", ["orders"], list)
    gate.observe(snapshot(orders="ready"), 0.0, INTERVAL)
    assert "task metadata endpoint" in gate.describe(WAIT)["why"]


def test_an_app_that_starts_slowly_is_waited_for() -> None:
    waiting = ["orders"]
    gate = Gate("t1", ["orders"], lambda: waiting)
    gate.observe(snapshot(orders="ready"), 0.0, INTERVAL)
    assert gate.state(WAIT) is GateState.SEEN
    page = gate.describe(WAIT)
    assert (page["waits_for"], page["opens_in_seconds"]) == (["orders"], 0.0)
    assert "does not listen yet" in page["why"]
    waiting.clear()
    assert gate.state(WAIT) is GateState.OPEN


@given(st.lists(st.tuples(st.sampled_from(["starting", "ready", "unhealthy", "draining"]), st.floats(0.0, 30.0))))
def test_an_open_gate_stays_open(changes: list[tuple[str, float]]) -> None:
    gate = Gate("t1", ["orders"], list)
    now, opened = 0.0, False
    for state, pause in changes:
        gate.observe(snapshot(orders=state), now, INTERVAL)
        now += pause
        opened = opened or gate.state(now) is GateState.OPEN
        assert not opened or gate.state(now) is GateState.OPEN
