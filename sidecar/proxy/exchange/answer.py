"""The answer to a request that its client gets; failed ones in front of it were replaced by further attempts.

Rules:
- It is counted once, by its status. The status of a gRPC answer stands in its trailers: such an answer is counted at
  its end, one that is cut before as failed, unless the client itself ended it: that had what it wanted of a stream.
- An answer that is still a failure as no retry was left carries the flags of the attempts before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import FLAG_FIELD
from sidecar.core.flags import DC, DPE, Flags, joined
from sidecar.core.http import grpc

if TYPE_CHECKING:
    from sidecar.core.http.messages import Fields, ResponseHead
    from sidecar.core.meters import ClientMeter
    from sidecar.proxy.exchange.attempt import Attempt

_STREAMS: Final = (b"text/event-stream", b"application/grpc")
_CLIENTS_END: Final = frozenset((DC.code, DPE.code))


class FinalAnswer:
    """How far the answer is, and whether it is counted."""

    __slots__ = ("_meter", "_uncounted", "begun")

    def __init__(self, meter: ClientMeter) -> None:
        self._meter = meter
        self._uncounted = 0  # the status of a gRPC answer that has begun: its end will say how to count it
        self.begun = False  # its head goes to the client: no other can take its place

    def begin(self, head: ResponseHead, is_grpc: bool, attempt: Attempt | None) -> None:
        """Take the head that the client gets, of this attempt, and count it as far as its head tells."""
        self.begun = True
        if attempt is None:
            return
        if not is_grpc or head.status != 200:
            self._meter.answered(head.status, attempt.latency)
        elif attempt.is_open():
            self._meter.latency.record(attempt.latency)
            self._uncounted = head.status
        else:
            self._meter.answered(grpc.http_status(grpc.status_of(head.fields)), attempt.latency)

    def status_at_end(self, trailers: Fields) -> int | None:
        """Return the `grpc-status` of an answer that is known by its trailers only; None if it has none there."""
        return grpc.status_of(trailers) if self._uncounted else None

    def end(self, code: int | None) -> None:
        """Count an answer that has come whole, with this status at its end."""
        if self._uncounted:
            self._count(grpc.http_status(code))

    def cut(self, flags: Flags) -> None:
        """Count an answer that is not whole and will not be, for the reason that these flags give."""
        if self._uncounted:
            self._count(200 if flags and flags[-1].code in _CLIENTS_END else 502)

    def _count(self, status: int) -> None:
        self._uncounted = 0
        self._meter.counted(status)


def is_stream(head: ResponseHead) -> bool:
    """Return whether the answer has no end that one could wait for."""
    content_type = head.get(b"content-type")
    return content_type is not None and content_type.startswith(_STREAMS)


def add_flags(head: ResponseHead, flags: Flags) -> None:
    """Say in the head of a failed answer why no retry made it good, unless the endpoint's sidecar says more."""
    if flags and head.get(FLAG_FIELD) is None:
        head.fields.append((FLAG_FIELD, joined(flags).encode()))
