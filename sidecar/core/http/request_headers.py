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

_ID: Final = b"x-request-id"
_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"


def outbound(fields: Fields, random: Random) -> None:
    """Complete a request of this task's app."""
    for name, _ in fields:
        if name == _ID:
            return
    fields.append((_ID, request_id(random)))


def inbound(fields: Fields, peer: bytes, random: Random) -> None:
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
        fields.append((_ID, request_id(random)))


def request_id(random: Random) -> bytes:
    """Return a new version 4 UUID (RFC 9562), as Envoy makes them; they need not be secret."""
    digits = random(128).to_bytes(16, "big").hex()  # a third of the time of a format
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}".encode()
