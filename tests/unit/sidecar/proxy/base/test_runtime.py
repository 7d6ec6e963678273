"""The wheel's ticks, and tasks that fail."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.core.timers import Timed
from sidecar.proxy.base.runtime import LONG_READS, TURN_BYTES, Runtime
from tests.support.proxy.rig import Http1Rig


class Alarm(Timed):
    """A deadline that is written down, or fails."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.rung: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.rung.append(now)
        if self.fails:
            raise ZeroDivisionError


def test_one_failing_deadline_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    rig = Http1Rig()
    alarms = [Alarm(), Alarm(fails=True), Alarm()]
    for alarm in alarms:
        rig.runtime.wheel.schedule(alarm, rig.loop.now + 1.0)
    rig.loop.advance(2.0)
    assert [len(alarm.rung) for alarm in alarms] == [1, 1, 1]
    assert "a deadline failed" in caplog.text
    later = Alarm()
    rig.runtime.wheel.schedule(later, rig.loop.now + 1.0)
    rig.loop.advance(2.0)
    assert len(later.rung) == 1


def test_after_the_stop_no_deadline_comes() -> None:
    rig = Http1Rig()
    alarm = Alarm()
    rig.runtime.wheel.schedule(alarm, rig.loop.now + 1.0)
    rig.runtime.stop()
    rig.loop.advance(5.0)
    assert alarm.rung == []


def test_a_task_that_fails_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        runtime = Runtime(asyncio.get_running_loop())
        task = runtime.spawn(fail(), "division")
        await asyncio.wait([task])
        await asyncio.sleep(0)

    asyncio.run(main())
    assert "task division failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_stopping_cancels_tasks_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        runtime = Runtime(asyncio.get_running_loop())
        task = runtime.spawn(asyncio.sleep(3600), "sleep")
        await asyncio.sleep(0)
        runtime.stop()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert caplog.text == ""


def test_what_is_gathered_is_flushed_once_a_turn() -> None:
    rig = Http1Rig()
    flushed: list[int] = []

    class Connection:
        def flush(self) -> None:
            flushed.append(1)

    one, other = Connection(), Connection()
    rig.runtime.touch(one)
    rig.runtime.touch(other)
    assert flushed == []
    rig.loop.run()
    assert flushed == [1, 1]
    rig.runtime.touch(one)
    rig.loop.run()
    assert flushed == [1, 1, 1]


class Flushed:
    """A connection that counts its flushes, and may fail at them."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1
        if self.fails:
            raise ZeroDivisionError


def test_a_connection_that_fails_to_flush_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    rig = Http1Rig()
    broken, sound = Flushed(fails=True), Flushed(fails=False)
    rig.runtime.touch(broken)
    rig.runtime.touch(sound)
    rig.loop.run()
    assert (broken.flushes, sound.flushes) == (1, 1)
    assert "could not be flushed" in caplog.text


class Reader:
    """A connection that rests, and is written down when it reads on, or fails."""

    def __init__(self, read: list[int], number: int, fails: bool = False) -> None:
        self.read = read
        self.number = number
        self.fails = fails

    def read_on(self) -> None:
        self.read.append(self.number)
        if self.fails:
            raise ZeroDivisionError


def test_long_reads_of_a_turn_are_bounded_in_bytes() -> None:
    rig = Http1Rig()
    for _ in range(2):
        assert [rig.runtime.read_much(TURN_BYTES // 2) for _ in range(3)] == [False, False, True]
        rig.loop.turn()


def test_of_those_that_rest_a_few_read_on_in_each_turn_in_their_order(caplog: pytest.LogCaptureFixture) -> None:
    rig = Http1Rig()
    read: list[int] = []
    for number in range(2 * LONG_READS + 1):
        rig.runtime.rest(Reader(read, number, fails=number == 1))
    assert read == []
    for turn in (1, 2):
        rig.loop.turn()
        assert read == list(range(turn * LONG_READS))
    rig.runtime.rest(Reader(read, -1))
    rig.loop.turn()
    assert read == [*range(2 * LONG_READS + 1), -1]
    assert "a connection could not be read on" in caplog.text
    rig.runtime.rest(Reader(read, -2))
    rig.loop.turn()
    assert read[-1] == -2
