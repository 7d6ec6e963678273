"""The frames of a peer that the codec looks at itself, found by their headers (RFC 9113 section 4.1).

Rules:
- Marked are DATA and WINDOW_UPDATE, which go past libnghttp2 where they can (`http2_bodies`), and what libnghttp2 would
  pass over in silence though a client may not send it. All other bytes are libnghttp2's.
- libnghttp2 forgets a stream that is closed, and ignores what still comes on it: such frames may have crossed a reset.
  Those of a client that ended the stream itself have crossed nothing; nor have those on an identifier it skipped.
- A frame may be cut anywhere. A header that is not whole waits for the rest of it, and for the few bytes behind it that
  have to be known; DATA is marked piece by piece, padded DATA as a whole.
- What is wrong with a single frame, its length, its padding, its place in a block, is left to libnghttp2.
- One scan takes `HEADS_AT_ONCE` heads of a client, or the first that make up `HEAD_BYTES_AT_ONCE`; what is behind them
  is `has_unread`, and comes with the next.
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
MAX_FRAME_BYTES: Final = 16_384
"""SETTINGS_MAX_FRAME_SIZE, as it is when nobody says otherwise: what every peer takes (RFC 9113 section 6.5.2)."""
HEADS_AT_ONCE: Final = 32
"""One read may bring six thousand of the smallest heads, or two hundred with a thousand fields each, which take a tenth
of a second: others would wait for all of them, and for requests that are read behind their client's last offence."""
HEAD_BYTES_AT_ONCE: Final = 8_192
MAX_UNENDED: Final = 2_000
"""Twice the streams that may be open at once: the others were reset by us, and their client need not end them."""

END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
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


class Mark:
    """A frame, or a piece of a DATA frame, in the bytes that were scanned."""

    __slots__ = ("at", "stream")

    def __init__(self, stream: int, at: int) -> None:
        self.stream = stream
        self.at = at  # where it begins, with its header if that is in it


class Offence(Mark):
    """A frame that costs the connection."""

    __slots__ = ("fault",)

    def __init__(self, stream: int, at: int, fault: Fault) -> None:
        Mark.__init__(self, stream, at)
        self.fault = fault


class Update(Mark):
    """A WINDOW_UPDATE frame."""

    __slots__ = ("following", "increment")

    def __init__(self, stream: int, at: int, increment: int) -> None:
        Mark.__init__(self, stream, at)
        self.following = at + JUDGED_BYTES
        self.increment = increment


class Piece(Mark):
    """A DATA frame, or what of it came in one read."""

    __slots__ = ("before_trailers", "begin", "count", "end", "ends_stream", "following", "is_first")

    def __init__(self, stream: int, at: int, following: int, is_first: bool, ends_stream: bool) -> None:
        Mark.__init__(self, stream, at)
        self.is_first = is_first  # of the frame
        self.begin = at + HEADER_BYTES if is_first else at
        self.end = following  # of the data
        self.following = following  # where the next frame begins
        self.count = following - self.begin  # bytes that the windows count: data and padding
        self.ends_stream = ends_stream  # it is the last of the stream
        self.before_trailers = False  # which were scanned with it, and right behind it

    def strip(self, padding: int) -> None:
        """Take off padding, and the byte that says how much of it there is (RFC 9113 section 6.1)."""
        self.begin += 1
        self.end -= padding


class FrameScanner:
    """Follows the frames that one peer sends; those of a client are judged."""

    __slots__ = (
        "_data_ends",
        "_data_left",
        "_data_stream",
        "_forgotten",
        "_highest",
        "_in_block",
        "_judges",
        "_rest",
        "_skipped_above",
        "_skipped_below",
        "_to_pass",
        "_unended",
        "block_bytes",
        "has_unread",
        "scanned",
    )

    def __init__(self, is_client: bool = True) -> None:
        self._judges = is_client
        self._to_pass: i64 = PREFACE_BYTES if is_client else 0  # bytes up to the next header
        self.scanned: i64 = 0  # of the bytes scanned last; those behind come again
        self._rest = b""  # the beginning of a frame that cannot be judged yet, or all that is unread
        self.has_unread = False  # there are more heads than one scan takes: scan again, with or without more bytes
        self._data_left: i64 = 0  # of a DATA frame
        self._data_stream = 0
        self._data_ends = False
        self._highest: i64 = -1  # stream
        self._unended: set[int] = set()
        self.block_bytes: i64 = 0  # of a field block that has begun and not ended
        self._in_block = False  # between HEADERS and the end of its field block, where nothing else may come
        self._forgotten: i64 = 0  # streams up to here are not judged
        self._skipped_above: i64 = 0  # the last identifiers that were skipped
        self._skipped_below: i64 = 0

    def join(self, data: bytes) -> bytes:
        """Return the next bytes to scan: what was left, and what has come."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        return data

    def scan(self, data: bytes) -> list[Mark]:
        """Return the marks in these bytes, in order. An offence is the last of all."""
        found: list[Mark] = []
        self.has_unread = False
        heads: i64 = 0
        head_bytes: i64 = 0
        size: i64 = len(data)
        position: i64 = self._to_pass
        if self._data_left:
            position = self._data_left if self._data_left < size else size
            self._data_left -= position
            ends = self._data_ends and self._data_left == 0
            found.append(Piece(self._data_stream, 0, position, False, ends))
        while size - position >= HEADER_BYTES:
            length: i64 = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            kind: i64 = data[position + 3]
            flags: i64 = data[position + 4]
            stream = _number(data, position + 5)
            following: i64 = position + HEADER_BYTES + length
            if self._in_block:
                self._in_block = kind != CONTINUATION or flags & END_HEADERS == 0
                self.block_bytes = self.block_bytes + length if self._in_block else 0
            elif kind == DATA:
                is_sound = stream != 0 and length <= MAX_FRAME_BYTES
                if is_sound and following > size and (flags & PADDED != 0 or size == position + HEADER_BYTES):
                    break
                if self._judges and not self._follow(stream, flags & END_STREAM != 0):
                    return _ended_by(found, Offence(stream, position, Fault.ENDED))
                if is_sound:
                    self._mark(found, data, position, length, flags, stream)
            elif kind == HEADERS:
                if self._judges and (heads >= HEADS_AT_ONCE or head_bytes >= HEAD_BYTES_AT_ONCE):
                    self.has_unread = True
                    break
                heads += 1
                head_bytes += length
                self._in_block = flags & END_HEADERS == 0
                if self._in_block:
                    self.block_bytes = length
                if not self._judges:
                    if flags & END_STREAM != 0 and found:
                        _precede_trailers(found[-1], stream)
                elif stream > self._highest:
                    self._open(stream, flags & END_STREAM != 0)
                elif not self._follow(stream, flags & END_STREAM != 0):
                    skipped = self._skipped_above < stream < self._skipped_below
                    return _ended_by(found, Offence(stream, position, Fault.SKIPPED if skipped else Fault.ENDED))
            elif kind == RST_STREAM:
                self._unended.discard(stream)
            elif kind == PRIORITY and length == PRIORITY_BYTES and self._judges:
                if size - position < JUDGED_BYTES:
                    break
                if stream == 0 or _number(data, position + HEADER_BYTES) == stream:
                    return _ended_by(found, Offence(stream, position, Fault.PRIORITY))
            elif kind == WINDOW_UPDATE and length == WINDOW_UPDATE_BYTES:
                if size - position < JUDGED_BYTES:
                    break
                increment = _number(data, position + HEADER_BYTES)
                if increment:
                    found.append(Update(stream, position, increment))
            position = following
        if position < size:
            self._rest = data[position:]
            self._to_pass = 0
            self.scanned = position
        else:
            self._to_pass = position - size
            self.scanned = size
        return found

    def _mark(self, found: list[Mark], data: bytes, position: i64, length: i64, flags: i64, stream: i64) -> None:
        """Mark what there is of a DATA frame."""
        size: i64 = len(data)
        following: i64 = position + HEADER_BYTES + length
        ends = flags & END_STREAM != 0
        if following > size:
            self._data_left = following - size
            self._data_stream = stream
            self._data_ends = ends
            found.append(Piece(stream, position, size, True, False))
            return
        piece = Piece(stream, position, following, True, ends)
        if flags & PADDED:
            padding: i64 = data[position + HEADER_BYTES] if length else length
            if padding >= length:
                return
            piece.strip(padding)
        found.append(piece)

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


def _precede_trailers(mark: Mark, stream: int) -> None:
    """Note that trailers follow, if this is DATA of their stream."""
    if isinstance(mark, Piece) and mark.stream == stream:
        mark.before_trailers = True


def _ended_by(found: list[Mark], offence: Offence) -> list[Mark]:
    found.append(offence)
    return found
