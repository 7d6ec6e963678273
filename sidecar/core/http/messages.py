"""Heads of HTTP messages as the proxy handles them, whatever version carried them.

Rules:
- Field names are lower case bytes, values are bytes without outer white space, in the order received.
- What belongs to one connection only (RFC 9110 section 7.6.1) is never in `fields`: the codec that read the
  message has turned it into attributes, and the codec that writes it makes its own.
- A `content_length` of 0 says that nothing follows the head: no body and no trailers.
- `Host` and `:authority` are the attribute `authority`; the writer puts it back.
"""

from __future__ import annotations

from typing import Final

UNKNOWN_LENGTH: Final = -1
"""A body whose end the framing shows (chunked, end of stream, close), not a Content-Length."""

IDEMPOTENT_METHODS: Final = frozenset(
    (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE")
)  # RFC 9110 section 9.2.2

Fields = list[tuple[bytes, bytes]]


class RequestHead:
    """The head of a request."""

    __slots__ = (
        "authority",
        "content_length",
        "expect_continue",
        "fields",
        "is_grpc",
        "is_http_10",
        "method",
        "target",
        "upgrade",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        authority: bytes,
        fields: Fields,
        content_length: int = 0,
        upgrade: bytes = b"",
        expect_continue: bool = False,
    ) -> None:
        self.method = method
        self.target = target  # origin form, or `*`
        self.authority = authority
        self.fields = fields
        self.content_length = content_length  # bytes, or UNKNOWN_LENGTH
        self.upgrade = upgrade  # the protocol asked for, as in the Upgrade field
        self.expect_continue = expect_continue
        self.is_grpc = False
        self.is_http_10 = False  # its client understands no chunks, no trailers and no informational answers

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the first field of this lower case name, or None."""
        for field, value in self.fields:
            if field == name:
                return value
        return None

    def __repr__(self) -> str:
        return f"<RequestHead {(self.method + b' ' + self.authority + self.target).decode('ascii', 'replace')}>"


NO_REQUEST: Final = RequestHead(b"-", b"-", b"", [])
"""Stands for what was to be a request and cannot be read as one."""


class ResponseHead:
    """The head of a response, final or informational (1xx)."""

    __slots__ = ("content_length", "fields", "reason", "status", "upgrade")

    def __init__(
        self,
        status: int,
        fields: Fields,
        content_length: int = 0,
        reason: bytes = b"",
        upgrade: bytes = b"",
    ) -> None:
        self.status = status
        self.fields = fields
        self.content_length = content_length  # bytes that follow, or UNKNOWN_LENGTH
        self.reason = reason
        self.upgrade = upgrade

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the first field of this lower case name, or None."""
        for field, value in self.fields:
            if field == name:
                return value
        return None

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}>"


class End:
    """The end of a message, with the trailer fields that came after its body."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: Fields) -> None:
        self.trailers = trailers

    def __repr__(self) -> str:
        return f"<End trailers={len(self.trailers)}>"


END: Final = End([])
"""The end of a message without trailers: nearly every message, so one object serves all."""
