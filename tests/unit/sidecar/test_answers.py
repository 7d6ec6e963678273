"""Taps of requests: they end, and cost nothing afterwards."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from sidecar.answers import Answers, window_of
from sidecar.proxy.base.runtime import Runtime
from sidecar.registry.questions import Question
from sidecar.telemetry.recorder import AccessLog, Recorder


class NoLines:
    """An access log's output that nobody reads."""

    written = dropped = 0

    def write(self, line: bytes) -> None:
        """Take it."""


async def nobody(answer: object) -> None:
    raise AssertionError("no request was made, so there is nothing to send")


async def tap(runtime: Runtime, seconds: float) -> None:
    absent = cast("Any", None)
    answers = Answers(runtime, absent, absent, absent, absent, "", ())
    question = Question("1", "tap", time.time() + seconds)
    await answers.by_subject()["tap"](question, nobody)


def test_after_taps_that_overlapped_nothing_is_recorded_any_more() -> None:
    async def test() -> None:
        runtime = Runtime(asyncio.get_running_loop())
        first = asyncio.create_task(tap(runtime, 0.05))
        await asyncio.sleep(0)
        assert runtime.recorder is not None
        second = asyncio.create_task(tap(runtime, 60.0))
        await first
        assert runtime.recorder is not None, "the second goes on"
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert runtime.recorder is None

    asyncio.run(test())


def test_what_is_logged_goes_on_after_a_tap() -> None:
    async def test() -> None:
        runtime = Runtime(asyncio.get_running_loop())
        recorder = Recorder(runtime, AccessLog(NoLines(), False, 1.0, False), None, time.time)
        runtime.recorder = recorder
        await tap(runtime, 0.05)
        assert runtime.recorder is recorder
        assert recorder.taps == []

    asyncio.run(test())


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 60.0), ("15", 15.0), ("30", 30.0), ("1", 15.0), ("3600", 60.0), ("soon", 60.0)]
)
def test_counts_are_of_the_seconds_that_are_asked_for_as_far_as_they_are_kept(
    asked: str | None, seconds: float
) -> None:
    assert window_of({} if asked is None else {"window": asked}) == seconds
