"""When metrics are sent: at whole intervals since the start.

Waiting one interval after each sending would be late by what sending takes, every time. CloudWatch would get 59 values
of a gauge in some hours, and its sum would show a hole where none was.
"""

from __future__ import annotations

import asyncio
import math


class Intervals:
    """Waits for the end of one interval after the other; the first begins now, in the running loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._started = self._due = self._loop.time()

    async def wait(self) -> None:
        """Return when the next interval is over; those that were over before this call are left out."""
        now = self._loop.time()
        self._due = after(now, self._started, self._due, self._seconds)
        await asyncio.sleep(self._due - now)


def after(now: float, started: float, due: float, seconds: float) -> float:
    """Return the first whole interval since `started` that is after `due` and not before `now`."""
    count = max(round((due - started) / seconds) + 1, math.ceil((now - started) / seconds))
    return started + count * seconds
