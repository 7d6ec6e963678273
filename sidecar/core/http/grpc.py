"""What a proxy must know of gRPC over HTTP/2 (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

Rules:
- A gRPC answer is an HTTP 200; its outcome is `grpc-status`, in the trailers, or in the head of an answer that has
  no body (trailers-only).
- An answer that the proxy makes itself is trailers-only, with the code that gRPC's own mapping from HTTP statuses
  gives (doc/http-grpc-status-mapping.md), so that every client understands it. What HTTP says by Retry-After is the
  pushback of gRPC's retries (gRFC A6).
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import FLAG_FIELD, UNPROCESSED_FIELD, LocalReply
from sidecar.core.flags import DPE, joined
from sidecar.core.http.grpc_status import (
    DATA_LOSS,
    DEADLINE_EXCEEDED,
    INTERNAL,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
)
from sidecar.core.http.messages import Fields, ResponseHead

CONTENT_TYPE: Final = b"application/grpc"

# A client's errors have many statuses; the status of every other flag stands in the table of flags.
# Metadata that is too large is what gRPC's own servers call exhausted.
_BY_CLIENT_STATUS: Final = {400: INTERNAL, 405: UNIMPLEMENTED, 431: RESOURCE_EXHAUSTED}

# Of an answer that stops in the middle.
CUT: Final[Fields] = [
    (b"grpc-status", b"%d" % UNAVAILABLE),
    (b"grpc-message", b"the connection to the service broke off"),
]

# Codes that say that the endpoint, not the request, is at fault; linkerd's list without PERMISSION_DENIED.
FAILURES: Final = frozenset((DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS))

# What operators count as the service's error: those that google.rpc.Code gives a status of 500 or more. An exception
# that a server did not catch is UNKNOWN, which says nothing of the endpoint but all of the call.
SERVER_ERRORS: Final = FAILURES | {UNKNOWN, UNIMPLEMENTED}

_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def is_grpc(content_type: bytes) -> bool:
    """Return whether a message of this type is gRPC; gRPC-Web, which puts its trailers into the body, is not."""
    return content_type.startswith(CONTENT_TYPE) and content_type[16:17] in (b"", b"+", b";", b" ")


def status_of(fields: Fields) -> int | None:
    """Return the `grpc-status` among these fields, None when there is none, UNKNOWN when it is not a number."""
    for name, value in fields:
        if name == b"grpc-status":
            return int(value) if value.isdigit() and len(value) <= 2 else UNKNOWN
    return None


def http_status(code: int | None) -> int:
    """Return the HTTP status that a call of this outcome counts as: 200, 400 or 500. An answer without is UNKNOWN."""
    if code == 0:
        return 200
    return 500 if code is None or code in SERVER_ERRORS else 400


def timeout_seconds(value: bytes) -> float | None:
    """Return the seconds in a `grpc-timeout` field, None when it is malformed: at most eight digits and a unit."""
    unit = _UNITS.get(value[-1:])
    digits = value[:-1]
    if unit is None or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * unit


def timeout_field(seconds: float) -> bytes:
    """Return the `grpc-timeout` field of so many seconds: in milliseconds as long as eight digits suffice."""
    milliseconds = max(int(seconds * 1000.0), 1)
    return b"%dm" % milliseconds if milliseconds < 100_000_000 else b"%dS" % min(milliseconds // 1000, 99_999_999)


def local_reply(reply: LocalReply) -> ResponseHead:
    """Return the proxy's own answer to a gRPC request: trailers-only, one sentence in `grpc-message`."""
    flag = reply.flag
    code = _BY_CLIENT_STATUS.get(reply.status, UNKNOWN) if flag is DPE else flag.grpc_status
    fields = [
        (b"content-type", CONTENT_TYPE),
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", _percent_encode(reply.message)),
        (FLAG_FIELD, joined(reply.flags).encode()),
    ]
    if flag.unprocessed:
        fields.append((UNPROCESSED_FIELD, b"true"))
    if reply.retry_after is not None:
        fields.append((b"grpc-retry-pushback-ms", b"%d" % (reply.retry_after * 1000)))
    return ResponseHead(200, fields)


def _percent_encode(message: str) -> bytes:
    """grpc-message: printable ASCII except `%`, the rest as %XX of its UTF-8 bytes."""
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in message.encode()
    )
