"""What both sides of HTTP/2 have in common: a connection with its codec, and the streams on it.

Rules:
- The peer's windows are opened only as what came goes on. What comes while a stream is paused is acknowledged when it
  is resumed, or when it is over: the connection's window is shared.
- The other side of an exchange is stopped while more than `HIGH_WATER_BYTES` of a stream wait for the peer's window,
  and goes on at half of that.
- What waits on all streams and in the socket together, and a field block that has only begun, is noted in `held`, and
  given up when too much is held.
- A turn of the loop is one write. While the socket is full nothing is written: what waits, waits where the watermarks
  see it.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.http2_events import StreamEvent
from sidecar.core.http.http2_frames import MAX_FRAME_BYTES
from sidecar.core.http.http2_limits import MAX_OUTPUT_BYTES
from sidecar.core.timers import Timed
from sidecar.proxy.base.interfaces import ExchangeEvents
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES, Runtime


class Http2Stream:
    """One side of an exchange."""

    __slots__ = ("_paused", "_unacknowledged", "exchange", "full", "id")

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.exchange: ExchangeEvents | None = None
        self.full = False  # more waits for the peer's window than should
        self._paused = False
        self._unacknowledged = 0

    def hold_back(self, count: int) -> bool:
        """Keep bytes that came unacknowledged while the stream is paused. Return whether it is."""
        if self._paused and self.exchange is not None:
            self._unacknowledged += count
            return True
        return False

    def give_back(self) -> int:
        """Return how many bytes came while the stream was paused; they are acknowledged now, once."""
        count, self._unacknowledged = self._unacknowledged, 0
        return count

    def on_full(self) -> None:
        """More waits than should: stop what it comes from."""
        raise NotImplementedError

    def on_ready(self) -> None:
        """Little waits: go on."""
        raise NotImplementedError


Stream = TypeVar("Stream", bound=Http2Stream)


class Http2Connection(asyncio.Protocol, Timed, Generic[Stream]):
    """One end of a connection."""

    def __init__(self, runtime: Runtime, codec: Http2Codec) -> None:
        Timed.__init__(self)
        self._runtime = runtime
        self._codec = codec
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Stream] = {}
        self._full: list[Stream] = []  # those that were found full, as long as they are; others may be gone already
        self._writable = True
        self._touched = False
        self._noted = 0  # what `held` knows of

    def send_data(self, stream: Stream, data: bytes) -> None:
        """Send a piece of a body; its source is paused when too much of it waits."""
        if self._streams.get(stream.id) is not stream:
            return
        self._codec.send_data(stream.id, data)
        self._touch()
        if not stream.full and self._codec.queued(stream.id) > HIGH_WATER_BYTES:
            stream.full = True
            self._full.append(stream)
            stream.on_full()
        if self._codec.queued_in_all() > self._noted + HIGH_WATER_BYTES:
            self._note()

    def _note(self) -> None:
        """Note what is held, if it is much."""
        waiting = self._waiting()
        self._noted = waiting if waiting > MAX_FRAME_BYTES else 0
        self._runtime.held.note(self, self._noted, self._runtime.now())

    def _waiting(self) -> int:
        """Return the bytes that the peer does not take, of bodies and in a full socket, and of a block that began."""
        transport = self._transport
        if transport is None:
            return 0
        unsent = 0 if self._writable else transport.get_write_buffer_size()
        return self._codec.queued_in_all() + unsent + self._codec.block_bytes()

    def give_up(self, count: int) -> int:
        """Reset the streams on which most waits, and cut the connection if they do not hold enough."""
        left = self._waiting()
        enough = left - count
        for queued, stream_id in self._codec.most_queued():
            if left <= enough:
                break
            left -= queued
            self._give_up_stream(stream_id)
        self._touch()
        if left > enough:
            self._runtime.loop.call_soon(self._cut)  # not from within its own call of `pause_writing`
            left = 0
        self._noted = left
        return left

    def _give_up_stream(self, stream_id: int) -> None:
        """Reset a stream."""
        raise NotImplementedError

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def acknowledge(self, stream: Stream, count: int) -> None:
        """Open the windows by what went on."""
        self._codec.acknowledge(stream.id, count)
        self._touch()

    def _give_back(self, stream: Stream) -> None:
        """Free the share of the connection's window that a finished stream held."""
        count = stream.give_back()
        if count:
            self._codec.acknowledge(stream.id, count)

    def pause_writing(self) -> None:
        """Note that the socket is full."""
        self._writable = False
        self._note()

    def resume_writing(self) -> None:
        """Note that the socket takes bytes again."""
        self._writable = True
        self._note()
        self._touch()

    def _touch(self) -> None:
        if not self._touched:
            self._touched = True
            self._runtime.touch(self)

    def flush(self) -> None:
        """Write what the codec has, unless the socket is full. The end of a connection is always written."""
        self._touched = False
        transport = self._transport
        if transport is None or not (self._writable or self._codec.closed):
            return
        data = self._write(transport)
        while len(data) >= MAX_OUTPUT_BYTES and self._writable:
            data = self._write(transport)
        if self._full:
            self._wake()
        if self._noted and (self._codec.queued_in_all() + self._codec.block_bytes()) * 2 < self._noted:
            self._note()
        if self._codec.closed:
            self._end(transport)

    def _wake(self) -> None:
        """Let those go on of which little waits."""
        full, self._full = self._full, []
        for stream in full:
            if self._streams.get(stream.id) is not stream:
                continue
            if self._codec.queued(stream.id) > HIGH_WATER_BYTES // 2:
                self._full.append(stream)
            else:
                stream.full = False
                stream.on_ready()

    def _write(self, transport: asyncio.Transport) -> bytes:
        data = self._codec.output()
        if self._codec.has_deferred_events():
            self._deliver(self._codec.deferred_events())
        if data:
            self._count_bytes(len(data))
            transport.write(data)
        return data

    def _deliver(self, events: list[tuple[int, StreamEvent]]) -> None:
        """Deliver what the peer did, stream by stream."""
        raise NotImplementedError

    def _count_bytes(self, count: int) -> None:
        """Count bytes that are written."""
        raise NotImplementedError

    def _end(self, transport: asyncio.Transport) -> None:
        """End the connection: the codec's last frames are written."""
        raise NotImplementedError
