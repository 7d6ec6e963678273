"""What one HTTP/2 connection may hold, and what its peer may cost before the connection ends.

Rules:
- Two scores that the codec keeps of its peer: frames that ask for nothing, and streams that a client cut. Each read
  forgives some of the first; the second is halved now and then, so that the past fades.
- libnghttp2 keeps the others itself: nonsense, resets, header blocks, settings and acknowledgements.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.http.fields import MAX_HEAD_BYTES

MAX_STREAMS: Final = 1_000
"""Concurrent streams that a client may open on one connection. A gRPC channel is one connection, and what finds no
stream there waits silently until its deadline."""
MAX_LARGE_HEADS: Final = 100
MAX_SMALL_HEAD_BYTES: Final = 4_096
"""While a client has more open streams than this, a further one has a small head, as calls on a busy channel do: the
heads of 1,000 streams would hold 60 MiB, so they hold less than 10. Counted as MAX_HEADER_LIST_SIZE is, with 32 bytes
a field (RFC 9113 section 6.5.2)."""
STREAM_WINDOW: Final = 65_535
MAX_WINDOW: Final = 2**31 - 1
MAX_OWN_STREAMS: Final = 100
"""Concurrent streams that we open on one connection, however many the peer allows; more go on another connection."""
CONNECTION_WINDOW: Final = MAX_OWN_STREAMS * STREAM_WINDOW
"""What a peer may send unread on one connection: memory is bounded by bytes, not by streams. Each stream that we open
can have its window filled and unread: one that nobody reads never stops another."""
MAX_OUTPUT_BYTES: Final = 65_536
"""Of one `output`: what a socket that is full would hold besides, whatever the peer's windows allow."""
MAX_CUT_STREAMS: Final = 200
"""Streams that a client may cut before they are answered, or make us cut, whatever else it does: rapid reset
(CVE-2023-44487) and MadeYouReset (CVE-2025-8671). Beyond, they must be fewer than half of its streams: where a whole
mesh shares a connection, cancelled calls are common."""
MAX_CUT_STREAMS_OF_PEERS: Final = 1_000
"""The same for a connection that carries the requests of many: one of them must not end it for all."""
CUT_WINDOW: Final = 4_000
"""Streams after which the counts for that are halved, so that the past fades."""
OVERSIZE_WEIGHT: Final = 10
"""A head that is too large costs as much to read as many others, and counts as so many streams cut."""
RESETS: Final = (2_000, 1_000)
"""RST_STREAM frames of a client, for whatever streams: a burst, and so many a second."""
GLITCHES: Final = (1_000, 100)
ENDPOINT_GLITCHES: Final = (10_000, 1_000)
"""Frames that make no sense: a burst, and so many a second. An endpoint's answer that crosses our cancellation is one
too, and where calls have short deadlines there are many of those."""
MAX_NOISE: Final = 10_000
FREE_NOISE: Final = 10
"""Frames that ask for nothing (PING, SETTINGS, WINDOW_UPDATE, empty DATA): so many are free with each read, and of the
rest so many may pile up."""
MAX_CONTINUATIONS: Final = 8
MAX_BLOCK_BYTES: Final = 4 * MAX_HEAD_BYTES
MAX_BLOCK_FIELDS: Final = 1_024
"""A header block beyond the limits of a head costs its stream; beyond these it costs the connection."""


class PeerCost:
    """What the peer of one connection has cost."""

    __slots__ = ("_cut", "_max_cut", "_noise", "_open", "_opened")

    def __init__(self, max_cut_streams: int) -> None:
        self._max_cut = max_cut_streams
        self._cut = 0
        self._opened = 0
        self._open: set[int] = set()  # streams of a client, known by their heads
        self._noise = 0

    def read(self) -> None:
        """Forgive what is free with each read."""
        if self._noise:
            self._noise = max(self._noise - FREE_NOISE, 0)

    def count_noise(self) -> None:
        """Count a frame that asks for nothing."""
        self._noise += 1

    def is_noisy(self) -> bool:
        """Return whether too many frames have asked for nothing."""
        return self._noise > MAX_NOISE

    def open(self, stream: int) -> None:
        """Count a stream that a client opens."""
        self._opened += 1
        if self._opened >= CUT_WINDOW:
            self._opened >>= 1
            self._cut >>= 1
        self._open.add(stream)

    def close(self, stream: int) -> None:
        """Let a stream go, whosever it is."""
        self._open.discard(stream)

    def takes_large_heads(self) -> bool:
        """Return whether the stream opened last may have a large head."""
        return len(self._open) <= MAX_LARGE_HEADS

    def cut(self, weight: int) -> bool:
        """Count a stream cut before its answer, as so many. Return whether there were too many."""
        self._cut += weight
        return self._cut > self._max_cut and self._cut * 2 > self._opened
