"""One coarse timer wheel for all deadlines of the proxy.

Rules:
- `schedule` and `cancel` cost a set operation each; nothing is sorted and the event loop has one timer.
- A deadline put off costs none: it stays in its slot, and moves on when the wheel comes there.
- A deadline comes up to one tick late and never early. Deadlines beyond the wheel's turn wait in its last slot and
  are scheduled again from there.
- The owner says what a deadline means: the wheel returns what is due and calls nothing.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

TICK_SECONDS: Final = 0.05
SLOTS: Final = 1024
"""51 s of wheel at this tick: request time-outs fit, idle time-outs go round."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Timed:
    """Something with a deadline. Subclass it; one deadline at a time."""

    __slots__ = ("deadline", "slot")

    def __init__(self) -> None:
        self.deadline = 0.0
        self.slot = -1

    def on_deadline(self, now: float) -> None:
        """Act: the deadline has come."""
        raise NotImplementedError


class TimerWheel:
    """Deadlines in slots of one tick."""

    __slots__ = ("_current", "_slots")

    def __init__(self, now: float) -> None:
        self._slots: list[set[Timed]] = [set() for _ in range(SLOTS)]
        self._current = int(now / TICK_SECONDS)

    def schedule(self, timed: Timed, deadline: float) -> None:
        """Set the deadline, replacing the one before."""
        if timed.slot >= 0:
            if deadline >= timed.deadline:
                timed.deadline = deadline
                return
            self._slots[timed.slot].discard(timed)
        timed.deadline = deadline
        tick = int(deadline / TICK_SECONDS) + 1
        if tick <= self._current:
            tick = self._current + 1
        elif tick >= self._current + SLOTS:
            tick = self._current + SLOTS - 1
        timed.slot = tick % SLOTS
        self._slots[timed.slot].add(timed)

    def cancel(self, timed: Timed) -> None:
        """Forget the deadline, if there is one."""
        if timed.slot >= 0:
            self._slots[timed.slot].discard(timed)
            timed.slot = -1

    def due(self, now: float) -> list[Timed]:
        """Take out what is due by now, in the order of ticks."""
        target = int(now / TICK_SECONDS)
        found: list[Timed] = []
        # After a pause longer than a turn every slot is looked at once.
        self._current = max(self._current, target - SLOTS)
        while self._current < target:
            self._current += 1
            slot = self._slots[self._current % SLOTS]
            if not slot:
                continue
            waiting = list(slot)
            slot.clear()
            for timed in waiting:
                timed.slot = -1
                if timed.deadline <= now:
                    found.append(timed)
                else:
                    self.schedule(timed, timed.deadline)
        return found

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots)
