"""Responses of HTTP/1.1 from the wire (RFC 9112): bytes to events.

    IDLE ──► EXPECTING ──► HEAD ──► BODY ──► IDLE         BODY and UNTIL_CLOSE are left out where there is no body
                           HEAD ──► INFORMED ──► HEAD     1xx: the final response follows
                           HEAD ──► UNTIL_CLOSE ──► IDLE  the connection ends the body
                           BODY ──► PAST_PARSER ──► PRIMING ──► BODY

Rules, beside those of `http1_reader`:
- The reader must be told of every request by `expect()`. Bytes that no request asked for are an error.
- What is wrong behind a whole response costs the connection, not the response.
- Large pieces of a body of known length go past llhttp, which would copy them. It reads the last one again, by a new
  parser that is told how much is left, so that it alone says where the response ends.
- `trusted_peer` is for servers that may speak for a proxy: other sidecars. Of an application's answer the fields that
  only a proxy may set are left out.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from sidecar.core.errors import ProtocolError
from sidecar.core.http.fields import EXPECT, MAX_INFORMATIONAL
from sidecar.core.http.http1_reader import Event, Phase, Reader, cause_of
from sidecar.core.http.messages import END, UNKNOWN_LENGTH, End, ResponseHead

PAST_PARSER_BYTES: Final = 32_768
"""A piece of a body that is at least so large is worth a new parser for the rest of it."""
_REASON: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_NOBODYS: Final = httptools.HttpResponseParser(None)
"""The parser of readers whose connections are gone."""


class ResponseReader(Reader):
    """The client's side of a connection: bytes of a server to response events."""

    def __init__(self, trusted_peer: bool = True) -> None:
        super().__init__(trusted_peer)
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._method = b""
        self._is_usual = False  # the response began with HTTP/1.1: the parser's version is dear
        self._informed = 0  # informational answers to this request
        self._left = 0  # bytes of a body of known length that are still to come
        self.leftover = b""  # bytes behind a 101
        self.keep_alive = True

    def expect(self, method: bytes) -> None:
        """Say that a request with this method was sent: its response comes next."""
        self._method = method
        self._phase = Phase.EXPECTING
        self._informed = 0

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes of the server; return the events that they complete. Raises ProtocolError."""
        if self._phase is Phase.IDLE:
            raise ProtocolError("bytes without a request that they could answer")
        if self._phase is Phase.EXPECTING:
            if not data.startswith(b"H"):  # llhttp takes empty lines in front
                raise ProtocolError("a response that does not begin with its version")
            self._is_usual = data.startswith(b"HTTP/1.1 ")
        size = len(data)
        if size < self._left and (self._phase is Phase.PAST_PARSER or size >= PAST_PARSER_BYTES):
            self._left -= size
            self._phase = Phase.PAST_PARSER
            return [data]
        if self._phase is Phase.PAST_PARSER:
            self._resume()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.leftover = data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            self._on_error(cause_of(error))
        except httptools.HttpParserError as error:
            self._on_error(ProtocolError(f"malformed response: {error}"))
        self._count(len(data))
        events = self._take()
        if self._method == b"HEAD" and events and not self._is_whole() and _is_final(events[-1]):
            events.append(self._end_without_body())
        return events

    def _is_whole(self) -> bool:
        return self._phase is Phase.IDLE

    def _resume(self) -> None:
        """Let a new parser read the rest of a body: it is told the same framing, for what is left."""
        self._parser = httptools.HttpResponseParser(self)
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self._phase = Phase.PRIMING
        self._parser.feed_data(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (close, self._left))
        self._phase = Phase.BODY

    def _on_error(self, error: ProtocolError) -> None:
        """Raise the error, unless the response was whole before it: then only the connection is done for."""
        events = self._events
        whole = self._is_whole() or (self._method == b"HEAD" and bool(events) and _is_final(events[-1]))
        if not (whole and events):
            raise error
        self.keep_alive = False

    def close(self) -> list[Event]:
        """Take the server's end of the connection: it ends a response that is delimited so, else it is an error."""
        if self._phase is Phase.UNTIL_CLOSE:
            self._phase = Phase.IDLE
            return [END]
        raise ProtocolError("the connection was closed before the response was whole")

    def release(self) -> None:
        """Let the parser go, with the connection: nothing is fed any more."""
        self._parser = _NOBODYS

    def on_message_begin(self) -> None:
        if self._phase is Phase.PRIMING:
            return
        if self._phase is Phase.IDLE:
            raise ProtocolError("a response without a request")
        self._begin()
        self._reason = b""

    def _on_special(self, kind: int, name: bytes, value: bytes) -> None:
        if kind == EXPECT:
            self._head.fields.append((name, value))  # means something in a request only
        else:
            super()._on_special(kind, name, value)

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_headers_complete(self) -> None:
        if self._phase is Phase.PRIMING:
            return
        parser = self._parser
        status = parser.get_status_code()
        version = "1.1" if self._is_usual else parser.get_http_version()
        self._is_usual = False  # what follows in the same read is another
        if version not in ("1.1", "1.0") or not 100 <= status <= 999:
            raise ProtocolError(f"version {version} or status {status} is out of range")
        if self._reason != b"OK" and not _REASON.fullmatch(self._reason):
            raise ProtocolError("the reason has a control character")  # llhttp takes anything but CR and LF
        self._finish_head(len(self._reason))
        head = self._head
        if head.host is not None:
            head.fields.append((b"host", head.host))
        length = self._framing(status)
        self._left = max(length, 0)
        self.keep_alive = head.keep_alive and version == "1.1" and self._phase is not Phase.UNTIL_CLOSE
        self._events.append(ResponseHead(status, head.fields, length, self._reason, head.upgrade))

    def _framing(self, status: int) -> int:
        """Return how many bytes of body follow this head (RFC 9112 section 6.3)."""
        head = self._head
        if status == 101 and not head.upgrade:
            raise ProtocolError("a 101 response that does not say to which protocol")
        if status < 200 or status == 204:
            if head.chunked or head.content_length > 0:
                raise ProtocolError(f"a {status} response cannot have a body")
            return 0
        if self._method == b"HEAD" or status == 304:
            # The fields describe the body that GET would have had; they are forwarded, the body is not there.
            if head.content_length != UNKNOWN_LENGTH:
                head.fields.append((b"content-length", b"%d" % head.content_length))
            return 0
        if head.chunked:
            return UNKNOWN_LENGTH
        if head.content_length != UNKNOWN_LENGTH:
            return head.content_length
        self._phase = Phase.UNTIL_CLOSE
        return UNKNOWN_LENGTH

    def on_body(self, data: bytes) -> None:
        if self._method == b"HEAD":
            raise ProtocolError("a body after the answer to HEAD")
        self._left -= len(data)
        super().on_body(data)

    def _end_without_body(self) -> End:
        """End the answer to HEAD: llhttp cannot be told that no body follows, so a new parser takes over."""
        self._phase = Phase.IDLE
        self._parser = httptools.HttpResponseParser(self)
        return END

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._informed += 1
            if self._informed > MAX_INFORMATIONAL:
                raise ProtocolError(f"more than {MAX_INFORMATIONAL} informational answers to one request")
            self._phase = Phase.INFORMED
            return  # the final response is still to come
        self._phase = Phase.IDLE
        self._events.append(End(self._trailers) if self._trailers else END)


def _is_final(event: Event) -> bool:
    return isinstance(event, ResponseHead) and event.status >= 200
