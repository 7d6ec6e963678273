"""HTTP/1.1 from the wire (RFC 9112): what requests and responses have in common.

Rules:
- llhttp, through httptools, splits the bytes; every leniency stays off. What it lets through and a proxy may
  not is refused here: sizes and counts, Host, versions, transfer codings.
- A reader returns a list of events: a head, then `bytes` of the body, then an `End`.
- Connection-specific fields (RFC 9110 section 7.6.1) end here, in both directions. A Connection field that
  names a field the proxy itself relies on is an attack and refused.
- The body's framing is decided once, from the head: Content-Length, chunked, or the connection's close
  (responses only). Both framings at once, or twice, is refused (RFC 9112 section 6.3, request smuggling).
- Arbitrary bytes raise `ProtocolError` and nothing else; after that the reader is done for.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ProtocolError
from sidecar.core.http.fields import (
    CODING,
    CONNECTION,
    EXPECT,
    FORBIDDEN_IN_TRAILERS,
    FORWARD,
    HOST,
    LENGTH,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    OWN,
    PROTECTED,
    SPECIAL,
    TE,
    TYPE,
    UPGRADE,
    show,
)
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead

MAX_CHUNK_OVERHEAD: Final = 16_384
"""Chunk extensions and trailers of one message, beyond what `CHUNK_CREDIT` allows with the body."""
CHUNK_CREDIT: Final = 9
"""Bytes on the wire that a byte of a chunked body may cost: a chunk of one byte takes six."""

Event = RequestHead | ResponseHead | bytes | End


class Reader:
    """What requests and responses share: fields, framing, sizes. httptools calls the `on_` methods."""

    def __init__(self, keeps_own: bool = True) -> None:
        self._keeps_own = keeps_own  # what a proxy says by its own fields may be passed on
        self._events: list[Event] = []
        self._head_open = False  # a head has begun and is not complete
        self._head_bytes = 0
        self._head_is_new = False  # it began in the bytes being read now
        self._priming = False  # the parser reads a head that the reader made itself
        self._credit = 0  # bytes that the framing of a chunked body may still cost
        self._begin()
        self._head_open = False

    def _begin(self) -> None:
        self._head_open = True
        self._head_bytes = 0
        self._head_is_new = True
        self._fields: Fields = []
        self._trailers: Fields = []
        self._in_body = False
        self._host: bytes | None = None
        self._content_length = UNKNOWN_LENGTH
        self._chunked = False
        self._upgrade = b""
        self._may_upgrade = False
        self._expect_continue = False
        self._trailers_accepted = False
        self._keep_alive = True
        self._connection_names: set[bytes] = set()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self._in_body:
            self._on_trailer(name, value)
            return
        kind = SPECIAL.get(name, FORWARD)
        if kind <= TYPE:
            self._fields.append((name, value.strip(b" \t")))
        else:
            self._on_special(kind, name, value.strip(b" \t"))

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        if name in FORBIDDEN_IN_TRAILERS:
            if self._priming:
                return
            raise ProtocolError(f"the trailer field {show(name)} is not allowed")
        self._trailers.append((name, value.strip(b" \t")))
        if len(self._trailers) > MAX_FIELDS:
            raise ProtocolError(f"more than {MAX_FIELDS} trailer fields", 431)

    def _on_special(self, kind: int, name: bytes, value: bytes) -> None:
        if kind == HOST:
            if self._host is not None:
                raise ProtocolError("more than one Host field")
            self._host = value
        elif kind == LENGTH:
            if self._content_length != UNKNOWN_LENGTH or not value.isdigit() or len(value) > 18:
                raise ProtocolError("Content-Length is not one number of at most 18 digits")
            self._content_length = int(value)
        elif kind == CODING:
            if self._chunked or value.lower() != b"chunked":
                raise ProtocolError("the only transfer coding supported is a single `chunked`", 501)
            self._chunked = True
        elif kind == CONNECTION:
            self._on_connection(value)
        elif kind == UPGRADE:
            self._upgrade = value
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise ProtocolError("the only expectation supported is 100-continue", 417)
            self._expect_continue = True
        elif kind == TE:
            self._trailers_accepted = b"trailers" in value.lower()
        elif kind == OWN and self._keeps_own:
            self._fields.append((name, value))

    def _on_connection(self, value: bytes) -> None:
        for option in value.lower().split(b","):
            name = option.strip(b" \t")
            if name == b"close":
                self._keep_alive = False
            elif name == b"upgrade":
                self._may_upgrade = True
            elif name in PROTECTED:
                raise ProtocolError(f"Connection names {show(name)}, which is not a connection option")
            elif name not in (b"", b"keep-alive", b"te"):
                self._connection_names.add(name)

    def _finish_head(self) -> None:
        """Check what can only be seen with all fields there."""
        self._head_open = False
        self._in_body = True
        if len(self._fields) > MAX_FIELDS:
            raise ProtocolError(f"more than {MAX_FIELDS} fields", 431)
        if self._chunked and self._content_length != UNKNOWN_LENGTH:
            raise ProtocolError("both Content-Length and Transfer-Encoding")
        if self._connection_names:
            self._fields = [field for field in self._fields if field[0] not in self._connection_names]
        if not self._may_upgrade:
            self._upgrade = b""  # RFC 9110 section 7.8: an Upgrade that Connection does not name is none
        if self._chunked:
            self._credit = MAX_CHUNK_OVERHEAD + MAX_HEAD_BYTES
        if self._trailers_accepted:
            self._fields.append((b"te", b"trailers"))

    def on_body(self, data: bytes) -> None:
        self._credit += CHUNK_CREDIT * len(data)
        self._events.append(data)

    def _take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _count(self, size: int) -> None:
        """Bound what llhttp does not: a head while it is incomplete, and the framing of a chunked body."""
        if self._head_open:
            # What a head has of the read that it began in, behind another message, is bounded by that read.
            if not (self._head_is_new and self._events):
                self._head_bytes += size
                if self._head_bytes > MAX_HEAD_BYTES:
                    raise ProtocolError(f"the head is longer than {MAX_HEAD_BYTES} bytes", 431)
            self._head_is_new = False
        elif self._chunked:
            self._credit -= size
            if self._credit < 0:
                raise ProtocolError("chunk extensions and trailers outweigh the body")

    def _count_fields(self, first_line: int) -> None:
        size = first_line
        for name, value in self._fields:
            size += len(name) + len(value) + 4
        if size > MAX_HEAD_BYTES:
            raise ProtocolError(f"the head is longer than {MAX_HEAD_BYTES} bytes", 431)


def cause_of(error: BaseException) -> ProtocolError:
    """The ProtocolError that a callback raised; httptools hands it over as the context of its own."""
    found = error.__context__ or error.__cause__
    return found if isinstance(found, ProtocolError) else ProtocolError(f"malformed message: {found}")
