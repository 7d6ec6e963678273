"""Endpoints to choose among, in turn and by chance, each by its weight.

Rules:
- Equal weights go round. Others follow the golden ratio's sequence over the sum of weights: that is as even as a turn
  can be for any weights, and has no state but a count.
- Weight 0 is nobody's turn; if all have it, all are alike.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Final

from sidecar.core.routing.endpoint import Endpoint

_GOLDEN: Final = 0.618_033_988_749_895


class Choices:
    """Endpoints that requests are spread over. They stay as they are; the turn is the caller's to count."""

    __slots__ = ("_shares", "_sums", "endpoints")

    def __init__(self, endpoints: list[Endpoint], shares: list[float] | None = None) -> None:
        """`shares` stand in for the weights where given: one for each endpoint, none negative."""
        self.endpoints = endpoints
        if shares is None:
            shares = [float(endpoint.weight) for endpoint in endpoints]
        self._shares: list[float] | None = None  # None if all are alike
        self._sums: list[float] = []
        if shares and max(shares) > min(shares):
            self._shares = shares
            self._sums = list(accumulate(shares))

    def at_turn(self, turn: int) -> Endpoint:
        """Return the endpoint whose turn it is. There is one if there are endpoints."""
        if self._shares is None:
            return self.endpoints[turn % len(self.endpoints)]
        return self.endpoints[self._index(turn * _GOLDEN % 1.0)]

    def another(self, first: Endpoint, random: int) -> Endpoint:
        """Return one at random, another than the first if there is one. `random` has 16 bits."""
        index = (random * len(self.endpoints)) >> 16 if self._shares is None else self._index(random / 65_536.0)
        if self.endpoints[index] is first:  # its neighbours by chance, or one of them would have it twice as often
            index = (index + (1 if random & 1 else -1)) % len(self.endpoints)
        return self.endpoints[index]

    def _index(self, point: float) -> int:
        """Return the endpoint at this point of all shares, 0 <= point < 1."""
        if self._shares is None:
            return int(point * len(self.endpoints))
        sums = self._sums
        # Rounding may put the last point on the total itself.
        return min(bisect_right(sums, point * sums[-1]), len(sums) - 1)

    def among(self, endpoints: list[Endpoint]) -> Choices:
        """Return the choices with only these endpoints."""
        if len(endpoints) == len(self.endpoints):
            return self
        if self._shares is None:
            return Choices(endpoints, [1.0] * len(endpoints))
        by_endpoint = dict(zip(self.endpoints, self._shares, strict=True))
        return Choices(endpoints, [by_endpoint[endpoint] for endpoint in endpoints])

    def for_retry(self, tried: list[Endpoint], now: float) -> Choices:
        """Return those of them that were not tried and ask for no pause."""
        return self.among(
            [endpoint for endpoint in self.endpoints if endpoint.rests_until <= now and endpoint not in tried]
        )

    def willing(self, now: float) -> Choices:
        """Return those of them that ask for no pause; all if there is no such one."""
        return self.among([endpoint for endpoint in self.endpoints if endpoint.rests_until <= now] or self.endpoints)
