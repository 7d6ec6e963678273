"""Long work in slices: a snapshot of thousands of services is taken over while traffic goes on.

Rules:
- Work says `rest` between its pieces. Once `SLICE_SECONDS` have passed since the loop last had its turn, it gets one.
- What is done between two rests is whole: traffic sees each service as it was or as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

SLICE_SECONDS: Final = 0.002
"""Added to a request's latency at worst; a thousandth of a proxy's usual time-outs."""


class Pace:
    """Slices of one piece of work."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.rests = 0
        self._now = now
        self._until = now() + SLICE_SECONDS

    async def rest(self) -> None:
        """Let the loop have its turn if it has waited long enough."""
        if self._now() >= self._until:
            self.rests += 1
            await asyncio.sleep(0)
            self._until = self._now() + SLICE_SECONDS
