"""EventBridge's default bus and Lambda's asynchronous invocation.

Rules:
1. An event goes to every function with a rule whose pattern matches, each on its own.
2. A function that fails is called again after each of the given pauses, as often as its EventInvokeConfig
   says at most; then the event is a dead letter, if the function has an OnFailure destination.
3. Nobody waits for a delivery. Events are delivered at least once and in no promised order: here a retry
   overtakes nothing and is overtaken by everything that comes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from infra.local.functions import FunctionError
from infra.local.pattern import matches
from infra.local.template import FunctionSpec

log = logging.getLogger(__name__)

_KEPT: Final = 1000


class Invocable(Protocol):
    """What a function is to those that call it."""

    spec: FunctionSpec

    async def invoke(self, event: object) -> Any:
        """Return the function's result. Raises FunctionError."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that no retry could help. `time` in seconds since the epoch."""

    time: float
    function: str
    error: str
    event: object


class DeadLetters:
    """The queue of events that no function could handle; the last thousand are kept."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.letters: deque[DeadLetter] = deque(maxlen=_KEPT)

    def add(self, function: str, error: str, event: object) -> None:
        """Keep an event."""
        self.letters.append(DeadLetter(self._clock(), function, error, event))


async def redrive(
    dead_letters: DeadLetters, functions: Mapping[str, Invocable], limit: int
) -> list[tuple[DeadLetter, str | None]]:
    """Give the oldest letters back to their functions; return them with what went wrong. Those that fail stay."""
    redriven: list[tuple[DeadLetter, str | None]] = []
    for letter in list(dead_letters.letters)[:limit]:
        wrong: str | None = None
        try:
            result = await functions[letter.function].invoke(letter.event)
        except FunctionError as error:
            wrong = str(error)
        else:
            if isinstance(result, Mapping) and result.get("batchItemFailures"):
                wrong = "the function reported failed records"
        # Meanwhile another command may have redriven it too, or so many letters came that it had to make room.
        if wrong is None and letter in dead_letters.letters:
            dead_letters.letters.remove(letter)
        redriven.append((letter, wrong))
    return redriven


class EventBus:
    """Delivers events to functions."""

    def __init__(
        self,
        functions: Sequence[Invocable],
        dead_letters: DeadLetters,
        pauses: Sequence[float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._functions = functions
        self._dead_letters = dead_letters
        self._pauses = pauses
        self._sleep = sleep
        self._deliveries: set[asyncio.Task[None]] = set()

    def put(self, event: Mapping[str, object]) -> None:
        """Accept an event."""
        for function in self._functions:
            if any(matches(pattern, event) for pattern in function.spec.patterns):
                delivery = asyncio.create_task(self.invoke_async(function, event), name="event delivery")
                self._deliveries.add(delivery)
                delivery.add_done_callback(self._deliveries.discard)

    async def invoke_async(self, function: Invocable, event: object) -> None:
        """Invoke with Lambda's retries; a dead letter in the end or a line in the log, never an exception."""
        attempts = 1 + min(function.spec.retries, len(self._pauses))
        for attempt in range(attempts):
            if attempt:
                await self._sleep(self._pauses[attempt - 1])
            try:
                await function.invoke(event)
                return
            except FunctionError as error:
                last = error
        if function.spec.keeps_failed:
            self._dead_letters.add(function.spec.name, str(last), event)
        else:
            log.warning("%s failed: %s", function.spec.name, last)

    async def drain(self) -> None:
        """Return when everything accepted was delivered or is a dead letter."""
        while self._deliveries:
            await asyncio.wait(self._deliveries)

    async def close(self) -> None:
        """Drop what is under way."""
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)


async def on_schedule(
    function: Invocable, bus: EventBus, event: Callable[[], Mapping[str, object]], every: float
) -> None:
    """Invoke the function every so many seconds, as an EventBridge schedule does; runs until cancelled."""
    while True:
        await asyncio.sleep(every)
        await bus.invoke_async(function, event())
