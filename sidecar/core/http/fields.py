"""Fields and other words that a proxy must understand, in every version of HTTP.

Rules:
- One table says what a field is; what each version makes of it is its codec's matter. Fields that are not in the
  table are forwarded as they are.
- Sizes are bounded the same for all versions, so that what one takes another can pass on.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.core.errors import FLAG_FIELD, UNPROCESSED_FIELD

BLANK: Final = 0x20
HASH: Final = 0x23
"""As numbers: `in` looks for a number in bytes at a tenth of what it takes to look for bytes."""
MAX_HEAD_BYTES: Final = 61_440
"""Request or status line and fields together: Envoy's 60 KiB, so that what passed there passes here."""
MAX_FIELDS: Final = 100
"""Fields of one head or trailer, Envoy's limit."""
MAX_CRUMBS: Final = 300
"""Cookies of one head of HTTP/2, which may come one by one (RFC 9113 section 8.2.3); browsers keep up to 180 of a site.
A crumb takes one byte on the wire and half a microsecond to read."""
MAX_TARGET_BYTES: Final = 16_384
"""Longer targets are answered 414; nginx and HAProxy stop at 8 and 16 KiB."""

MAX_INFORMATIONAL: Final = 32
"""Answers with 1xx to one request: each is passed on by itself, and no service needs more than a few."""

# What a field is: one bit each, so that a set of kinds is their sum. Plain numbers, as each field of each head
# is looked up.
FORWARD: Final = 1 << 0
"""Any field that is not in the table."""
COOKIE: Final = 1 << 1
TYPE: Final = 1 << 2
PSEUDO: Final = 1 << 3
HOST: Final = 1 << 4
LENGTH: Final = 1 << 5
EXPECT: Final = 1 << 6
TE: Final = 1 << 7
PROXY: Final = 1 << 8
"""Between this hop and the client, or the service: ends here."""
CODING: Final = 1 << 9
CONNECTION: Final = 1 << 10
UPGRADE: Final = 1 << 11
HOP: Final = 1 << 12
OWN: Final = 1 << 13
"""What the proxy says itself in its answers."""
PASSED_ON_IN_HTTP1: Final = FORWARD | COOKIE | TYPE
"""Fields that HTTP/1.1 takes from one message to the next as they are."""
CONNECTION_SPECIFIC: Final = CODING | CONNECTION | UPGRADE | HOP
"""Fields of one connection of HTTP/1.1 (RFC 9110 section 7.6.1), which do not exist in HTTP/2."""
SPECIAL: Final = {
    b"cookie": COOKIE,
    b"content-type": TYPE,
    b":method": PSEUDO,
    b":path": PSEUDO,
    b":authority": PSEUDO,
    b":scheme": PSEUDO,
    b":status": PSEUDO,
    b"host": HOST,
    b"content-length": LENGTH,
    b"expect": EXPECT,
    b"te": TE,
    b"proxy-authenticate": PROXY,
    b"proxy-authorization": PROXY,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"http2-settings": HOP,
    FLAG_FIELD: OWN,
    UNPROCESSED_FIELD: OWN,
}
# Naming one of these in Connection would make a proxy drop what routing, framing or tracing depends on.
PROTECTED: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"cookie",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-request-id",
        b"x-amzn-trace-id",
        b"traceparent",
    )
)
FORBIDDEN_IN_TRAILERS: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"te",
        b"upgrade",
        b"trailer",
        b"expect",
        FLAG_FIELD,
        UNPROCESSED_FIELD,
    )
)  # RFC 9110 section 6.5.1: framing and routing never come from a trailer
METHODS: Final = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY "
    b"COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE "
    b"MKCALENDAR LINK UNLINK M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE".split()
)
"""What llhttp takes for a method of HTTP: another one has the same answer whatever version it comes in."""

_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def valid_authority(value: bytes) -> bool:
    """Return whether this is a host with an optional port (RFC 3986 section 3.2, without user information)."""
    return _AUTHORITY.fullmatch(value) is not None


def show(value: bytes) -> str:
    """Return bytes of a peer for an error message: short and printable."""
    return ascii(value[:64].decode("latin-1"))
