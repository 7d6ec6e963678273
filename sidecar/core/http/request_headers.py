"""Fields that the proxy adds to requests on their way.

Rules:
- X-Request-Id: made where it is missing, on either side; one that is there is kept, so that a chain of services
  shares it if they pass it on.
- X-Forwarded-For: the inbound side appends the address that connected to the task. The app sees the sidecar as its
  peer, so this is where it finds who called; the last entry is what the peer's address was without a sidecar. The
  outbound side leaves it alone: its client is this task itself.
- X-Forwarded-Proto: the inbound side says `http` where nobody said anything before: an ALB's `https` stays.
- X-Amzn-Trace-Id is changed when tracing is on only, W3C `traceparent` when OTLP's is (`core.trace`); B3 never is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.core.http.messages import Fields

Random = Callable[[int], int]

DIGITS: Final = 30
"""Of an identifier: the other two say its version and variant."""
IDS_AT_ONCE: Final = 64

_ID: Final = b"x-request-id"
_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"


class RequestIds:
    """Makes version 4 UUIDs (RFC 9562), as Envoy does; they need not be secret.

    Random digits are made for many at once: for each alone that is the larger part of the cost.
    """

    __slots__ = ("_at", "_digits", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._digits = b""
        self._at = 0

    def next(self) -> bytes:
        """Return a new one."""
        if self._at == len(self._digits):
            count = IDS_AT_ONCE * DIGITS // 2
            self._digits = self._random(8 * count).to_bytes(count, "big").hex().encode()
            self._at = 0
        at, digits = self._at, self._digits
        self._at = at + DIGITS
        return b"%b-%b-4%b-a%b-%b" % (
            digits[at : at + 8],
            digits[at + 8 : at + 12],
            digits[at + 12 : at + 15],
            digits[at + 15 : at + 18],
            digits[at + 18 : at + 30],
        )


def outbound(fields: Fields, ids: RequestIds) -> None:
    """Complete a request of this task's app."""
    for name, _ in fields:
        if name == _ID:
            return
    fields.append((_ID, ids.next()))


def inbound(fields: Fields, peer: bytes, ids: RequestIds) -> None:
    """Complete a request for this task's app that came from this address."""
    has_id = has_proto = False
    last = -1
    for at, (name, _) in enumerate(fields):
        if name == _FOR:
            last = at
        elif name == _ID:
            has_id = True
        elif name == _PROTO:
            has_proto = True
    if last >= 0:
        before = fields[last][1]
        fields[last] = (_FOR, before + b", " + peer if before else peer)
    else:
        fields.append((_FOR, peer))
    if not has_proto:
        fields.append((_PROTO, b"http"))
    if not has_id:
        fields.append((_ID, ids.next()))
