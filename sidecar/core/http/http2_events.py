"""Events on the streams of an HTTP/2 connection, and the error codes that end streams (RFC 9113 section 7)."""

from __future__ import annotations

from typing import Final

from sidecar.core.http.messages import End, RequestHead, ResponseHead

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
ENHANCE_YOUR_CALM: Final = 0xB


class Reset:
    """The peer ended a stream before its time, or the codec did because the peer's messages on it are malformed."""

    __slots__ = ("code", "provoked")

    def __init__(self, code: int, provoked: bool = False) -> None:
        self.code = code
        self.provoked = provoked

    def __repr__(self) -> str:
        return f"<Reset {self.code}>"


class Refused:
    """A request that went no further than here: the codec has reset its stream or, `status` not 0, answered it."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Refused {self.status}>"


class GoAway:
    """The peer takes no more streams; those above `last_stream` it has not processed."""

    __slots__ = ("code", "last_stream")

    def __init__(self, last_stream: int, code: int) -> None:
        self.last_stream = last_stream
        self.code = code

    def __repr__(self) -> str:
        return f"<GoAway last={self.last_stream} code={self.code}>"


StreamEvent = RequestHead | ResponseHead | bytes | End | Reset | Refused | GoAway
