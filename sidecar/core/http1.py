"""HTTP/1.1 from the wire (RFC 9112): bytes to events. `http1_writer` is the other direction.

Rules:
- llhttp, through httptools, splits the bytes; every leniency stays off. What it lets through and a proxy may
  not is refused here: sizes and counts, Host, versions, transfer codings.
- A reader returns a list of events: a head, then `bytes` of the body, then an `End`. A request reader goes on
  with the next pipelined request; a response reader must be told of every request by `expect()`.
- Connection-specific fields (RFC 9110 section 7.6.1) end here, in both directions. A Connection field that
  names a field the proxy itself relies on is an attack and refused.
- Only a WebSocket may leave HTTP, and only by a request without a body: a tunnel for anything else, h2c above all,
  would bypass routing. Any other Upgrade is an offer, and the proxy does not take it.
- The body's framing is decided once, from the head: Content-Length, chunked, or the connection's close
  (responses only). Both framings at once, or twice, is refused (RFC 9112 section 6.3, request smuggling).
- Arbitrary bytes raise `ProtocolError` and nothing else; after that the reader is done for.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from sidecar.core.errors import ProtocolError
from sidecar.core.messages import END, UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead

MAX_HEAD_BYTES: Final = 61_440
"""Request or status line and fields together: Envoy's 60 KiB, so that what passed there passes here."""
MAX_FIELDS: Final = 100
"""Fields of one head or trailer, Envoy's limit."""
MAX_TARGET_BYTES: Final = 16_384
"""Longer targets are answered 414; nginx and HAProxy stop at 8 and 16 KiB."""
MAX_CHUNK_OVERHEAD: Final = 16_384
"""Chunk extensions and trailers of one message, beyond what `CHUNK_CREDIT` allows with the body."""
CHUNK_CREDIT: Final = 9
"""Bytes on the wire that a byte of a chunked body may cost: a chunk of one byte takes six."""

Event = RequestHead | ResponseHead | bytes | End

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE: Final = re.compile(rb"http://([^/?#@]+)(/[^#]*|\?[^#]*|)", re.IGNORECASE)

# What _special tells apart. Fields that are not in this table are forwarded as they are.
_FORWARD: Final = 0
_HOST_FIELD: Final = 1
_LENGTH: Final = 2
_CODING: Final = 3
_CONNECTION: Final = 4
_UPGRADE: Final = 5
_EXPECT: Final = 6
_TE: Final = 7
_DROP: Final = 8
_SPECIAL: Final = {
    b"host": _HOST_FIELD,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"upgrade": _UPGRADE,
    b"expect": _EXPECT,
    b"te": _TE,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"proxy-authenticate": _DROP,
    b"proxy-authorization": _DROP,
    b"http2-settings": _DROP,
}
# Naming one of these in Connection would make a proxy drop what routing, framing or tracing depends on.
_PROTECTED: Final = frozenset(
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
# llhttp reads the request lines of RTSP and ICE as well.
_NOT_HTTP: Final = frozenset(
    b"DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD FLUSH SOURCE".split()
)
_FORBIDDEN_IN_TRAILERS: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"te",
        b"upgrade",
        b"trailer",
        b"expect",
    )
)  # RFC 9110 section 6.5.1: framing and routing never come from a trailer


class _Reader:
    """What requests and responses share: fields, framing, sizes. httptools calls the `on_` methods."""

    def __init__(self) -> None:
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
        kind = _SPECIAL.get(name, _FORWARD)
        if kind == _FORWARD:
            self._fields.append((name, value.strip(b" \t")))
        else:
            self._on_special(kind, value.strip(b" \t"))

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        if name in _FORBIDDEN_IN_TRAILERS:
            if self._priming:
                return
            raise ProtocolError(f"the trailer field {_show(name)} is not allowed")
        self._trailers.append((name, value.strip(b" \t")))
        if len(self._trailers) > MAX_FIELDS:
            raise ProtocolError(f"more than {MAX_FIELDS} trailer fields", 431)

    def _on_special(self, kind: int, value: bytes) -> None:
        if kind == _HOST_FIELD:
            if self._host is not None:
                raise ProtocolError("more than one Host field")
            self._host = value
        elif kind == _LENGTH:
            if self._content_length != UNKNOWN_LENGTH or not value.isdigit() or len(value) > 18:
                raise ProtocolError("Content-Length is not one number of at most 18 digits")
            self._content_length = int(value)
        elif kind == _CODING:
            if self._chunked or value.lower() != b"chunked":
                raise ProtocolError("the only transfer coding supported is a single `chunked`", 501)
            self._chunked = True
        elif kind == _CONNECTION:
            self._on_connection(value)
        elif kind == _UPGRADE:
            self._upgrade = value
        elif kind == _EXPECT:
            if value.lower() != b"100-continue":
                raise ProtocolError("the only expectation supported is 100-continue", 417)
            self._expect_continue = True
        elif kind == _TE:
            self._trailers_accepted = b"trailers" in value.lower()

    def _on_connection(self, value: bytes) -> None:
        for option in value.lower().split(b","):
            name = option.strip(b" \t")
            if name == b"close":
                self._keep_alive = False
            elif name == b"upgrade":
                self._may_upgrade = True
            elif name in _PROTECTED:
                raise ProtocolError(f"Connection names {_show(name)}, which is not a connection option")
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


class RequestReader(_Reader):
    """The server's side of a connection: bytes of a client to request events."""

    def __init__(self, accept_authority_form: bool = False) -> None:
        super().__init__()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._accept_authority_form = accept_authority_form
        self._last = False  # the client said that no further request follows
        self._skipped_body = False
        self.keep_alive = True  # of the request read last
        self.left_http = False  # the request read last asks to leave HTTP: CONNECT, or WebSocket
        self.leftover = b""  # bytes behind that request

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes of the client; return the events that they complete.

        Behind a request that asks to leave HTTP the bytes are put into `leftover`, see `stay`.
        Raises ProtocolError with the status to answer. Events before the error are lost: the connection
        cannot be trusted any more.
        """
        if self.left_http:
            self.leftover += data
            return []
        if self._last:
            return []  # what follows the last request is not looked at
        self._execute(data)
        self._count(len(data))
        return self._take()

    def _execute(self, data: bytes) -> None:
        try:
            rest: bytes | memoryview = data
            while rest and not self._last:
                rest = self._parse(rest)
        except httptools.HttpParserCallbackError as error:
            raise _cause(error) from None
        except httptools.HttpParserError as error:
            if not self._last:
                raise ProtocolError(f"malformed request: {error}") from None

    def _parse(self, data: bytes | memoryview) -> bytes | memoryview:
        """Let llhttp read; return what it left because a request asked to leave HTTP and stays with it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = memoryview(data)[upgrade.args[0] :]
            if self.left_http:
                self.leftover = bytes(rest)
                return b""
            if self._skipped_body:
                self._resume_body()
            return rest
        return b""

    def _resume_body(self) -> None:
        """Read the body of a request whose Upgrade is not taken.

        llhttp ends every request with an Upgrade at its head and takes what follows for another protocol. A new
        parser is told the same framing, without the Upgrade, and goes on from there.
        """
        self._skipped_body = False
        self._parser = httptools.HttpRequestParser(self)
        framing = b"transfer-encoding: chunked" if self._chunked else b"content-length: %d" % self._content_length
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self._priming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b%b\r\n\r\n" % (close, framing))
        self._priming = False

    def stay(self) -> list[Event]:
        """The request to leave HTTP was declined: what came behind it is the next request. Raises ProtocolError."""
        self.left_http = False
        early, self.leftover = self.leftover, b""
        return self.feed(early)

    def idle(self) -> bool:
        """Whether no head is being read."""
        return not self._head_open

    def on_message_begin(self) -> None:
        if self._priming:
            return
        self._begin()
        self._target = b""

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MAX_TARGET_BYTES:
            raise ProtocolError(f"the request target is longer than {MAX_TARGET_BYTES} bytes", 414)

    def on_headers_complete(self) -> None:
        if self._priming:
            return
        parser = self._parser
        version = parser.get_http_version()
        if version != "1.1":
            if version == "1.0":
                raise ProtocolError("HTTP/1.0 is not supported, use HTTP/1.1", 426)
            raise ProtocolError(f"HTTP version {version} is not supported", 505)
        self._finish_head()
        self._count_fields(len(self._target))
        method = parser.get_method()
        if method in _NOT_HTTP:
            raise ProtocolError(f"{_show(method)} is no method of HTTP", 501)
        target, authority = self._split_target(method)
        length = self._content_length
        if length == UNKNOWN_LENGTH and not self._chunked:
            length = 0
        if length != 0 and method in (b"TRACE", b"CONNECT"):
            raise ProtocolError(f"{_show(method)} has no body")  # RFC 9110 sections 9.3.6 and 9.3.8
        if length != 0 or self._upgrade.lower() != b"websocket":
            self._upgrade = b""
        self.left_http = bool(self._upgrade) or method == b"CONNECT"
        self._skipped_body = length != 0 and parser.should_upgrade()
        self.keep_alive = self._keep_alive
        self._events.append(
            RequestHead(method, target, authority, self._fields, length, self._upgrade, self._expect_continue)
        )

    def _split_target(self, method: bytes) -> tuple[bytes, bytes]:
        """The target in origin form, and the authority. Absolute form wins over Host (RFC 9112 section 3.2.2)."""
        host = self._host
        if host is None:
            raise ProtocolError("no Host field")
        if not _HOST.fullmatch(host):
            raise ProtocolError(f"Host {_show(host)} is not a host with an optional port")
        target = self._target
        if target.startswith(b"/") and method != b"CONNECT":
            if b"#" in target:
                raise ProtocolError("the request target has a fragment")  # RFC 9112 section 3.2.1
            return target, host
        if method == b"CONNECT":
            if not self._accept_authority_form:
                raise ProtocolError("CONNECT is served by the forward proxy's port only", 405)
            if not _HOST.fullmatch(target) or b":" not in target:
                raise ProtocolError("the target of CONNECT is not host:port")
            return target, target
        if target == b"*" and method == b"OPTIONS":
            return target, host
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or not _HOST.fullmatch(absolute[1]):
            raise ProtocolError(f"the request target {_show(target)} is neither a path nor an http URL")
        path = absolute[2]
        return (path if path.startswith(b"/") else b"/" + path), absolute[1]

    def on_message_complete(self) -> None:
        if self._skipped_body:
            return
        self._last = not self.keep_alive
        self._events.append(End(self._trailers) if self._trailers else END)


class ResponseReader(_Reader):
    """The client's side of a connection: bytes of a server to response events."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._method = b""
        self._until_close = False
        self._done = True  # no response is awaited
        self.leftover = b""  # bytes behind a 101
        self.keep_alive = True

    def expect(self, method: bytes) -> None:
        """Say that a request with this method was sent: its response comes next."""
        self._method = method
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes of the server; return the events that they complete. Raises ProtocolError."""
        if self._done:
            raise ProtocolError("bytes without a request that they could answer")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.leftover = data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            self._on_error(_cause(error))
        except httptools.HttpParserError as error:
            self._on_error(ProtocolError(f"malformed response: {error}"))
        self._count(len(data))
        events = self._take()
        if self._method == b"HEAD" and events and not self._done and _is_final(events[-1]):
            events.append(self._end_without_body())
        return events

    def _on_error(self, error: ProtocolError) -> None:
        """Raise the error, unless the response was whole before it: then only the connection is done for."""
        events = self._events
        whole = self._done or (self._method == b"HEAD" and bool(events) and _is_final(events[-1]))
        if not (whole and events):
            raise error
        self.keep_alive = False
        self._head_open = False

    def close(self) -> list[Event]:
        """The server closed the connection: the end of a response that is delimited so, else an error."""
        if self._until_close and not self._done:
            self._done = True
            return [END]
        raise ProtocolError("the connection was closed before the response was whole")

    def on_message_begin(self) -> None:
        if self._done:
            raise ProtocolError("a response without a request")
        self._begin()
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code()
        version = parser.get_http_version()
        if version not in ("1.1", "1.0") or not 100 <= status <= 999:
            raise ProtocolError(f"version {version} or status {status} is out of range")
        self._finish_head()
        self._count_fields(len(self._reason))
        if self._host is not None:
            self._fields.append((b"host", self._host))
        length = self._framing(status)
        self.keep_alive = self._keep_alive and version == "1.1" and not self._until_close
        self._events.append(ResponseHead(status, self._fields, length, self._reason, self._upgrade))

    def _framing(self, status: int) -> int:
        """How many bytes of body follow this head (RFC 9112 section 6.3)."""
        self._until_close = False
        if status == 101 and not self._upgrade:
            raise ProtocolError("a 101 response that does not say to which protocol")
        if status < 200 or status == 204:
            if self._chunked or self._content_length > 0:
                raise ProtocolError(f"a {status} response cannot have a body")
            return 0
        if self._method == b"HEAD" or status == 304:
            # The fields describe the body that GET would have had; they are forwarded, the body is not there.
            if self._content_length != UNKNOWN_LENGTH:
                self._fields.append((b"content-length", b"%d" % self._content_length))
            return 0
        if self._chunked:
            return UNKNOWN_LENGTH
        if self._content_length != UNKNOWN_LENGTH:
            return self._content_length
        self._until_close = True
        return UNKNOWN_LENGTH

    def on_body(self, data: bytes) -> None:
        if self._method == b"HEAD":
            raise ProtocolError("a body after the answer to HEAD")
        super().on_body(data)

    def _end_without_body(self) -> End:
        """End the answer to HEAD: llhttp cannot be told that no body follows, so a new parser takes over."""
        self._done = True
        self._parser = httptools.HttpResponseParser(self)
        return END

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return  # informational: the final response is still to come
        self._done = True
        self._events.append(End(self._trailers) if self._trailers else END)


def valid_authority(value: bytes) -> bool:
    """Whether this is a host with an optional port (RFC 3986 section 3.2, without user information)."""
    return _HOST.fullmatch(value) is not None


def _is_final(event: Event) -> bool:
    return isinstance(event, ResponseHead) and event.status >= 200


def _cause(error: BaseException) -> ProtocolError:
    """The ProtocolError that a callback raised; httptools hands it over as the context of its own."""
    cause = error.__context__ or error.__cause__
    return cause if isinstance(cause, ProtocolError) else ProtocolError(f"malformed message: {cause}")


def _show(value: bytes) -> str:
    """Bytes of a peer for an error message: short and printable."""
    return ascii(value[:64].decode("latin-1"))
