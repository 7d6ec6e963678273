"""Bodies on one HTTP/2 connection: DATA frames and flow control in both directions (RFC 9113 sections 5.2, 6.1, 6.9).

Rules:
- Bodies that come and go in pieces go past libnghttp2, which keeps the heads, the ends and the stream states: its calls
  and objects for each frame would be a third of what a gRPC message costs.
- Of those that come it reads what is whole in one frame, with the trailers if they came along, and what its head gives
  a content-length or forbids: it holds them to that, and has an account of its own of them in the connection's window.
- Of those that go it writes what is whole and short before any of it was sent: head, data and end are one call. That is
  lent to it, within its windows and the peer's, and paid when it has been sent.
- Out: a body is written when its head has been, in frames of at most `MAX_FRAME_BYTES`, one of each stream in turn, as
  far as both windows go. Its end is libnghttp2's to write, once nothing of the body is left.
- In: a window is opened again when half of a stream's, or a quarter of the connection's, went on. A quarter, because
  libnghttp2 opens it at half of what it counts, and both together must not leave the peer without any.
- A body that is over sends nothing, and what still comes of it is given back at once. It is remembered until
  libnghttp2 has closed its stream and its bytes are acknowledged.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from mypy_extensions import i64

from sidecar.core.http.http2_frames import HEADER_BYTES, MAX_FRAME_BYTES
from sidecar.core.http.http2_limits import CONNECTION_WINDOW, MAX_WINDOW, STREAM_WINDOW
from sidecar.core.http.messages import Fields

INITIAL_WINDOW: Final = 65_535
"""Of a connection, and of a stream until the peer's SETTINGS say something else (RFC 9113 section 6.9.2)."""

NO_TRAILERS: Final[Fields] = []

_UPDATE: Final = 4 << 48 | 8 << 40  # the header of WINDOW_UPDATE, without its stream


class Way(Enum):
    """Who reads the DATA that comes on a stream: UNKNOWN, until its head has come, leads to the others."""

    UNKNOWN = "unknown"
    OURS = "ours"
    LIBRARY = "library"  # libnghttp2; OURS leads here at the end of the body


class Sending(Enum):
    """How far a body is that we send: OPEN → ENDING → ENDED."""

    OPEN = "open"
    ENDING = "ending"  # no more comes, but some of it waits
    ENDED = "ended"  # the rest is libnghttp2's


class Body:
    """What is sent and what comes on one stream: open → `is_over`, when it is reset or closed → `is_closed`."""

    __slots__ = (
        "_first",
        "_offset",
        "_parts",
        "_waits",
        "is_begun",
        "is_closed",
        "is_over",
        "queued",
        "sending",
        "sent",
        "stream",
        "trailers",
        "unread",
        "unsaid",
        "way",
        "window",
    )

    def __init__(self, stream: int, window: int, is_begun: bool) -> None:
        self.stream = stream
        self.way = Way.UNKNOWN
        self.is_over = False  # nothing more is sent, and what comes is passed over
        self.is_closed = False  # libnghttp2 knows it no more
        # In.
        self.unread: i64 = 0  # bytes that came and were not acknowledged
        self.unsaid: i64 = 0  # bytes acknowledged that the peer has not been told of
        # Out.
        self.is_begun = is_begun  # the head has been sent
        self.window: i64 = window
        self.queued: i64 = 0
        self.sent: i64 = 0
        self.sending = Sending.OPEN
        self.trailers = NO_TRAILERS
        self._waits = False  # in the line of those that have something to send
        self._parts: list[bytes] = []
        self._first: i64 = 0  # part, of those that are not yet sent
        self._offset: i64 = 0  # in that part

    def add(self, data: bytes) -> None:
        """Keep a piece until it can be sent."""
        self._parts.append(data)
        self.queued += len(data)

    def line_up(self) -> bool:
        """Return whether the body has to be put in the line: it is not there yet."""
        if self._waits:
            return False
        self._waits = True
        return True

    def step_out(self) -> None:
        """Note that the body is no longer in the line."""
        self._waits = False

    def write_frame(self, count: i64, out: list[bytes]) -> None:
        """Write a DATA frame of so many of the bytes that wait."""
        out.append((int(count) << 48 | self.stream).to_bytes(HEADER_BYTES, "big"))
        self.queued -= count
        self.sent += count
        self.window -= count
        parts = self._parts
        while count > 0:
            part = parts[self._first]
            left = len(part) - self._offset
            if left > count:
                out.append(part[self._offset : self._offset + count])
                self._offset += count
                return
            out.append(part[self._offset :] if self._offset else part)
            count -= left
            parts[self._first] = b""
            self._offset = 0
            self._first += 1
        if self._first == len(parts):
            parts.clear()
            self._first = 0
        elif self._first >= 64:
            del parts[: self._first]
            self._first = 0

    def take(self) -> bytes:
        """Return all that waits, of a body of which nothing was sent."""
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.sent = self.queued
        self.window -= self.queued
        self.queued = 0
        parts.clear()
        return data

    def drop(self) -> None:
        """Send nothing more."""
        self.is_over = True
        self.queued = 0
        self._parts.clear()
        self._first = self._offset = 0


class Bodies:
    """The bodies of all streams of one connection."""

    __slots__ = (
        "_bodies",
        "_initial",
        "_line",
        "_unread",
        "_unsaid",
        "_updates",
        "_window",
        "ending",
        "lent",
        "queued",
    )

    def __init__(self) -> None:
        self._bodies: dict[int, Body] = {}
        self._line: deque[Body] = deque()  # those that may have something to send, each once
        self.ending: list[Body] = []  # those that are sent, and whose end libnghttp2 has to be told of
        self._initial: i64 = INITIAL_WINDOW  # of a stream's window for what we send
        self._window: i64 = INITIAL_WINDOW  # for what we send
        self.lent: i64 = 0  # of that
        self.queued: i64 = 0  # bytes of all bodies that wait
        self._unread: i64 = 0
        self._unsaid: i64 = 0
        self._updates: list[bytes] = []  # WINDOW_UPDATE frames that are to be sent: bounded by what came

    def __len__(self) -> int:
        return len(self._bodies)

    def get(self, stream: int) -> Body | None:
        """Return the body of a stream, None when there is none or libnghttp2 has closed it."""
        return self._bodies.get(stream)

    def open(self, stream: int, is_begun: bool) -> Body:
        """Begin with a stream. `is_begun`: what is sent on it comes behind a head that is sent already."""
        body = self._bodies[stream] = Body(stream, self._initial, is_begun)
        return body

    def reset(self, stream: int) -> None:
        """End a body before its time, whatever of it waits. `close` follows when the reset is sent."""
        body = self._bodies.get(stream)
        if body is not None:
            self._drop(body)

    def _drop(self, body: Body) -> None:
        self.queued -= body.queued
        body.drop()

    def most_queued(self) -> list[tuple[int, int]]:
        """Return the bytes that wait and the stream, of all bodies of which some do, the largest first."""
        return sorted([(int(body.queued), body.stream) for body in self._bodies.values() if body.queued], reverse=True)

    def close(self, stream: int) -> None:
        """End a body, whatever of it waits: libnghttp2 has closed its stream."""
        body = self._bodies.get(stream)
        if body is not None:
            self._drop(body)
            body.is_closed = True
            if body.unread == 0:
                del self._bodies[stream]

    # In.

    def take(self, body: Body, count: i64) -> bool:
        """Count bytes that came. Return whether the stream's window allowed them."""
        if body.is_over:
            self._give(count)
            return True
        body.unread += count
        self._unread += count
        return body.unread + body.unsaid <= STREAM_WINDOW

    def outstanding(self) -> int:
        """Return how much of the connection's window is used by what was counted here."""
        return self._unread + self._unsaid

    def acknowledge(self, stream: int, count: i64) -> bool:
        """Open the windows by what went on. Return False when it was not counted here."""
        body = self._bodies.get(stream)
        if body is None or body.unread == 0:
            return False
        body.unread -= count
        self._unread -= count
        if body.is_closed:
            if body.unread == 0:
                del self._bodies[stream]
        elif body.way is Way.OURS:
            body.unsaid += count
            if body.unsaid * 2 >= STREAM_WINDOW and not body.is_over:
                self._updates.append(window_update(stream, body.unsaid))
                body.unsaid = 0
        self._give(count)
        return True

    def _give(self, count: i64) -> None:
        self._unsaid += count
        if self._unsaid * 4 >= CONNECTION_WINDOW:
            self._updates.append(window_update(0, self._unsaid))
            self._unsaid = 0

    # Out.

    def send(self, body: Body, data: bytes) -> None:
        """Send a piece of a body."""
        if data and not body.is_over and body.sending is Sending.OPEN:
            body.add(data)
            self.queued += len(data)
            if body.line_up():
                self._line.append(body)

    def end(self, body: Body, trailers: Fields) -> None:
        """End a body behind what waits of it."""
        if not body.is_over and body.sending is Sending.OPEN:
            body.sending = Sending.ENDING
            body.trailers = trailers
            if body.line_up():
                self._line.append(body)

    def lend(self, body: Body, room: i64) -> bytes | None:
        """Return a short body that is whole, for libnghttp2 to send. None when it is not, or does not fit."""
        count = body.queued
        if body.is_over or body.sending is not Sending.OPEN or body.sent or count > MAX_FRAME_BYTES:
            return None
        most = self._window - self.lent
        if count > body.window or count > self._initial or count > most or self.lent + count > room:
            return None
        body.sending = Sending.ENDED
        self.lent += count
        self.queued -= count
        return body.take()

    def repay(self, sent: i64, left: i64) -> None:
        """Note how much libnghttp2 has sent of all that was lent to it, and what is left. The others were reset."""
        self._window -= sent
        self.lent = left

    def ended(self) -> list[int]:
        """Return the streams of which libnghttp2 may still have something to send."""
        return [body.stream for body in self._bodies.values() if body.sending is Sending.ENDED and not body.is_over]

    def widen(self, increment: i64) -> bool:
        """Open the connection's window for what we send. Return False when it would be too large."""
        self._window += increment
        return self._window <= MAX_WINDOW

    def widen_stream(self, body: Body, increment: i64) -> bool:
        """Open a stream's window for what we send. Return False when it would be too large."""
        body.window += increment
        if body.queued and body.line_up():
            self._line.append(body)
        return body.window <= MAX_WINDOW

    def resize(self, initial: i64) -> bool:
        """Take another initial window: all streams' windows change by as much. Return False when one is too large."""
        change: i64 = initial - self._initial
        self._initial = initial
        fits = True
        if change:
            for body in self._bodies.values():
                fits = self.widen_stream(body, change) and fits
        return fits

    def wants_write(self) -> bool:
        """Return whether `write` may have something to do."""
        return bool(self._line) or bool(self._updates)

    def write(self, out: list[bytes], room: i64) -> None:
        """Write what can be sent now, about so many bytes; who is through with it stands in `ending`."""
        if self._updates:
            out.extend(self._updates)
            self._updates.clear()
        line = self._line
        idle: i64 = 0  # those in a row that could send nothing, and stay in the line
        while idle < len(line) and room > 0:
            body = line.popleft()
            count: i64 = body.queued
            if body.is_begun and count:
                if count > MAX_FRAME_BYTES:
                    count = MAX_FRAME_BYTES
                if count > body.window:
                    count = body.window
                if count > self._window:
                    count = self._window
                if count > 0:
                    self._window -= count
                    self.queued -= count
                    room -= count
                    body.write_frame(count, out)
                    idle = 0
            if body.is_over or (body.queued and body.window <= 0):
                body.step_out()  # it comes back when its window is opened
            elif not body.is_begun or body.queued:
                line.append(body)
                if count <= 0 or not body.is_begun:
                    idle += 1
            else:
                body.step_out()
                if body.sending is Sending.ENDING:
                    body.sending = Sending.ENDED
                    self.ending.append(body)


def window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return (_UPDATE | stream).to_bytes(HEADER_BYTES, "big") + increment.to_bytes(4, "big")
