"""Header blocks of HTTP/2, decoded, to heads (RFC 9113 section 8).

Rules:
- libnghttp2 has checked names, values and the pseudo-header fields; what it lets through and a proxy may not pass on
  is refused here, so that nothing can be smuggled to an HTTP/1.1 service: the authority, the path, sizes, trailers.
- A field is passed on as it came: one that must never be indexed stays so on the next hop (RFC 7541 section 7.1.3).
- A ProtocolError with the status 400 is a malformed message; with another one the message is well formed, and its
  sender is told by that status what is wrong with it.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

import ngh2

from sidecar.core.errors import ProtocolError
from sidecar.core.http import grpc
from sidecar.core.http.fields import (
    BLANK,
    CONNECTION_SPECIFIC,
    COOKIE,
    EXPECT,
    FORBIDDEN_IN_TRAILERS,
    HASH,
    HOST,
    LENGTH,
    MAX_CRUMBS,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_TARGET_BYTES,
    METHODS,
    OWN,
    PROXY,
    PSEUDO,
    SPECIAL,
    TE,
    TYPE,
    show,
    valid_authority,
)
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead

_AS_IT_IS: Final = TE | OWN


def read_request(headers: tuple[ngh2.Header, ...], ended: bool) -> RequestHead:
    """Return the head in a header block. Raises ProtocolError for what a proxy may not pass on."""
    method = target = b""
    authority: bytes | None = None
    host: bytes | None = None
    length = 0 if ended else UNKNOWN_LENGTH
    is_grpc = expects = False
    cookies: list[bytes] = []
    fields: Fields = []
    special = SPECIAL.get
    for header in headers:
        name, value = header
        kind = special(name)
        if kind is None:
            fields.append(header)  # as it is: it may be one that must never be indexed (RFC 7541 section 7.1.3)
        elif kind == PSEUDO:
            if name == b":path":
                target = value
            elif name == b":method":
                method = value
            elif name == b":authority":
                authority = value
        elif kind == TYPE:
            is_grpc = grpc.is_grpc(value)
            fields.append(header)
        elif kind & _AS_IT_IS:
            fields.append(header)
        elif kind == COOKIE:
            if value:  # joined, an empty crumb would end the value with a blank
                cookies.append(value)
        elif kind == HOST:
            if host is not None:
                raise ProtocolError("more than one host field")
            host = value
        elif kind == LENGTH:
            # libnghttp2 checked it, and holds the body to it.
            length = length if ended else int(value) or UNKNOWN_LENGTH
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise ProtocolError("the only expectation supported is 100-continue", 417)
            expects = True
        elif kind != PROXY:
            raise ProtocolError(f"the field {show(name)} belongs to one connection")
    if cookies:
        fields.append((b"cookie", b"; ".join(cookies)))  # RFC 9113 section 8.2.3
    if authority is None:
        authority = host
    if authority is None or not valid_authority(authority) or (host is not None and host != authority):
        raise ProtocolError("authority and host are missing, malformed or differ")
    if method not in METHODS:
        raise ProtocolError(f"{show(method)} is no method of HTTP", 501)
    if method == b"TRACE" and not ended:
        raise ProtocolError("TRACE has no body")  # RFC 9110 section 9.3.8
    if method == b"CONNECT":
        raise ProtocolError("CONNECT is served by the forward proxy's port only")
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise ProtocolError("the path is not in origin form")
    if BLANK in target or HASH in target or not target.isascii():
        raise ProtocolError("the path has a character that no URL has")
    if len(target) > MAX_TARGET_BYTES:
        raise ProtocolError(f"the path is longer than {MAX_TARGET_BYTES} bytes", 414)
    if len(fields) > MAX_FIELDS or _size(headers) > MAX_HEAD_BYTES:
        raise ProtocolError(f"more than {MAX_FIELDS} fields or {MAX_HEAD_BYTES} bytes of them", 431)
    if len(cookies) > MAX_CRUMBS:
        raise ProtocolError(f"more than {MAX_CRUMBS} cookies", 431)
    head = RequestHead(method, target, authority, fields, length, b"", expects)
    head.is_grpc = is_grpc
    return head


def read_response(headers: tuple[ngh2.Header, ...], ended: bool, trusted_peer: bool = True) -> ResponseHead:
    """Return the head in a header block. Raises ProtocolError for what a proxy may not pass on.

    Of a server that is no proxy the fields that only a proxy may set are left out: `trusted_peer` is False then.
    """
    status = 0
    length = 0 if ended else UNKNOWN_LENGTH
    fields: Fields = []
    special = SPECIAL.get
    for header in headers:
        name, value = header
        kind = special(name)
        if kind is None:
            fields.append(header)
        elif kind == PSEUDO:
            status = int(value)
        elif kind == LENGTH and not (ended and int(value)):
            length = length if ended else int(value) or UNKNOWN_LENGTH
        elif kind & CONNECTION_SPECIFIC:
            raise ProtocolError(f"the field {show(name)} belongs to one connection")
        elif kind != PROXY and (kind != OWN or trusted_peer):
            fields.append(header)
    if len(fields) > MAX_FIELDS or _size(headers) > MAX_HEAD_BYTES:
        raise ProtocolError(f"more than {MAX_FIELDS} fields or {MAX_HEAD_BYTES} bytes of them")
    return ResponseHead(status, fields, length)


def _size(headers: tuple[ngh2.Header, ...]) -> int:
    """Return how many bytes the fields have as lines of HTTP/1.1."""
    return sum(map(len, chain.from_iterable(headers))) + 4 * len(headers)


def read_trailers(headers: tuple[ngh2.Header, ...]) -> Fields:
    """Return the fields behind a body. Raises ProtocolError for what may only stand in a head."""
    for name, _ in headers:
        if name in FORBIDDEN_IN_TRAILERS:
            raise ProtocolError(f"the trailer field {show(name)} is not allowed")
    if len(headers) > MAX_FIELDS:
        raise ProtocolError(f"more than {MAX_FIELDS} trailer fields")
    return list(headers)
