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

from enum import Enum
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
    PASSED_ON_IN_HTTP1,
    PROTECTED,
    SPECIAL,
    TE,
    UPGRADE,
    show,
)
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead

MAX_CHUNK_OVERHEAD: Final = 16_384
"""Chunk extensions and trailers of one message, beyond what `CHUNK_CREDIT` allows with the body."""
CHUNK_CREDIT: Final = 9
"""Bytes on the wire that a byte of a chunked body may cost: a chunk of one byte takes six."""

Event = RequestHead | ResponseHead | bytes | End


class Phase(Enum):
    """Where a reader is. `http1_requests` and `http1_responses` draw which phase follows which."""

    IDLE = "idle"  # between messages
    HEAD = "head"
    BODY = "body"  # or behind it, in the trailers
    PRIMING = "priming"  # a new parser reads a head that the reader made itself, to go on with the body behind it
    # Of requests alone.
    SKIPPED = "skipped"  # llhttp took the head for the last of HTTP; its body is still to be read
    LEFT = "left"  # the request asked to leave HTTP
    LAST = "last"  # the client said that no further request follows
    # Of responses alone.
    EXPECTING = "expecting"  # a request was sent, and no byte of the response has come
    INFORMED = "informed"  # an informational response was read; another or the final one follows
    PAST_PARSER = "past parser"  # llhttp has not seen all of the body that came
    UNTIL_CLOSE = "until close"  # the body ends with the connection


class PartialHead:
    """A head, as far as it was read: the fields that go on, and what the others said."""

    __slots__ = (
        "chunked",
        "connection_names",
        "content_length",
        "expect_continue",
        "fields",
        "host",
        "keep_alive",
        "may_upgrade",
        "te",
        "upgrade",
    )

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin another head: a reader has one object for all of them."""
        self.fields: Fields = []  # a new list, as the one before has gone on with its message
        self.host: bytes | None = None
        self.content_length = UNKNOWN_LENGTH
        self.chunked = False
        self.keep_alive = True
        self.may_upgrade = False  # Connection names Upgrade
        self.upgrade = b""
        self.expect_continue = False
        self.te = b""  # what of TE goes on
        self.connection_names: set[bytes] | None = None  # fields that Connection says belong to it

    def on_connection(self, value: bytes) -> None:
        """Take a Connection field. Raises ProtocolError."""
        for option in value.lower().split(b","):
            name = option.strip(b" \t")
            if name == b"close":
                self.keep_alive = False
            elif name == b"upgrade":
                self.may_upgrade = True
            elif name in PROTECTED:
                raise ProtocolError(f"Connection names {show(name)}, which is not a connection option")
            elif name not in (b"", b"keep-alive", b"te"):
                if self.connection_names is None:
                    self.connection_names = set()
                self.connection_names.add(name)

    def finish(self) -> None:
        """Check what can only be seen with all fields there. Raises ProtocolError."""
        if len(self.fields) > MAX_FIELDS:
            raise ProtocolError(f"more than {MAX_FIELDS} fields", 431)
        if self.chunked and self.content_length != UNKNOWN_LENGTH:
            raise ProtocolError("both Content-Length and Transfer-Encoding")
        names = self.connection_names
        if names is not None:
            self.fields = [field for field in self.fields if field[0] not in names]
        if not self.may_upgrade:
            self.upgrade = b""  # RFC 9110 section 7.8: an Upgrade that Connection does not name is none
        if self.te:
            self.fields.append((b"te", self.te))

    def check_size(self, first_line: int) -> None:
        """Bound the head, its first line of so many bytes included. Raises ProtocolError."""
        size = first_line
        for name, value in self.fields:
            size += len(name) + len(value) + 4
        if size > MAX_HEAD_BYTES:
            raise ProtocolError(f"the head is longer than {MAX_HEAD_BYTES} bytes", 431)


class Reader:
    """What requests and responses share: fields, framing, sizes. httptools calls the `on_` methods."""

    def __init__(self, trusted_peer: bool = True) -> None:
        self._trusted_peer = trusted_peer  # it may set the fields that only a proxy sets
        self._phase = Phase.IDLE
        self._head = PartialHead()  # of the message being read, or read last
        self._trailers: Fields = []
        self._events: list[Event] = []
        self._head_bytes = 0
        self._came_with_head = 0
        self._head_is_new = False  # it began in the bytes being read now
        self._credit = 0  # bytes that the framing of a chunked body may still cost

    def _begin(self) -> None:
        self._phase = Phase.HEAD
        self._head.begin()
        if self._trailers:
            self._trailers = []
        self._head_bytes = 0
        self._head_is_new = True

    def head_bytes(self) -> int:
        """Return the bytes of a head that is not whole, or more: those of the read that it began in count in full."""
        return self._came_with_head if self._phase is Phase.HEAD else 0

    def release(self) -> None:
        """Let the parser go: it calls back, so it and the reader hold each other until one lets go."""
        raise NotImplementedError

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self._phase is not Phase.HEAD:
            self._on_trailer(name, value)
            return
        kind = SPECIAL.get(name, FORWARD)
        if kind & PASSED_ON_IN_HTTP1:
            self._head.fields.append((name, value.strip(b" \t")))
        else:
            self._on_special(kind, name, value.strip(b" \t"))

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        if self._phase is Phase.PRIMING:
            return
        if name in FORBIDDEN_IN_TRAILERS:
            raise ProtocolError(f"the trailer field {show(name)} is not allowed")
        self._trailers.append((name, value.strip(b" \t")))
        if len(self._trailers) > MAX_FIELDS:
            raise ProtocolError(f"more than {MAX_FIELDS} trailer fields", 431)

    def _on_special(self, kind: int, name: bytes, value: bytes) -> None:
        head = self._head
        if kind == HOST:
            if head.host is not None:
                raise ProtocolError("more than one Host field")
            head.host = value
        elif kind == LENGTH:
            if head.content_length != UNKNOWN_LENGTH or not value.isdigit() or len(value) > 18:
                raise ProtocolError("Content-Length is not one number of at most 18 digits")
            head.content_length = int(value)
        elif kind == CODING:
            if head.chunked or value.lower() != b"chunked":
                raise ProtocolError("the only transfer coding supported is a single `chunked`", 501)
            head.chunked = True
        elif kind == CONNECTION:
            if value != b"keep-alive":  # what most servers say with each answer, and what holds without
                head.on_connection(value)
        elif kind == UPGRADE:
            head.upgrade = value
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise ProtocolError("the only expectation supported is 100-continue", 417)
            head.expect_continue = True
        elif kind == TE:
            head.te = b"trailers" if b"trailers" in value.lower() else b""
        elif kind == OWN and self._trusted_peer:
            head.fields.append((name, value))

    def _finish_head(self, first_line: int) -> None:
        """Take a complete head, with a first line of so many bytes. Raises ProtocolError."""
        self._phase = Phase.BODY
        self._head.finish()
        if self._head.chunked:
            self._credit = MAX_CHUNK_OVERHEAD + MAX_HEAD_BYTES
        self._head.check_size(first_line)

    def on_body(self, data: bytes) -> None:
        self._credit += CHUNK_CREDIT * len(data)
        self._events.append(data)

    def _take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _count(self, size: int) -> None:
        """Bound what llhttp does not: a head while it is incomplete, and the framing of a chunked body."""
        if self._phase is Phase.HEAD:
            self._came_with_head = size if self._head_is_new else self._came_with_head + size
            # What a head has of the read that it began in, behind another message, is bounded by that read.
            if not (self._head_is_new and self._events):
                self._head_bytes += size
                if self._head_bytes > MAX_HEAD_BYTES:
                    raise ProtocolError(f"the head is longer than {MAX_HEAD_BYTES} bytes", 431)
            self._head_is_new = False
        elif self._head.chunked:
            self._credit -= size
            if self._credit < 0:
                raise ProtocolError("chunk extensions and trailers outweigh the body")


def cause_of(error: BaseException) -> ProtocolError:
    """Return the ProtocolError that a callback raised; httptools hands it over as the context of its own."""
    found = error.__context__ or error.__cause__
    return found if isinstance(found, ProtocolError) else ProtocolError(f"malformed message: {found}")
