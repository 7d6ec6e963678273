"""What an HTTP/1.1 client has sent and its connection has not begun with: the rest of a request, and those behind it.

Rules:
- Requests are begun in their order. The next one's head waits until the one in hand is over; while anything waits,
  the connection reads nothing more.
- What comes behind a request to leave HTTP belongs to a tunnel, or, if that is declined, is the next request.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from sidecar.core.http.http1_reader import Event
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.messages import End, RequestHead

MAX_EARLY_BYTES: Final = 65_536
"""What a client may send behind a request to leave HTTP before that is answered."""
EVENT_BYTES: Final = 160
"""Of memory for an event. A request of 26 bytes is two, and was measured to take 300 bytes."""


class Pipeline:
    """The parser of a connection, and the events that it has made and nobody has taken yet."""

    __slots__ = ("_events", "_read_bytes", "_reader")

    def __init__(self, accept_connect: bool, http_10_host: bytes | None) -> None:
        self._reader = RequestReader(accept_connect, http_10_host)
        self._events: deque[Event] = deque()
        self._read_bytes = 0  # at most what those events have of the wire: a client is not read while there are any

    def feed(self, data: bytes) -> bool:
        """Read bytes of the client. Return whether a head begins with them that is not whole yet."""
        reader = self._reader
        was_idle = reader.idle()
        events = reader.feed(data)
        self._events.extend(events)
        self._read_bytes = len(data)
        return (was_idle or bool(events)) and not reader.idle()

    def take(self, has_request: bool) -> Event | None:
        """Take the next event; None if there is none, or if it begins a request while there is one in hand."""
        events = self._events
        if not events or (has_request and isinstance(events[0], RequestHead)):
            return None
        return events.popleft()

    def stay(self) -> None:
        """Stay with HTTP, if the request in hand wanted to leave it. Raises ProtocolError."""
        if self._reader.left_http:
            self._events.extend(self._reader.stay())

    def take_early(self) -> bytes:
        """Take what came behind a request to leave HTTP."""
        early, self._reader.leftover = self._reader.leftover, b""
        return early

    def drop_unfinished(self) -> None:
        """Drop a request that is not whole: the client sends no more."""
        while self._events and not isinstance(self._events[-1], End):
            self._events.pop()

    def clear(self) -> None:
        """Drop all that waits."""
        self._events.clear()

    def release(self) -> None:
        """Let the parser go, with the connection."""
        self._reader.release()

    def is_full(self) -> bool:
        """Return whether so much waits that nothing more is to be read."""
        return bool(self._events) or len(self._reader.leftover) > MAX_EARLY_BYTES

    def held_bytes(self) -> int:
        """Return about how much memory it takes what has come and cannot be used yet."""
        held = self._reader.head_bytes() + len(self._reader.leftover)
        if self._events:
            held += self._read_bytes + EVENT_BYTES * len(self._events)
        return held

    def may_follow(self) -> bool:
        """Return whether another request may follow those that were read."""
        return self._reader.keep_alive

    def holds_request(self) -> bool:
        """Return whether another request has come already."""
        return any(isinstance(event, RequestHead) for event in self._events)

    def leaves_http(self) -> bool:
        """Return whether the request read last asks to leave HTTP."""
        return self._reader.left_http

    def is_idle(self) -> bool:
        """Return whether no head is being read."""
        return self._reader.idle()
