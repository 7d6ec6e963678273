"""Requests of HTTP/1.1 from the wire (RFC 9112): bytes to events. `http1_responses` reads what comes back.

    IDLE ──► HEAD ──► BODY ──► IDLE        the next request may follow
                      BODY ──► LAST        none follows: what comes is not looked at
             HEAD ──► LEFT ──► IDLE, LAST  it asks to leave HTTP: what comes is kept until the service declines (`stay`)
             HEAD ──► SKIPPED ──► PRIMING ──► BODY  it has a body, and offers an Upgrade that is not taken

Rules, beside those of `http1_reader`:
- The reader goes on with the next pipelined request by itself.
- Only a WebSocket may leave HTTP, and only by a request without a body: a tunnel for anything else, h2c above all,
  would bypass routing. Any other Upgrade is an offer, and the proxy does not take it.
- A request begins where `http1_lines` says that it does.
- HTTP/1.0 is refused unless the reader is told otherwise. Then such a request is the last of its connection, may lack
  Host, and can ask for nothing that came with 1.1: no chunked body (RFC 9112 section 6.1), no 100-continue (RFC 9110
  section 10.1.1), no Upgrade (section 7.8), no trailers.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from sidecar.core.errors import ProtocolError
from sidecar.core.http.fields import HASH, MAX_TARGET_BYTES, show, valid_authority
from sidecar.core.http.http1_lines import RequestLines
from sidecar.core.http.http1_reader import Event, Phase, Reader, cause_of
from sidecar.core.http.messages import END, UNKNOWN_LENGTH, End, RequestHead

_ABSOLUTE: Final = re.compile(rb"http://([^/?#@]+)(/[^#]*|\?[^#]*|)", re.IGNORECASE)
_MAX_EMPTY_BYTES: Final = 2
_NOBODYS: Final = httptools.HttpRequestParser(None)
"""The parser of readers whose connections are gone."""
# llhttp reads the request lines of RTSP and ICE as well.
_NOT_HTTP: Final = frozenset(
    b"DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD FLUSH SOURCE".split()
)


class RequestReader(Reader):
    """The server's side of a connection: bytes of a client to request events."""

    def __init__(self, accept_authority_form: bool = False, http_10_host: bytes | None = None) -> None:
        """`http_10_host` lets HTTP/1.0 in; it is the authority of requests without Host."""
        super().__init__()
        self._parser = httptools.HttpRequestParser(self)
        self._lines = RequestLines()
        self._target = b""
        self._known_host: bytes | None = None  # that of the request before, found valid
        self._accept_authority_form = accept_authority_form
        self._http_10_host = http_10_host
        self.keep_alive = True  # whether the request whose head was read last lets another follow
        self.leftover = b""  # bytes behind that request

    @property
    def left_http(self) -> bool:
        """Whether the request read last asks to leave HTTP: CONNECT, or WebSocket."""
        return self._phase is Phase.LEFT

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes of the client; return the events that they complete.

        Behind a request that asks to leave HTTP the bytes are put into `leftover`, see `stay`.
        Raises ProtocolError with the status to answer. Events before the error are lost: the connection
        cannot be trusted any more.
        """
        if self._phase is Phase.LEFT:
            self.leftover += data
            return []
        if self._phase is Phase.LAST:
            return []  # what follows the last request is not looked at
        self._lines.read(data, self._phase is Phase.HEAD, self._phase is Phase.BODY)
        self._execute(data)
        self._count(len(data))
        if self._phase is Phase.IDLE and self._lines.locate() > _MAX_EMPTY_BYTES:
            raise ProtocolError("more than one empty line in front of a request")
        return self._take()

    def _execute(self, data: bytes) -> None:
        try:
            rest: bytes | memoryview = data
            while rest and not self._is_last():
                rest = self._parse(rest)
        except httptools.HttpParserCallbackError as error:
            if not self._is_last():
                raise cause_of(error) from None
        except httptools.HttpParserError as error:
            if not self._is_last():
                raise ProtocolError(f"malformed request: {error}") from None

    def _is_last(self) -> bool:
        return self._phase is Phase.LAST

    def _parse(self, data: bytes | memoryview) -> bytes | memoryview:
        """Let llhttp read; return what it left because a request asked to leave HTTP and stays with it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = memoryview(data)[upgrade.args[0] :]
            if self._phase is Phase.LEFT:
                self.leftover = bytes(rest)
                return b""
            if self._phase is Phase.SKIPPED:
                self._resume_body()
            return rest
        return b""

    def _resume_body(self) -> None:
        """Read the body of a request whose Upgrade is not taken.

        llhttp ends every request with an Upgrade at its head and takes what follows for another protocol. A new
        parser is told the same framing, without the Upgrade, and goes on from there.
        """
        self._parser = httptools.HttpRequestParser(self)
        framing = (
            b"transfer-encoding: chunked" if self._head.chunked else b"content-length: %d" % self._head.content_length
        )
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self._phase = Phase.PRIMING
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b%b\r\n\r\n" % (close, framing))
        self._phase = Phase.BODY

    def stay(self) -> list[Event]:
        """Go on after a declined request to leave HTTP: the next request came behind it. Raises ProtocolError."""
        self._phase = Phase.IDLE if self.keep_alive else Phase.LAST
        early, self.leftover = self.leftover, b""
        self._lines.restart()
        return self.feed(early)

    def release(self) -> None:
        """Let the parser go, with the connection: nothing is fed any more."""
        self._parser = _NOBODYS

    def idle(self) -> bool:
        """Return whether no head is being read."""
        return self._phase is not Phase.HEAD

    def on_message_begin(self) -> None:
        if self._phase is Phase.PRIMING:
            return
        if self._phase is Phase.LAST:
            raise ProtocolError("a request behind the last one")  # llhttp goes on behind a kept-alive HTTP/1.0
        self._begin()
        self._target = b""

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MAX_TARGET_BYTES:
            raise ProtocolError(f"the request target is longer than {MAX_TARGET_BYTES} bytes", 414)

    def on_headers_complete(self) -> None:
        if self._phase is Phase.PRIMING:
            return
        parser = self._parser
        method = parser.get_method()
        is_usual = self._lines.is_usual(method, self._target)
        version = "1.1" if is_usual else parser.get_http_version()
        if version != "1.1":
            self._on_other_version(version)
        self._finish_head(len(self._target))
        read = self._head
        if method in _NOT_HTTP:
            raise ProtocolError(f"{show(method)} is no method of HTTP", 501)
        length = read.content_length
        if length == UNKNOWN_LENGTH and not read.chunked:
            length = 0
        if is_usual:
            self._lines.expect(length)
        else:
            self._lines.check(method, self._target, length, version.encode())
        target, authority = self._split_target(method)
        if length != 0 and method in (b"TRACE", b"CONNECT"):
            raise ProtocolError(f"{show(method)} has no body")  # RFC 9110 sections 9.3.6 and 9.3.8
        if length != 0 or read.upgrade.lower() != b"websocket":
            read.upgrade = b""
        if read.upgrade or method == b"CONNECT":
            self._phase = Phase.LEFT
        elif length != 0 and parser.should_upgrade():
            self._phase = Phase.SKIPPED
        self.keep_alive = read.keep_alive
        head = RequestHead(method, target, authority, read.fields, length, read.upgrade, read.expect_continue)
        head.is_http_10 = version == "1.0"
        self._events.append(head)

    def _on_other_version(self, version: str) -> None:
        if version != "1.0":
            raise ProtocolError(f"HTTP version {version} is not supported", 505)
        if self._http_10_host is None:
            raise ProtocolError("HTTP/1.0 is not supported, use HTTP/1.1", 426)
        head = self._head
        if head.chunked:
            raise ProtocolError("an HTTP/1.0 request with Transfer-Encoding")
        if head.host is None:
            head.host = self._http_10_host
        head.keep_alive = head.may_upgrade = head.expect_continue = False
        head.te = b""

    def _split_target(self, method: bytes) -> tuple[bytes, bytes]:
        """Return target, in origin form, and authority. Absolute form wins over Host (RFC 9112 section 3.2.2)."""
        host = self._head.host
        if host is None:
            raise ProtocolError("no Host field")
        if host != self._known_host:
            if not valid_authority(host):
                raise ProtocolError(f"Host {show(host)} is not a host with an optional port")
            self._known_host = host
        target = self._target
        if target.startswith(b"/") and method != b"CONNECT":
            if HASH in target:
                raise ProtocolError("the request target has a fragment")  # RFC 9112 section 3.2.1
            return target, host
        if method == b"CONNECT":
            if not self._accept_authority_form:
                raise ProtocolError("CONNECT is served by the forward proxy's port only", 405)
            if not valid_authority(target) or b":" not in target:
                raise ProtocolError("the target of CONNECT is not host:port")
            return target, target
        if target == b"*" and method == b"OPTIONS":
            return target, host
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or not valid_authority(absolute[1]):
            raise ProtocolError(f"the request target {show(target)} is neither a path nor an http URL")
        path = absolute[2]
        return (path if path.startswith(b"/") else b"/" + path), absolute[1]

    def on_message_complete(self) -> None:
        if self._phase is Phase.SKIPPED:
            return
        if self._phase is Phase.BODY:
            self._phase = Phase.IDLE if self.keep_alive else Phase.LAST
        self._events.append(End(self._trailers) if self._trailers else END)
