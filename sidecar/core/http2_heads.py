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

from sidecar.core import grpc
from sidecar.core.errors import ProtocolError
from sidecar.core.http1 import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES, valid_authority
from sidecar.core.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead

# What a field is. Fields that are not in this table are forwarded as they are.
_PSEUDO: Final = 1
_HOST: Final = 2
_LENGTH: Final = 3
_COOKIE: Final = 4
_EXPECT: Final = 5
_TYPE: Final = 6
_DROP: Final = 7
_CONNECTION: Final = 8
_SPECIAL: Final = {
    b":method": _PSEUDO,
    b":path": _PSEUDO,
    b":authority": _PSEUDO,
    b":scheme": _PSEUDO,
    b":status": _PSEUDO,
    b"host": _HOST,
    b"content-length": _LENGTH,
    b"cookie": _COOKIE,
    b"expect": _EXPECT,
    b"content-type": _TYPE,
    b"proxy-authenticate": _DROP,
    b"proxy-authorization": _DROP,
    b"connection": _CONNECTION,  # RFC 9113 section 8.2.2; libnghttp2 refuses these too
    b"keep-alive": _CONNECTION,
    b"proxy-connection": _CONNECTION,
    b"transfer-encoding": _CONNECTION,
    b"upgrade": _CONNECTION,
    b"http2-settings": _CONNECTION,
}
_FORBIDDEN_IN_TRAILERS: Final = frozenset(
    (b"host", b"content-length", b"te", b"trailer", b"expect")
)  # RFC 9110 section 6.5.1: framing and routing never come from a trailer; the others libnghttp2 refuses


def read_request(headers: tuple[ngh2.Header, ...], ended: bool) -> RequestHead:
    """The head in a header block. Raises ProtocolError for what a proxy may not pass on."""
    method = target = b""
    authority: bytes | None = None
    host: bytes | None = None
    length = 0 if ended else UNKNOWN_LENGTH
    is_grpc = expects = False
    cookies: list[bytes] = []
    fields: Fields = []
    special = _SPECIAL.get
    for header in headers:
        name, value = header
        kind = special(name)
        if kind is None:
            fields.append(header)  # as it is: it may be one that must never be indexed (RFC 7541 section 7.1.3)
        elif kind == _PSEUDO:
            if name == b":path":
                target = value
            elif name == b":method":
                method = value
            elif name == b":authority":
                authority = value
        elif kind == _TYPE:
            is_grpc = grpc.is_grpc(value)
            fields.append(header)
        elif kind == _COOKIE:
            cookies.append(value)
        elif kind == _HOST:
            if host is not None:
                raise ProtocolError("more than one host field")
            host = value
        elif kind == _LENGTH and not ended:
            length = int(value) or UNKNOWN_LENGTH  # libnghttp2 checked it, and holds the body to it
        elif kind == _EXPECT:
            if value.lower() != b"100-continue":
                raise ProtocolError("the only expectation supported is 100-continue", 417)
            expects = True
        elif kind == _CONNECTION:
            raise ProtocolError(f"the field {name!r} belongs to one connection")
    if cookies:
        fields.append((b"cookie", b"; ".join(cookies)))  # RFC 9113 section 8.2.3
    if authority is None:
        authority = host
    if authority is None or not valid_authority(authority) or (host is not None and host != authority):
        raise ProtocolError("authority and host are missing, malformed or differ")
    if method == b"CONNECT":
        raise ProtocolError("CONNECT is served by the forward proxy's port only")
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise ProtocolError("the path is not in origin form")
    if b" " in target or b"#" in target:
        raise ProtocolError("the path has a character that no URL has")
    if len(target) > MAX_TARGET_BYTES:
        raise ProtocolError(f"the path is longer than {MAX_TARGET_BYTES} bytes", 414)
    if len(fields) > MAX_FIELDS or _size(headers) > MAX_HEAD_BYTES:
        raise ProtocolError(f"more than {MAX_FIELDS} fields or {MAX_HEAD_BYTES} bytes of them", 431)
    head = RequestHead(method, target, authority, fields, length, b"", expects)
    head.is_grpc = is_grpc
    return head


def read_response(headers: tuple[ngh2.Header, ...], ended: bool) -> ResponseHead:
    """The head in a header block. Raises ProtocolError for what a proxy may not pass on."""
    status = 0
    length = 0 if ended else UNKNOWN_LENGTH
    fields: Fields = []
    special = _SPECIAL.get
    for header in headers:
        name, value = header
        kind = special(name)
        if kind is None:
            fields.append(header)
        elif kind == _PSEUDO:
            status = int(value)
        elif kind == _LENGTH and not (ended and int(value)):
            length = length if ended else int(value) or UNKNOWN_LENGTH
        elif kind == _CONNECTION:
            raise ProtocolError(f"the field {name!r} belongs to one connection")
        elif kind != _DROP:
            fields.append(header)
    if len(fields) > MAX_FIELDS or _size(headers) > MAX_HEAD_BYTES:
        raise ProtocolError(f"more than {MAX_FIELDS} fields or {MAX_HEAD_BYTES} bytes of them")
    return ResponseHead(status, fields, length)


def _size(headers: tuple[ngh2.Header, ...]) -> int:
    """Bytes of the fields as a line each of HTTP/1.1."""
    return sum(map(len, chain.from_iterable(headers))) + 4 * len(headers)


def read_trailers(headers: tuple[ngh2.Header, ...]) -> Fields:
    """The fields behind a body. Raises ProtocolError for what may only stand in a head."""
    for name, _ in headers:
        if name in _FORBIDDEN_IN_TRAILERS:
            raise ProtocolError(f"the trailer field {name!r} is not allowed")
    if len(headers) > MAX_FIELDS:
        raise ProtocolError(f"more than {MAX_FIELDS} trailer fields")
    return list(headers)
