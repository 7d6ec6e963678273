"""Where request lines begin (RFC 9112 section 3): what llhttp does not tell, and is lenient about.

Rules:
- A request begins where the one before it ended, or behind one empty line, which old clients send after a body
  (RFC 9112 section 2.2). Method, target and version have one blank between them.
- The end of a chunked body is not known here. Behind one, in the same read, the line must be right but may be anywhere
  in it; a line that goes on in the next read, and one that shares its read with the end of a head longer than
  `MAX_LINE_BYTES`, is not looked at. Each read between requests begins again.
- Not more than a request line is kept from one read to the next.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ProtocolError
from sidecar.core.http.fields import MAX_TARGET_BYTES

MAX_LINE_BYTES: Final = MAX_TARGET_BYTES + 64
"""Method, target and version."""
_UNKNOWN: Final = -1
_EMPTY_LINE: Final = b"\r\n"


class RequestLines:
    """Follows the bytes of a client."""

    __slots__ = ("_at", "_cut", "_data", "_head", "_length")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # where in the data the next request begins, or beyond it
        self._head = _UNKNOWN  # where the last head began whose end has not been looked for
        self._length = 0  # of its body
        self._cut = False  # the last read ended between CR and LF

    def read(self, data: bytes, in_head: bool, in_body: bool) -> None:
        """Take bytes that the parser gets next, in the middle of a request's head or body or between requests."""
        behind = self.locate() if self._head != _UNKNOWN else len(self._data) - self._at
        if behind == 0 and self._at != _UNKNOWN:
            self._data = data
            self._at = 0
        elif self._at == _UNKNOWN:
            if not (in_head or in_body):
                self._at = 1 if self._cut and data.startswith(b"\n") else 0
            self._data = b"" if in_head else data
        elif behind < 0:
            self._at -= len(self._data)
            self._data = data
        elif behind < MAX_LINE_BYTES:
            self._data = self._data[self._at :] + data
            self._at = 0
        self._cut = data.endswith(b"\r")

    def locate(self) -> int:
        """Find the end of the last request; return the bytes behind it, 0 or fewer where it is not there or unknown."""
        if self._head != _UNKNOWN:
            self._at = _UNKNOWN
            if self._length >= 0:
                end = self._data.find(b"\r\n\r\n", self._head)
                if end >= 0:
                    self._at = end + 4 + self._length
                else:
                    self._data = b""  # of a long head only the beginning was kept
            self._head = _UNKNOWN
        return 0 if self._at == _UNKNOWN else len(self._data) - self._at

    def is_usual(self, method: bytes, target: bytes) -> bool:
        """Return whether the line of a request that the parser has read is as it must be, and its version 1.1.

        So it mostly is, and the parser's version is dear. `expect` must follow, else `check`.
        """
        if self._head != _UNKNOWN:
            self.locate()
        if self._at == _UNKNOWN or not self._data.startswith(b"%b %b HTTP/1.1\r\n" % (method, target), self._at):
            return False
        self._head = self._at
        return True

    def expect(self, length: int) -> None:
        """Note the length of the body, behind a usual line; negative when it is not known."""
        self._length = length

    def check(self, method: bytes, target: bytes, length: int, version: bytes = b"1.1") -> None:
        """Look at the line of a request that the parser has read. Raises ProtocolError when it is not as it must be.

        `length` is that of the body in bytes, negative when it is not known.
        """
        if self._head != _UNKNOWN:
            self.locate()
        line = b"%b %b HTTP/%b\r\n" % (method, target, version)
        at = self._at
        if at == _UNKNOWN:
            if not self._data or line in self._data:
                return
        elif self._data.startswith(line, at):
            self._head, self._length = at, length
            return
        elif self._data.startswith(_EMPTY_LINE + line, at):
            self._head, self._length = at + len(_EMPTY_LINE), length
            return
        raise ProtocolError("the request line is not method, target and version with one blank between them")

    def restart(self) -> None:
        """Read again what came behind the last request."""
        self._data = b""
        self._at = 0
        self._head = _UNKNOWN
