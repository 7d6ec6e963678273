"""Whether callers know this task and it serves: what the `gate` container's health check asks.

ECS stops the old tasks of a deployment as soon as the new ones are HEALTHY, and waits for nobody. So a task becomes
HEALTHY only when callers have read its endpoints and its app listens, by a container of its own, the gate, which counts
for nothing else.

    CLOSED ⇄ SEEN ──▶ OPEN

Rules:
- CLOSED: a service that this task offers has no ready endpoint of this task in the snapshot here.
- SEEN: all have one. Other sidecars read as often as this one, so they all have it once the longest interval between
  two readings, and `MARGIN_SECONDS` for the reading itself, are over. An app that starts slowly is waited for too: each
  port that the task offers has to be listened on once.
- OPEN, for good: a gate that closed again would have ECS end a task that serves. A task that offers nothing begins so.
- Without the API the gate stays closed: then nobody else can learn of this task, and the old ones must go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from sidecar.core.snapshot import Snapshot

MARGIN_SECONDS: Final = 2.0
"""For a slow answer of the API, and for taking a snapshot over."""

_NO_ENDPOINT: Final = "the snapshot has no ready endpoint of this task for these services"
_NO_APP: Final = "the app does not listen yet on the ports of these services"
_NO_ID: Final = "this task does not know its own id: the task metadata endpoint gave no answer"


class GateState(Enum):
    """What the gate knows."""

    CLOSED = "closed"
    SEEN = "seen"
    OPEN = "open"


class Gate:
    """Follows this task's own endpoints in the snapshots. Times are seconds of a monotonic clock.

    `apps_not_seen` returns the services whose app has not listened yet; one that has listened never comes back.
    """

    def __init__(self, task_id: str, services: Sequence[str], apps_not_seen: Callable[[], Sequence[str]]) -> None:
        self._task_id = task_id
        self._services = tuple(dict.fromkeys(services))
        self._apps_not_seen = apps_not_seen
        self._missing = self._services
        self._opens_at: float | None = None if services else -math.inf

    def state(self, now: float) -> GateState:
        """Return what the gate knows."""
        if self._opens_at is None:
            return GateState.CLOSED
        return GateState.SEEN if now < self._opens_at or self._apps_not_seen() else GateState.OPEN

    def observe(self, snapshot: Snapshot, now: float, longest_interval: float) -> None:
        """Look at a snapshot that this sidecar routes by from now on; others read it within `longest_interval`."""
        if self.state(now) is GateState.OPEN:
            return
        self._missing = tuple(name for name in self._services if not self._is_ready(snapshot, name))
        if self._missing:
            self._opens_at = None
        elif self._opens_at is None:
            self._opens_at = now + longest_interval + MARGIN_SECONDS

    def _is_ready(self, snapshot: Snapshot, service: str) -> bool:
        record = snapshot.services.get(service)
        if record is None or not self._task_id:
            return False
        own = f"{self._task_id}/"
        return any(endpoint.id.startswith(own) and endpoint.state == "ready" for endpoint in record.endpoints)

    def describe(self, now: float) -> dict[str, Any]:
        """Return the admin page: the state, and what the gate waits for."""
        state = self.state(now)
        page: dict[str, Any] = {"state": state.value}
        if state is GateState.CLOSED:
            page["waits_for"] = list(self._missing)
            page["why"] = _NO_ENDPOINT if self._task_id else _NO_ID
        elif state is GateState.SEEN and self._opens_at is not None:
            page["opens_in_seconds"] = round(max(self._opens_at - now, 0.0), 3)
            waiting = list(self._apps_not_seen())
            if waiting:
                page |= {"waits_for": waiting, "why": _NO_APP}
        return page
