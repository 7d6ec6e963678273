"""The few frames of a client that libnghttp2 passes over in silence, found by their headers (RFC 9113 section 4.1).

Rules:
- libnghttp2 forgets a stream that is closed, and ignores what still comes on it: such frames may have crossed a reset.
  Those of a client that ended the stream itself have crossed nothing; nor have those on an identifier it skipped.
- Nothing but headers is read, and the first four bytes of PRIORITY and WINDOW_UPDATE. A frame may be cut anywhere.
- What is wrong with a single frame, its length, its flags, its place in a block, is left to libnghttp2.
- Memory is bounded: past `MAX_UNENDED` streams that their client has not ended, those so far are judged no more.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from mypy_extensions import i64

PREFACE_BYTES: Final = 24
HEADER_BYTES: Final = 9
JUDGED_BYTES: Final = HEADER_BYTES + 4
PRIORITY_BYTES: Final = 5
WINDOW_UPDATE_BYTES: Final = 4
LARGE_INCREMENT: Final = 1 << 30
"""A window is at most twice as large, so that no smaller increment needs a look."""
MAX_UNENDED: Final = 2_000
"""Twice the streams that may be open at once: the others were reset by us, and their client need not end them."""
MAX_OFFENCES: Final = 16
"""Of one read; what follows is left to libnghttp2, which may end the connection for it."""

END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9


class Fault(Enum):
    """What is wrong with a frame."""

    ENDED = "frames of a stream that its client had ended"
    SKIPPED = "a stream with a smaller identifier than the last one"
    PRIORITY = "PRIORITY for no stream, or for a stream that depends on itself"
    INCREMENT = "a window opened by so much that it may be too large"


class Offence:
    """A frame that libnghttp2 would pass over."""

    __slots__ = ("at", "fault", "increment", "stream")

    def __init__(self, fault: Fault, stream: int, at: int, increment: int = 0) -> None:
        self.fault = fault
        self.stream = stream
        self.at = at  # in the bytes read: those before may be given to libnghttp2, and do not complete the frame
        self.increment = increment

    def __repr__(self) -> str:
        return f"<Offence {self.fault.name} {self.stream} at {self.at}>"


class FrameScanner:
    """Follows the frames that one client sends."""

    __slots__ = (
        "_forgotten",
        "_highest",
        "_in_block",
        "_rest",
        "_skipped_above",
        "_skipped_below",
        "_to_pass",
        "_unended",
    )

    def __init__(self) -> None:
        self._to_pass = PREFACE_BYTES  # bytes up to the next header
        self._rest = b""  # the beginning of a frame that cannot be judged yet
        self._highest = -1  # stream
        self._unended: set[int] = set()
        self._in_block = False  # between HEADERS and the end of its field block, where nothing else may come
        self._forgotten = 0  # streams up to here are not judged
        self._skipped_above = self._skipped_below = 0  # the last identifiers that were skipped

    def scan(self, data: bytes) -> list[Offence]:
        """Take the next bytes of the client; return what is wrong with them, up to `MAX_OFFENCES`."""
        known: i64 = len(self._rest)
        if known:
            data = self._rest + data
            self._rest = b""
        found: list[Offence] = []
        size: i64 = len(data)
        position: i64 = self._to_pass
        while size - position >= HEADER_BYTES:
            length: i64 = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            kind: i64 = data[position + 3]
            flags: i64 = data[position + 4]
            ends = flags & END_STREAM != 0
            stream = _number(data, position + 5)
            fault: Fault | None = None
            if self._in_block:
                self._in_block = kind != CONTINUATION or flags & END_HEADERS == 0
            elif kind == DATA:
                if not self._follow(stream, ends):
                    fault = Fault.ENDED
            elif kind == HEADERS:
                self._in_block = flags & END_HEADERS == 0
                if stream > self._highest:
                    self._open(stream, ends)
                elif not self._follow(stream, ends):
                    fault = Fault.SKIPPED if self._skipped_above < stream < self._skipped_below else Fault.ENDED
            elif kind == RST_STREAM:
                self._unended.discard(stream)
            elif kind == PRIORITY and length == PRIORITY_BYTES:
                if size - position < JUDGED_BYTES:
                    break
                if stream == 0 or _number(data, position + HEADER_BYTES) == stream:
                    fault = Fault.PRIORITY
            elif kind == WINDOW_UPDATE and length == WINDOW_UPDATE_BYTES and stream != 0:
                if size - position < JUDGED_BYTES:
                    break
                if _number(data, position + HEADER_BYTES) >= LARGE_INCREMENT:
                    fault = Fault.INCREMENT
            if fault is not None and len(found) < MAX_OFFENCES:
                found.append(_offence(fault, stream, data, position, known))
            position += HEADER_BYTES + length
        if position < size:
            self._rest = data[position:]
            self._to_pass = 0
        else:
            self._to_pass = position - size
        return found

    def _open(self, stream: int, ended: bool) -> None:
        if stream > self._highest + 2:
            self._skipped_above, self._skipped_below = self._highest, stream
        self._highest = stream
        if not ended:
            self._unended.add(stream)
            if len(self._unended) > MAX_UNENDED:
                self._unended.clear()
                self._forgotten = stream

    def _follow(self, stream: int, ended: bool) -> bool:
        """Take another frame of a stream. Return whether there may be one."""
        if stream in self._unended:
            if ended:
                self._unended.discard(stream)
            return True
        return stream <= self._forgotten or stream > self._highest


def _number(data: bytes, at: i64) -> i64:
    """31 bits."""
    return (data[at] & 0x7F) << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def _offence(fault: Fault, stream: i64, data: bytes, position: i64, known: i64) -> Offence:
    """`known` bytes of the data came earlier."""
    if fault is Fault.INCREMENT:  # all but its last byte
        return Offence(fault, stream, position + JUDGED_BYTES - 1 - known, _number(data, position + HEADER_BYTES))
    return Offence(fault, stream, position - known if position > known else 0)
