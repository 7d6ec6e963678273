"""How busy, how slow and how doubtful an endpoint is, as this sidecar sees it.

Rules:
- Pressing are the requests under way that say something about load. One that stays open for `GENERATION_SECONDS` while
  the endpoint answers later ones is none: it is a stream or a long poll. Requests are counted by generation, and a
  generation ends with an answer to one of its own; so those of an endpoint that hangs press for good.
- Latency is a mean of good answers, in steps with a bound: one answer changes it by an eighth at most upwards, by a
  quarter downwards. One slow answer is no news, seven in a row are. After slow days the first quick answer brings it
  down to `MOST_TIMES_ANSWER` times its own.
- Doubt, 0 to 1, is the mean of what recent answers say against the endpoint: `OVERLOADED` for failures and refusals for
  load, `CLIENT_ERROR` for other refusals, 0 for good answers. What comes quickly because it was refused says nothing
  about latency.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.http import grpc_status

TOO_MANY_REQUESTS: Final = 429

GENERATION_SECONDS: Final = 1.0
LATENCY_STEP_UP: Final = 0.125
LATENCY_STEP_DOWN: Final = 0.25
MOST_TIMES_LATENCY: Final = 2.0
"""What one answer may count as, times the mean so far."""
MOST_TIMES_ANSWER: Final = 16.0
DOUBT_STEP: Final = 0.125

GOOD: Final = 0.0
CLIENT_ERROR: Final = 0.25
"""Weighs less than the balancer's margin: whose fault it is, nobody knows."""
OVERLOADED: Final = 1.0

NEVER: Final = -1e9
"""Long before any clock's now."""


def doubt_of_status(status: int) -> float:
    """Return what an HTTP answer below 500 says against its endpoint."""
    if status < 400:
        return GOOD
    return OVERLOADED if status == TOO_MANY_REQUESTS else CLIENT_ERROR


def doubt_of_grpc(code: int | None) -> float:
    """Return what a `grpc-status` that is no failure says against its endpoint."""
    if code == grpc_status.OK:
        return GOOD
    return OVERLOADED if code == grpc_status.RESOURCE_EXHAUSTED else CLIENT_ERROR


class Load:
    """What the balancer knows of one endpoint. Times are seconds of a monotonic clock."""

    __slots__ = (
        "active",
        "begun_at",
        "doubt",
        "generation",
        "generation_at",
        "heard_at",
        "latency",
        "pressing",
        "recent",
        "requests",
        "scale",
        "weight",
    )

    def __init__(self) -> None:
        self.active = 0  # requests or connections under way
        self.requests = 0
        self.pressing = 0
        self.recent = 0  # of them, those of the present generation
        self.generation = 0
        self.generation_at = NEVER
        self.begun_at = NEVER  # when the last request began
        self.heard_at = NEVER  # when the last answer began
        self.latency = 0.0  # seconds; 0 while nothing is known
        self.doubt = GOOD
        self.weight = 100
        self.scale = 1.0  # mean weight of those it is chosen among, divided by its own

    def enter(self, now: float) -> int:
        """Begin a request. Return its generation, which `end` wants to know."""
        self.active += 1
        self.requests += 1
        self.pressing += 1
        self.recent += 1
        self.begun_at = now
        return self.generation

    def end(self, generation: int) -> None:
        """End a request, however it went."""
        self.active -= 1
        if generation == self.generation:
            self.recent -= 1
            self.pressing -= 1
        elif generation == self.generation - 1:
            self.pressing -= 1

    def heard(self, generation: int, now: float) -> None:
        """Note that the endpoint begins to answer a request of this generation."""
        self.heard_at = now
        if generation == self.generation and now - self.generation_at >= GENERATION_SECONDS:
            self.generation += 1
            self.generation_at = now
            self.pressing = self.recent
            self.recent = 0

    def observe(self, latency: float) -> None:
        """Take the latency of a good answer."""
        known = self.latency
        if known == 0.0:
            self.latency = latency
        elif latency > known:
            self.latency = known + (min(latency, known * MOST_TIMES_LATENCY) - known) * LATENCY_STEP_UP
        else:
            known = min(known, latency * MOST_TIMES_ANSWER)
            self.latency = known + (latency - known) * LATENCY_STEP_DOWN

    def doubted(self, doubt: float) -> None:
        """Take what an answer, or its absence, says against the endpoint."""
        self.doubt += (doubt - self.doubt) * DOUBT_STEP
