"""What one end of an HTTP/2 connection reads and writes: which bytes are libnghttp2's and which are bodies.

Rules:
- libnghttp2, through ngh2, keeps the heads with HPACK, the settings and the stream states; bodies in pieces go past it
  with their windows (`http2_bodies`). It hears that they ended, and of nothing else.
- The order on a stream is kept both ways: what precedes a body is read, and written, before it.
- Windows are opened by hand: `acknowledge` says that a body's bytes went on, so a slow receiver slows its sender.
- A window beyond its bound costs its stream, that of the connection costs the connection.
- What of a client's frames libnghttp2 passes over is found by `http2_frames`, and costs the connection.
- Once `closed`, everything but `output` does nothing: what is left of the streams ends with the connection.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Final

import ngh2
from ngh2 import Configuration, Connection, Role, Setting

from sidecar.core.http.fields import MAX_HEAD_BYTES
from sidecar.core.http.http2_bodies import INITIAL_WINDOW, Bodies, Body, Sending, Way, window_update
from sidecar.core.http.http2_events import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Reset,
    StreamEvent,
)
from sidecar.core.http.http2_frames import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    Fault,
    FrameScanner,
    Mark,
    Offence,
    Piece,
    Update,
)
from sidecar.core.http.http2_limits import (
    CONNECTION_WINDOW,
    ENDPOINT_GLITCHES,
    GLITCHES,
    MAX_BLOCK_BYTES,
    MAX_BLOCK_FIELDS,
    MAX_CONTINUATIONS,
    MAX_OUTPUT_BYTES,
    MAX_OWN_STREAMS,
    MAX_STREAMS,
    RESETS,
    STREAM_WINDOW,
    PeerCost,
)
from sidecar.core.http.messages import Fields

_CLIENT_LIMITS: Final = Configuration(
    auto_window_update=False,
    max_outbound_ack=1_000,
    max_settings=32,
    stream_reset_rate_limit=RESETS,
    max_continuations=MAX_CONTINUATIONS,
    glitch_rate_limit=ENDPOINT_GLITCHES,
    max_inbound_header_list_size=MAX_BLOCK_BYTES,
    max_inbound_header_count=MAX_BLOCK_FIELDS,
    max_send_header_block_length=MAX_BLOCK_BYTES,
)
_SERVER_LIMITS: Final = replace(_CLIENT_LIMITS, glitch_rate_limit=GLITCHES)


class State(Enum):
    """Whether the connection goes on. OPEN leads to one of the others, and ENDED to BROKEN."""

    OPEN = "open"
    ENDED = "ended"  # send what `output` gives, then close
    BROKEN = "broken"  # the same, because the peer broke the protocol


class Http2Wire:
    """The bytes of one end of a connection."""

    __slots__ = (
        "_answered_early",
        "_bodies",
        "_complaint",
        "_connection",
        "_cost",
        "_data_of",
        "_deferred",
        "_final_frame",
        "_initial_window",
        "_is_server",
        "_library_heard",
        "_library_window",
        "_max_streams",
        "_opened",
        "_peer_streams",
        "_resets_known",
        "_scanner",
        "_state",
        "settled",
    )

    def __init__(self, is_server: bool, max_cut_streams: int) -> None:
        self._is_server = is_server
        role, limits = (Role.SERVER, _SERVER_LIMITS) if is_server else (Role.CLIENT, _CLIENT_LIMITS)
        self._connection = Connection(role, limits)
        self._library_heard = True  # something since the last output: it may have something to say
        self._library_window = INITIAL_WINDOW  # how much it thinks it may send on the connection
        self._state = State.OPEN
        self._complaint = ""  # why this side ended the connection, when the peer is to blame
        self._final_frame = b""
        self._cost = PeerCost(max_cut_streams)
        self._scanner = FrameScanner(is_client=is_server)
        self._bodies = Bodies()
        self._data_of: Body | None = None  # whose DATA frame is being read; None when libnghttp2 reads it
        self._opened: list[Body] = []  # requests whose head has not been sent
        self._answered_early: set[int] = set()  # streams answered before the request was whole
        self._resets_known: set[int] = set()  # streams whose end by RST_STREAM is known to both sides
        self._deferred: list[tuple[int, StreamEvent]] = []
        self.settled = False  # the peer's SETTINGS have come
        self._max_streams = 1
        self._peer_streams = _CLIENT_LIMITS.peer_max_concurrent_streams
        self._initial_window = INITIAL_WINDOW  # that the peer gives our streams
        settings = {Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW, Setting.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES}
        if is_server:
            settings[Setting.MAX_CONCURRENT_STREAMS] = MAX_STREAMS
            settings[Setting.NO_RFC7540_PRIORITIES] = 1
        else:
            settings[Setting.ENABLE_PUSH] = 0
        self._connection.initiate_connection(settings)
        self._connection.set_local_window_size(CONNECTION_WINDOW)

    @property
    def closed(self) -> bool:
        """Whether the connection is over: send what `output` gives, then close."""
        return self._state is not State.OPEN

    @property
    def broken(self) -> bool:
        """Whether it is over because the peer broke the protocol."""
        return self._state is State.BROKEN

    def has_unread(self) -> bool:
        """Return whether more of what came can be read at once: feed again, with or without more bytes."""
        return self._scanner.has_unread

    def _end(self) -> None:
        if self._state is State.OPEN:
            self._state = State.ENDED

    # Bytes in.

    def _read(self, data: bytes, marks: list[Mark], found: list[tuple[int, StreamEvent]]) -> None:
        """Read the frames that are marked, and let libnghttp2 read the others, in their order."""
        start = 0  # of what libnghttp2 reads
        ends: list[bytes] = []  # of bodies; libnghttp2 need not hear of them before something else comes
        for mark in marks:
            if isinstance(mark, Piece) and mark.is_first:
                body = self._data_of = self._bodies.get(mark.stream)
                way = body.way if body is not None else Way.UNKNOWN
                is_whole = mark.ends_stream or mark.before_trailers
                if way is Way.LIBRARY or (way is Way.UNKNOWN and is_whole):
                    continue
            if start < mark.at:
                self._give(b"".join((*ends, data[start : mark.at])), found)
                ends.clear()
                start = mark.at
                if self.closed:
                    return
            if isinstance(mark, Piece):
                # What libnghttp2 has just read may have begun the stream.
                body = self._data_of = self._bodies.get(mark.stream) if mark.is_first else self._data_of
                if body is not None and body.way is Way.OURS:
                    self._take_data(body, data, mark, found)
                    start = mark.following
                    if mark.ends_stream:
                        body.way = Way.LIBRARY
                        if not body.is_over:
                            ends.append((1 << 32 | mark.stream).to_bytes(HEADER_BYTES, "big"))
            elif isinstance(mark, Update):
                if self._widen(mark, found):
                    start = mark.following
            elif isinstance(mark, Offence):
                self.go_away(STREAM_CLOSED if mark.fault is Fault.ENDED else PROTOCOL_ERROR, mark.fault.value)
            if self.closed:
                return
        if start < self._scanner.scanned:
            ends.append(data[start : self._scanner.scanned])
        if ends:
            self._give(b"".join(ends), found)

    def _give(self, data: bytes, found: list[tuple[int, StreamEvent]]) -> None:
        """Let libnghttp2 read."""
        self._library_heard = True
        connection = self._connection
        connection.receive_data(data)
        self._take(connection.events(), found)
        if not connection.want_read:
            self._end()

    def _take_data(self, body: Body, data: bytes, piece: Piece, found: list[tuple[int, StreamEvent]]) -> None:
        """Take DATA past libnghttp2."""
        if not self._bodies.take(body, piece.count):
            self.reset(body.stream, FLOW_CONTROL_ERROR)
            found.append((body.stream, Reset(FLOW_CONTROL_ERROR, provoked=True)))
            self.acknowledge(body.stream, piece.count)
            if self._is_server:
                self.count_cut()
            return
        used = self._bodies.outstanding()
        if used > CONNECTION_WINDOW // 2 and used > self._connection.local_window_size:
            self.go_away(FLOW_CONTROL_ERROR, "more than the connection's window allows")
            return
        if body.is_over:
            return
        if piece.end > piece.begin:
            found.append((body.stream, data[piece.begin : piece.end]))
        elif not piece.ends_stream:
            self._cost.count_noise()
        padding = piece.count - (piece.end - piece.begin)
        if padding:
            self.acknowledge(body.stream, padding)

    def _widen(self, update: Update, found: list[tuple[int, StreamEvent]]) -> bool:
        """Open a window for what we send. Return False when it is libnghttp2 that has to judge this."""
        if not self.settled:
            return False  # SETTINGS come first (RFC 9113 section 3.4)
        if update.stream == 0:
            self._cost.count_noise()
            if not self._bodies.widen(update.increment):
                self.go_away(FLOW_CONTROL_ERROR, "a window that is too large")
            return True
        body = self._bodies.get(update.stream)
        if body is None or body.sending is Sending.ENDED:
            return False
        self._cost.count_noise()
        if not self._bodies.widen_stream(body, update.increment) and not body.is_over:
            # libnghttp2 would end the connection.
            self.reset(update.stream, FLOW_CONTROL_ERROR)
            found.append((update.stream, Reset(FLOW_CONTROL_ERROR, provoked=True)))
            self.count_cut()
        return True

    def _take_settings(self) -> None:
        settings = self._connection.remote_settings
        self._peer_streams = settings[Setting.MAX_CONCURRENT_STREAMS]
        self._max_streams = min(self._peer_streams, MAX_OWN_STREAMS)
        is_less = settings[Setting.INITIAL_WINDOW_SIZE] < self._initial_window
        self._initial_window = settings[Setting.INITIAL_WINDOW_SIZE]
        if is_less:
            # What is left to libnghttp2 fitted into windows of which it has not heard: it may send that.
            for stream in self._bodies.ended():
                if self._is_sent(stream):
                    self._connection.receive_data(window_update(stream, MAX_FRAME_BYTES))
        if not self._bodies.resize(self._initial_window):
            self.go_away(FLOW_CONTROL_ERROR, "a window that is too large")

    def _take(self, events: list[ngh2.Event], found: list[tuple[int, StreamEvent]]) -> None:
        """Turn libnghttp2's events into ours."""
        raise NotImplementedError

    # What the peer is to blame for.

    def take_complaint(self) -> str:
        """Return why this side ended the connection, when the peer is to blame: said once."""
        complaint, self._complaint = self._complaint, ""
        return complaint

    def count_cut(self, weight: int = 1) -> None:
        """Count a stream that a client cut before it was answered, or that it made us cut."""
        if self._cost.cut(weight):
            self.go_away(ENHANCE_YOUR_CALM, "too many streams cut")

    # Commands.

    def send_data(self, stream: int, data: bytes) -> None:
        """Send a piece of a body; it waits inside until the peer's windows take it, see `queued`."""
        body = self._bodies.get(stream)
        if body is not None:  # else the peer reset the stream in the bytes just read; its Reset follows
            self._bodies.send(body, data)

    def send_end(self, stream: int, trailers: Fields) -> None:
        """End the stream's sending side."""
        body = self._bodies.get(stream)
        if body is None or self.closed:
            return  # as above
        is_held = not body.is_begun and len(self._bodies) > self._peer_streams
        data = None if is_held else self._bodies.lend(body, self._library_window)
        if data is None:
            self._bodies.end(body, trailers)
            return
        self._library_heard = True
        try:
            if data:
                self._connection.send_data(stream, data)
            self._end_body(stream, trailers)
        except ngh2.StreamProtocolError:
            return  # as above

    def _end_body(self, stream: int, trailers: Fields) -> None:
        if trailers:
            self._connection.send_trailers(stream, trailers)
        else:
            self._connection.end_stream(stream)

    def end_early(self, stream: int) -> None:
        """End the answer to a request whose rest is not wanted: say so behind the answer."""
        self._answered_early.add(stream)

    def reset(self, stream: int, code: int) -> None:
        """End a stream before its time."""
        if self.closed:
            return
        self._answered_early.discard(stream)
        self._resets_known.add(stream)
        self._bodies.reset(stream)
        self._library_heard = True
        try:
            self._connection.reset_stream(stream, code)
        except ngh2.StreamUnavailableError:
            return  # it has ended already, which is what was wanted

    def acknowledge(self, stream: int, count: int) -> None:
        """Allow the peer to send as many bytes as went on."""
        if not self.closed and not self._bodies.acknowledge(stream, count):
            self._library_heard = True
            self._connection.acknowledge_received_data(count, stream)

    def shutdown_notice(self) -> None:
        """Say that the connection will close; streams under way to us are still taken (RFC 9113 section 6.8)."""
        if not self.closed:
            self._library_heard = True
            self._connection.send_shutdown_notice()

    def go_away(self, code: int, complaint: str = "") -> None:
        """Take no more streams. With an error code the connection ends at once."""
        if self.closed:
            return
        self._complaint = complaint
        self._library_heard = True
        if code == NO_ERROR:
            self._connection.send_goaway(code)
        else:
            self._connection.terminate_connection(code)
            self._end()

    # Bytes out.

    def output(self) -> bytes:
        """Return the bytes to send now, about `MAX_OUTPUT_BYTES` of them if there are more.

        Sets `closed` when they are the last. `deferred_events` has what sending them caused.
        """
        if self._final_frame:
            data, self._final_frame = self._final_frame, b""
            return data
        out: list[bytes] = []
        try:
            if self._library_heard:
                self._write_library(out)
            if not (self._library_heard or self.closed):
                if self._opened:
                    self._begin()
                if self._bodies.wants_write():
                    self._bodies.write(out, MAX_OUTPUT_BYTES - sum(map(len, out)))
                if self._bodies.ending:
                    self._write_ends(out)
                if self._answered_early and not self.closed:
                    self._cut_early(out)
        except ngh2.ConnectionStateError:
            self._end()  # the last bytes have been taken already
        return out[0] if len(out) == 1 else b"".join(out)

    def _write_library(self, out: list[bytes]) -> None:
        """Write what libnghttp2 has, up to `MAX_OUTPUT_BYTES`; `_library_heard` stays set when it may have more."""
        connection = self._connection
        while self._library_heard:
            self._library_heard = False
            data = connection.data_to_send(MAX_OUTPUT_BYTES)
            if data:
                out.append(data)
            events = connection.events()
            if events:
                self._take(events, self._deferred)
            if self.closed:
                out.append(connection.data_to_send())  # one reset too many
                return
            if len(data) >= MAX_OUTPUT_BYTES:
                self._library_heard = True
                return
        self._resets_known.clear()  # those that could still close have been sent
        if self._bodies.lent:
            left = connection.remote_window_size
            self._bodies.repay(self._library_window - left, connection.queued_body_size())
            if left < MAX_FRAME_BYTES:
                connection.receive_data(window_update(0, INITIAL_WINDOW - left))  # it hears of the peer's no more
                left = INITIAL_WINDOW
            self._library_window = left
        if not (connection.want_read or connection.want_write):
            self._end()

    def _begin(self) -> None:
        """Let the bodies begin of requests whose heads are sent. libnghttp2 holds back what its peer does not allow."""
        held: list[Body] = []
        is_full = len(self._bodies) > self._peer_streams
        for body in self._opened:
            if is_full and not body.is_over and not self._is_sent(body.stream):
                held.append(body)
            else:
                body.is_begun = True
        self._opened = held

    def _is_sent(self, stream: int) -> bool:
        try:
            self._connection.stream_remote_window_size(stream)
        except ngh2.StreamUnavailableError:
            return False
        return True

    def _write_ends(self, out: list[bytes]) -> None:
        """Let libnghttp2 end the streams whose bodies are sent."""
        connection = self._connection
        ending, self._bodies.ending = self._bodies.ending, []
        for body in ending:
            if body.is_over:
                continue
            if self._initial_window == 0:
                # It has not heard how far the windows were opened, and sends an end through an open one only.
                connection.receive_data(window_update(body.stream, 1))
            try:
                self._end_body(body.stream, body.trailers)
            except ngh2.StreamProtocolError:
                continue  # the peer has reset it; its Reset follows
        self._library_heard = True
        while self._library_heard and not self.closed:
            self._write_library(out)

    def _cut_early(self, out: list[bytes]) -> None:
        sent = [stream for stream in self._answered_early if not self.queued(stream)]
        for stream in sent:
            self.reset(stream, NO_ERROR)
        if self._library_heard:
            self._write_library(out)

    def block_bytes(self) -> int:
        """Return the bytes of a field block of which the peer has not sent the end."""
        return self._scanner.block_bytes

    def queued_in_all(self) -> int:
        """Return the bytes of all bodies that wait for the peer's windows."""
        return self._bodies.queued

    def most_queued(self) -> list[tuple[int, int]]:
        """Return how many bytes wait on which stream, the most first."""
        return self._bodies.most_queued()

    def queued(self, stream: int) -> int:
        """Return how many bytes of a stream's body the peer's windows, or the socket, have not taken."""
        body = self._bodies.get(stream)
        return body.queued if body is not None else 0
