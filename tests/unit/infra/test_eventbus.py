from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.local.eventbus import DeadLetters, EventBus
from infra.local.functions import FunctionError
from tests.support.control_plane.functions import FakeFunction, spec

PATTERN = {"detail": {"lastStatus": ["RUNNING"]}}


def deliver(functions: list[FakeFunction], *events: dict[str, Any]) -> tuple[DeadLetters, list[float]]:
    dead_letters = DeadLetters(clock=lambda: 7.0)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def main() -> None:
        bus = EventBus(functions, dead_letters, [1.0, 2.0], sleep)
        for event in events:
            bus.put(event)
        await bus.drain()
        await bus.close()

    asyncio.run(main())
    return dead_letters, pauses


def event(status: str) -> dict[str, Any]:
    return {"detail": {"lastStatus": status}}


def test_only_what_matches_is_delivered() -> None:
    function = FakeFunction(spec(patterns=(PATTERN,)))
    other = FakeFunction(spec())
    deliver([function, other], event("RUNNING"), event("PENDING"))
    assert (function.events, other.events) == ([event("RUNNING")], [])


def test_a_failing_function_is_called_again_after_each_pause() -> None:
    function = FakeFunction(spec(patterns=(PATTERN,)), failures=2)
    dead_letters, pauses = deliver([function], event("RUNNING"))
    assert (len(function.events), pauses) == (3, [1.0, 2.0])
    assert not dead_letters.letters


def test_what_fails_to_the_end_is_a_dead_letter() -> None:
    function = FakeFunction(spec(patterns=(PATTERN,)), failures=9)
    dead_letters, _ = deliver([function], event("RUNNING"))
    [letter] = dead_letters.letters
    assert len(function.events) == 3
    assert (letter.time, letter.function, letter.event) == (7.0, "F", event("RUNNING"))
    assert "on purpose" in letter.error


def test_a_function_may_want_no_retries() -> None:
    function = FakeFunction(spec(patterns=(PATTERN,), retries=0), failures=9)
    dead_letters, pauses = deliver([function], event("RUNNING"))
    assert (len(function.events), pauses, len(dead_letters.letters)) == (1, [], 1)


def test_a_function_without_a_destination_leaves_no_dead_letters(caplog: pytest.LogCaptureFixture) -> None:
    function = FakeFunction(spec(patterns=(PATTERN,), retries=0, keeps_failed=False), failures=9)
    dead_letters, _ = deliver([function], event("RUNNING"))
    assert not dead_letters.letters
    assert "on purpose" in caplog.text


def test_old_dead_letters_make_room() -> None:
    dead_letters = DeadLetters()
    for number in range(1001):
        dead_letters.add("F", str(FunctionError("F", "E", str(number))), {})
    assert len(dead_letters.letters) == 1000
    assert dead_letters.letters[0].error.endswith("1")
