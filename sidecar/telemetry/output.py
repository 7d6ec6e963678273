"""Lines to stdout that never hold up traffic.

Rules:
- `write` puts a line into memory, no more. A thread writes what has gathered, `INTERVAL_SECONDS` after the first line
  or as soon as it is `BATCH_BYTES`: if the other side of stdout does not read, only the thread waits.
- At most `MAX_BYTES` wait. What comes beyond is dropped and counted.
- Lines stay whole: what is dropped is dropped as a whole line, and only this thread writes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import threading
from queue import SimpleQueue
from typing import Final

INTERVAL_SECONDS: Final = 0.05
BATCH_BYTES: Final = 65_536
MAX_BYTES: Final = 1 << 20
CLOSE_SECONDS: Final = 2.0

log = logging.getLogger("tramo.telemetry")


class Output:
    """A file descriptor that lines are written to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self.written = 0  # lines given to the thread
        self.dropped = 0
        self._loop = loop
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._gathered = 0  # bytes in `_lines`
        self._timer: asyncio.TimerHandle | None = None
        self._batches: SimpleQueue[bytes | None] = SimpleQueue()
        self._waiting = 0  # bytes that the thread has not written yet
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Write a line soon, or drop it if too much waits already."""
        if self._waiting + self._gathered + len(line) > MAX_BYTES:
            self.dropped += 1
            return
        self._lines.append(line)
        self._gathered += len(line)
        if self._gathered >= BATCH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(INTERVAL_SECONDS, self.flush)

    def flush(self) -> None:
        """Give the thread what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        self.written += len(lines)
        with self._lock:
            self._waiting += self._gathered
        self._gathered = 0
        self._batches.put(b"".join(lines))

    def _run(self) -> None:
        broken = False
        while (batch := self._batches.get()) is not None:
            left = memoryview(batch)
            while left and not broken:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [])
                except OSError as error:
                    broken = True
                    log.error("stdout is gone, nothing is written to it any more: %s", error)
            with self._lock:
                self._waiting -= len(batch)

    def close(self) -> None:
        """Write the rest, but wait no longer than `CLOSE_SECONDS` for it."""
        self.flush()
        self._batches.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.error("stdout did not take the last %d bytes within %.0f s", self._waiting, CLOSE_SECONDS)
