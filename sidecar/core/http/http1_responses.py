"""Responses of HTTP/1.1 from the wire (RFC 9112): bytes to events.

Rules, beside those of `http1_reader`:
- The reader must be told of every request by `expect()`. Bytes that no request asked for are an error.
- What is wrong behind a whole response costs the connection, not the response.
- Large pieces of a body of known length go past llhttp, which would copy them. It reads the last one again, by a new
  parser that is told how much is left, so that it alone says where the response ends.
- `keeps_own` is for servers that may speak for a proxy: other sidecars. Of an application's answer the fields that
  only a proxy may set are left out.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from sidecar.core.errors import ProtocolError
from sidecar.core.http.fields import EXPECT, MAX_INFORMATIONAL
from sidecar.core.http.http1_reader import Event, Reader, cause_of
from sidecar.core.http.messages import END, UNKNOWN_LENGTH, End, ResponseHead

PAST_PARSER_BYTES: Final = 32_768
"""A piece of a body that is at least so large is worth a new parser for the rest of it."""
_REASON: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class ResponseReader(Reader):
    """The client's side of a connection: bytes of a server to response events."""

    def __init__(self, keeps_own: bool = True) -> None:
        super().__init__(keeps_own)
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._method = b""
        self._until_close = False
        self._done = True  # no response is awaited
        self._informed = 0  # informational answers to this request
        self._fresh = False  # no byte of the response has come
        self._left = 0  # bytes of a body of known length that are still to come
        self._past_parser = False  # llhttp has not seen all of the others
        self.leftover = b""  # bytes behind a 101
        self.keep_alive = True

    def expect(self, method: bytes) -> None:
        """Say that a request with this method was sent: its response comes next."""
        self._method = method
        self._done = False
        self._fresh = True
        self._informed = 0

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes of the server; return the events that they complete. Raises ProtocolError."""
        if self._done:
            raise ProtocolError("bytes without a request that they could answer")
        if self._fresh:
            self._fresh = False
            if not data.startswith(b"H"):  # llhttp takes empty lines in front
                raise ProtocolError("a response that does not begin with its version")
        size = len(data)
        if size < self._left and (self._past_parser or size >= PAST_PARSER_BYTES):
            self._left -= size
            self._past_parser = True
            return [data]
        if self._past_parser:
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
        if self._method == b"HEAD" and events and not self._done and _is_final(events[-1]):
            events.append(self._end_without_body())
        return events

    def _resume(self) -> None:
        """Let a new parser read the rest of a body: it is told the same framing, for what is left."""
        self._past_parser = False
        self._parser = httptools.HttpResponseParser(self)
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self._priming = True
        self._parser.feed_data(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (close, self._left))
        self._priming = False

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
        if self._priming:
            return
        if self._done:
            raise ProtocolError("a response without a request")
        self._begin()
        self._reason = b""

    def _on_special(self, kind: int, name: bytes, value: bytes) -> None:
        if kind == EXPECT:
            self._fields.append((name, value))  # means something in a request only
        else:
            super()._on_special(kind, name, value)

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_headers_complete(self) -> None:
        if self._priming:
            return
        parser = self._parser
        status = parser.get_status_code()
        version = parser.get_http_version()
        if version not in ("1.1", "1.0") or not 100 <= status <= 999:
            raise ProtocolError(f"version {version} or status {status} is out of range")
        if self._reason != b"OK" and not _REASON.fullmatch(self._reason):
            raise ProtocolError("the reason has a control character")  # llhttp takes anything but CR and LF
        self._finish_head()
        self._count_fields(len(self._reason))
        if self._host is not None:
            self._fields.append((b"host", self._host))
        length = self._framing(status)
        self._left = max(length, 0)
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
        self._left -= len(data)
        super().on_body(data)

    def _end_without_body(self) -> End:
        """End the answer to HEAD: llhttp cannot be told that no body follows, so a new parser takes over."""
        self._done = True
        self._parser = httptools.HttpResponseParser(self)
        return END

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._informed += 1
            if self._informed > MAX_INFORMATIONAL:
                raise ProtocolError(f"more than {MAX_INFORMATIONAL} informational answers to one request")
            return  # the final response is still to come
        self._done = True
        self._events.append(End(self._trailers) if self._trailers else END)


def _is_final(event: Event) -> bool:
    return isinstance(event, ResponseHead) and event.status >= 200
