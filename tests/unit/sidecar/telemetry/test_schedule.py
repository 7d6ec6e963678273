from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.schedule import Intervals, after

SECONDS = st.floats(0.5, 3600.0)


@given(st.floats(0.0, 1e6), SECONDS, st.lists(st.floats(0.0, 10_000.0), max_size=20))
def test_each_time_is_a_whole_interval_later_and_none_comes_twice(
    started: float, seconds: float, delays: list[float]
) -> None:
    now = due = started
    for delay in delays:
        now = max(now, due) + delay
        before, due = due, after(now, started, due, seconds)
        count = (due - started) / seconds
        assert abs(count - round(count)) < 1e-6
        assert due - before > 0.9 * seconds
        assert now - 1e-6 <= due < max(now, before) + 1.1 * seconds


def test_what_sending_takes_is_not_added_up() -> None:
    now = started = due = 100.0
    times = []
    for _ in range(60):
        due = after(now, started, due, 60.0)
        now = due + 0.7  # sending took this long
        times.append(due)
    assert times == [160.0 + 60.0 * each for each in range(60)]


class FastLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 100.0

    def time(self) -> float:
        return self._now

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, **kwargs: object
    ) -> asyncio.TimerHandle:
        self._now = max(self._now, when)
        return super().call_at(self._now, callback, *args, **kwargs)  # type: ignore[arg-type]


def test_intervals_that_are_over_are_left_out() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FastLoop)
        times = []
        intervals = Intervals(10.0)
        for delay in (1.0, 35.0, 1.0, 1.0):
            await intervals.wait()
            times.append(loop.time())
            loop._now += delay
        return times

    with asyncio.Runner(loop_factory=FastLoop) as runner:
        assert runner.run(run()) == [110.0, 120.0, 160.0, 170.0]
