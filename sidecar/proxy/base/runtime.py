"""What all connections of one sidecar share: the loop, the clock, the timer wheel, the drain.

Rules:
- One timer of the event loop drives the wheel; nothing else asks the loop for a timer per request.
- Every task is named, held until it ends, and its failure is logged: none is lost to the garbage collector.
- A connection that collects output over several events says `touch`; all that did are flushed once, right after
  the events of this turn of the loop: one write, and one packet, where there could be many.
- Once the long reads of a turn have brought `TURN_BYTES`, each connection with another one rests. In each turn
  `LONG_READS` of those that rest read on, in their order. Else libuv reads each on, up to 32 times in one turn,
  8 MiB, and a hundred of them keep all others waiting for 200 ms.
- `work` counts what a drain waits for: requests under way and tunnels. Idle connections are not work.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from sidecar.core.http.request_headers import RequestIds
from sidecar.core.timers import TICK_SECONDS, TimerWheel
from sidecar.proxy.base.clients import Clients
from sidecar.proxy.base.descriptors import Complaint
from sidecar.proxy.base.held import Held
from sidecar.proxy.base.interfaces import Recorder

log = logging.getLogger("tramo.runtime")

HIGH_WATER_BYTES: Final = 65_536
"""What may wait to be written before the side that produces it is paused."""

LONG_READ_BYTES: Final = 131_072
"""As much in one read, of the 256,000 bytes that uvloop takes at most, is part of something long."""
TURN_BYTES: Final = 1 << 20
"""Of long reads in one turn of the loop, and then one long read of each connection: two to three milliseconds."""
LONG_READS: Final = 8
"""Of connections that rest, in one turn of the loop: 2 MB at most."""


class Flushable(Protocol):
    """A connection that collects output."""

    def flush(self) -> None:
        """Write what was collected."""


class Resting(Protocol):
    """A connection that is not read for now."""

    def read_on(self) -> None:
        """Read again, unless there is another reason not to."""


class Runtime:
    """Shared state of the shell."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seed: int | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.loop = loop
        # uvloop's own clock stands still within a turn and counts in milliseconds: too coarse for latencies.
        self.now = clock if clock is not None else loop.time
        self.wheel = TimerWheel(self.now())
        self.draining = False
        self.shedding = False  # new requests are refused: memory is short
        self.is_full = False  # not even connections are taken
        self.work = 0
        self.clients = Clients()
        self.held = Held()
        self.descriptors = Complaint()
        self.recorder: Recorder | None = None  # of single requests, where log or tracing is on
        # Both need speed, not secrecy. What is drawn for the one says nothing about the other.
        self.random = random.Random(seed).getrandbits  # noqa: S311
        self.request_ids = RequestIds(random.Random(seed).getrandbits)  # noqa: S311
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticking: asyncio.TimerHandle | None = None
        self._touched: list[Flushable] = []
        self._resting: deque[Resting] = deque()
        self._long_bytes = 0  # read in this turn
        self._is_next_turn_asked = False
        self.turn = 0  # turns of the loop with output, as far as they are over

    def touch(self, connection: Flushable) -> None:
        """Flush this connection soon. It must not be touched again before it was flushed."""
        if not self._touched:
            self.loop.call_soon(self._flush)
        self._touched.append(connection)

    def _flush(self) -> None:
        touched, self._touched = self._touched, []
        self.turn += 1
        for connection in touched:
            try:
                connection.flush()
            except Exception:
                log.exception("a connection could not be flushed", extra={"connection": repr(connection)})

    def lack_descriptor(self) -> None:
        """Note that no file descriptor is left: say so, and close what nobody uses."""
        now = self.now()
        self.descriptors.say(now)
        self.clients.close_unused(now)

    def read_much(self, count: int) -> bool:
        """Note a long read. Return whether its connection is to stop reading and to `rest`."""
        self._ask_for_next_turn()
        self._long_bytes += count
        return self._long_bytes > TURN_BYTES

    def rest(self, connection: Resting) -> None:
        """Read on from this connection, which does not read now, when others have had their turn."""
        self._resting.append(connection)
        self._ask_for_next_turn()

    def _ask_for_next_turn(self) -> None:
        if not self._is_next_turn_asked:
            self._is_next_turn_asked = True
            self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_next_turn_asked = False
        self._long_bytes = 0
        for _ in range(min(LONG_READS, len(self._resting))):
            connection = self._resting.popleft()
            try:
                connection.read_on()
            except Exception:
                log.exception("a connection could not be read on", extra={"connection": repr(connection)})
        if self._resting:
            self._ask_for_next_turn()

    def start(self) -> None:
        """Start the wheel."""
        self._ticking = self.loop.call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """Stop the wheel and cancel what still runs."""
        if self._ticking is not None:
            self._ticking.cancel()
        for task in self._tasks:
            task.cancel()

    def _tick(self) -> None:
        self._ticking = self.loop.call_later(TICK_SECONDS, self._tick)
        now = self.now()
        for timed in self.wheel.due(now):
            try:
                timed.on_deadline(now)
            except Exception:
                log.exception("a deadline failed", extra={"timed": repr(timed)})

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a coroutine as a named task."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)
