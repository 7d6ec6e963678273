"""The wheel against a plain list of deadlines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.timers import SLOTS, TICK_SECONDS, Timed, TimerWheel

NOW = 1000.0
TURN = SLOTS * TICK_SECONDS


def test_a_deadline_comes_late_by_a_tick_at_most() -> None:
    wheel, timed = TimerWheel(NOW), Timed()
    wheel.schedule(timed, NOW + 1.0)
    assert wheel.due(NOW + 0.99) == []
    assert wheel.due(NOW + 1.001 + TICK_SECONDS) == [timed]
    assert wheel.due(NOW + 100.0) == []
    assert len(wheel) == 0


def test_a_new_deadline_replaces_the_old_one() -> None:
    wheel, timed = TimerWheel(NOW), Timed()
    wheel.schedule(timed, NOW + 1.0)
    wheel.schedule(timed, NOW + 3.0)
    assert len(wheel) == 1
    assert wheel.due(NOW + 2.0) == []
    assert wheel.due(NOW + 3.1) == [timed]


def test_a_deadline_put_off_stays_in_its_slot_until_the_wheel_comes_there() -> None:
    wheel, timed = TimerWheel(NOW), Timed()
    wheel.schedule(timed, NOW + 1.0)
    slot = timed.slot
    wheel.schedule(timed, NOW + 3.0)
    assert timed.slot == slot
    assert wheel.due(NOW + 1.1) == []
    assert timed.slot != slot
    wheel.schedule(timed, NOW + 2.0)
    assert wheel.due(NOW + 2.1) == [timed], "one brought forward is moved at once"


def test_a_cancelled_deadline_does_not_come() -> None:
    wheel, timed = TimerWheel(NOW), Timed()
    wheel.schedule(timed, NOW + 1.0)
    wheel.cancel(timed)
    wheel.cancel(timed)
    assert wheel.due(NOW + 2.0) == []


def test_a_deadline_beyond_the_turn_goes_round() -> None:
    wheel, timed = TimerWheel(NOW), Timed()
    wheel.schedule(timed, NOW + 3.5 * TURN)
    now = NOW
    while now < NOW + 3.5 * TURN - 1.0:
        now += 0.5
        assert wheel.due(now) == []
    assert wheel.due(NOW + 3.5 * TURN + 2 * TICK_SECONDS) == [timed]


def test_a_deadline_in_the_past_comes_with_the_next_tick() -> None:
    wheel, timed = TimerWheel(NOW), Timed()
    wheel.schedule(timed, NOW - 5.0)
    assert wheel.due(NOW + 2 * TICK_SECONDS) == [timed]


def test_a_long_pause_loses_nothing() -> None:
    wheel = TimerWheel(NOW)
    timers = [Timed() for _ in range(100)]
    for number, timed in enumerate(timers):
        wheel.schedule(timed, NOW + number * 3.0)
    assert set(wheel.due(NOW + 10 * TURN)) == set(timers)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("schedule"), st.integers(0, 4), st.floats(-1.0, 3 * TURN)),
        st.tuples(st.just("cancel"), st.integers(0, 4), st.just(0.0)),
        st.tuples(st.just("wait"), st.just(0), st.floats(0.0, 2 * TURN)),
        st.tuples(st.just("wait"), st.just(0), st.floats(0.0, 0.2)),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_wheel_keeps_time_like_a_list(steps: list[tuple[str, int, float]]) -> None:
    wheel = TimerWheel(NOW)
    timers = [Timed() for _ in range(5)]
    model: dict[Timed, tuple[float, float]] = {}  # the deadline, and when it can be noticed
    now = NOW
    for step, number, seconds in steps:
        if step == "schedule":
            wheel.schedule(timers[number], now + seconds)
            model[timers[number]] = (now + seconds, now + max(seconds, 0.0))
        elif step == "cancel":
            wheel.cancel(timers[number])
            model.pop(timers[number], None)
        else:
            now += seconds
            for timed in wheel.due(now):
                assert model.pop(timed)[0] <= now, "never early, and once"
            overdue = [deadline for deadline, noticed in model.values() if noticed < now - 2 * TICK_SECONDS]
            assert not overdue
        assert len(wheel) == len(model)
