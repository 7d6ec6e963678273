"""HTTP/2 on the wire (RFC 9113): bytes to events of streams, and heads and data to bytes.

Rules:
- libnghttp2, through ngh2, keeps the frames, HPACK, the windows and the stream states; this module turns its
  events into ours and adds what a proxy must refuse. No other module knows ngh2.
- Windows are opened by hand: `acknowledge` says that a body's bytes went on, so a slow receiver slows its sender.
- A head whose `content_length` is 0 ends its stream: no body and no trailers follow (a gRPC trailers-only answer).
- Past any of the limits in `http2_limits` the connection is closed with ENHANCE_YOUR_CALM.
- A head that is malformed or too large costs its stream, not the connection: others share that.
- What of a client's frames libnghttp2 passes over is found by `http2_frames`. It costs the connection; a window that
  would be too large costs its stream.
- Once `closed`, everything but `output` does nothing: what is left of the streams ends with the connection.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from enum import Enum
from typing import Final

import ngh2
from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    DataReceived,
    GoAwayReceived,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    Role,
    Setting,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)

from sidecar.core.errors import FLAG_FIELD, ProtocolError, client_error
from sidecar.core.flags import DPE
from sidecar.core.http import grpc
from sidecar.core.http.fields import MAX_HEAD_BYTES
from sidecar.core.http.http2_events import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    GoAway,
    Refused,
    Reset,
    StreamEvent,
)
from sidecar.core.http.http2_frames import Fault, FrameScanner, Offence
from sidecar.core.http.http2_heads import read_request, read_response, read_trailers
from sidecar.core.http.http2_limits import (
    CONNECTION_WINDOW,
    ENDPOINT_GLITCHES,
    GLITCHES,
    MAX_BLOCK_BYTES,
    MAX_BLOCK_FIELDS,
    MAX_CONTINUATIONS,
    MAX_CUT_STREAMS,
    MAX_OUTPUT_BYTES,
    MAX_OWN_STREAMS,
    MAX_SMALL_HEAD_BYTES,
    MAX_STREAMS,
    MAX_WINDOW,
    OVERSIZE_WEIGHT,
    RESETS,
    STREAM_WINDOW,
    PeerCost,
)
from sidecar.core.http.messages import END, End, Fields, RequestHead, ResponseHead

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

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


class Http2Codec:
    """One side of an HTTP/2 connection."""

    __slots__ = (
        "_answered_early",
        "_complaint",
        "_connection",
        "_cost",
        "_deferred",
        "_final_frame",
        "_is_server",
        "_last_stream",
        "_max_streams",
        "_reset_in_this_read",
        "_resets_known",
        "_scanner",
        "_state",
        "_trusted_peer",
        "_unsent",
        "settled",
    )

    def __init__(self, is_server: bool, max_cut_streams: int = MAX_CUT_STREAMS, trusted_peer: bool = True) -> None:
        self._is_server = is_server
        self._trusted_peer = trusted_peer  # it may set the fields that only a proxy sets
        role, limits = (Role.SERVER, _SERVER_LIMITS) if is_server else (Role.CLIENT, _CLIENT_LIMITS)
        self._connection = Connection(role, limits)
        self._state = State.OPEN
        self._complaint = ""  # why this side ended the connection, when the peer is to blame
        self.settled = False  # the peer's SETTINGS have come
        self._max_streams = 1
        self._deferred: list[tuple[int, StreamEvent]] = []
        self._scanner = FrameScanner() if is_server else None
        self._unsent = b""  # what libnghttp2 had to say at once
        self._final_frame = b""
        self._last_stream = 0
        self._answered_early: set[int] = set()  # streams answered before the request was whole
        self._resets_known: set[int] = set()  # streams whose end by RST_STREAM is known to both sides
        self._reset_in_this_read: set[int] = set()  # streams reset by the peer in the bytes being read
        self._cost = PeerCost(max_cut_streams)
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

    def _end(self) -> None:
        if self._state is State.OPEN:
            self._state = State.ENDED

    # Bytes in.

    def feed(self, data: bytes) -> list[tuple[int, StreamEvent]]:
        """Take bytes of the peer; return events with their stream. A broken connection sets `closed`."""
        if self.closed:
            return []
        connection = self._connection
        self._cost.read()
        found = self.deferred_events() if self._deferred else []
        offences = self._scanner.scan(data) if self._scanner is not None else None
        try:
            if offences:
                data = self._judge(offences, data, found)
                if not data:
                    return found
            connection.receive_data(data)
            self._take(connection.events(), found)
            if not connection.want_read:
                self._end()
        except ngh2.NGH2Error as error:
            self._fail(error)
            return []
        if self._cost.is_noisy():
            self.go_away(ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
        return found

    def _judge(self, offences: list[Offence], data: bytes, found: list[tuple[int, StreamEvent]]) -> bytes:
        """Answer what libnghttp2 would not. Return what is left to read: nothing, when the connection is over."""
        start = 0
        for offence in offences:
            self._connection.receive_data(data[start : offence.at])
            self._take(self._connection.events(), found)
            start = offence.at
            if offence.fault is Fault.INCREMENT:
                self._open_window(offence, found)
            else:
                code = STREAM_CLOSED if offence.fault is Fault.ENDED else PROTOCOL_ERROR
                self.go_away(code, offence.fault.value)
            if self.closed:
                return b""
        return data[start:]

    def _open_window(self, offence: Offence, found: list[tuple[int, StreamEvent]]) -> None:
        """Reset a stream whose window would be too large; libnghttp2 would end the connection."""
        try:
            window = self._connection.stream_remote_window_size(offence.stream)
        except ngh2.StreamUnavailableError:
            return
        if window + offence.increment > MAX_WINDOW:
            self.reset(offence.stream, FLOW_CONTROL_ERROR)
            found.append((offence.stream, Reset(FLOW_CONTROL_ERROR, provoked=True)))
            self.count_cut()
            # Once this is said the stream is closed, and libnghttp2 passes over what opens its window.
            self._unsent += self._connection.data_to_send(MAX_OUTPUT_BYTES)

    def _take(self, events: list[ngh2.Event], found: list[tuple[int, StreamEvent]]) -> None:
        for event in events:
            # ngh2's events have no subclasses; the frequent ones come first.
            if type(event) is DataReceived:
                if event.data:
                    found.append((event.stream_id, event.data))
                elif not event.end_stream:
                    self._cost.count_noise()
                if event.end_stream:
                    found.append((event.stream_id, END))
            elif type(event) is RequestReceived:
                self._on_request(event, found)
            elif type(event) is ResponseReceived:
                self._on_response(event.stream_id, event.headers, event.end_stream, found)
            elif type(event) is StreamClosed:
                self._cost.close(event.stream_id)
                if event.error_code and event.stream_id not in self._resets_known:
                    self._answered_early.discard(event.stream_id)
                    found.append(
                        (event.stream_id, Reset(event.error_code, provoked=event.error_code != REFUSED_STREAM))
                    )
                    if self._is_server:
                        self.count_cut()
            elif type(event) is TrailersReceived:
                self._on_trailers(event, found)
            elif type(event) is InformationalResponseReceived:
                self._on_response(event.stream_id, event.headers, None, found)
            elif type(event) is StreamReset:
                if event.stream_id not in self._resets_known:
                    self._resets_known.add(event.stream_id)
                    self._answered_early.discard(event.stream_id)
                    self._reset_in_this_read.add(event.stream_id)
                    found.append((event.stream_id, Reset(event.error_code)))
            elif type(event) is SettingsReceived:
                self._cost.count_noise()
                self.settled = True
                self._max_streams = min(
                    self._connection.remote_settings[Setting.MAX_CONCURRENT_STREAMS], MAX_OWN_STREAMS
                )
            elif type(event) is GoAwayReceived:
                found.append((0, GoAway(event.last_stream_id, event.error_code)))
            elif type(event) is ConnectionClosed:
                self._end()
                if event.error_code != NO_ERROR:
                    self._state = State.BROKEN
                    self._complaint = self._complaint or f"error {event.error_code} of HTTP/2"
            else:
                self._cost.count_noise()
        if self._reset_in_this_read:
            # What was asked for and taken back in one read is not worth beginning.
            begun = {stream for stream, event in found if isinstance(event, RequestHead)} & self._reset_in_this_read
            self._reset_in_this_read.clear()
            if begun:
                self._leave_out(begun, found)

    def _leave_out(self, streams: set[int], found: list[tuple[int, StreamEvent]]) -> None:
        for stream, event in found:
            if stream in streams and isinstance(event, bytes):
                self.acknowledge(stream, len(event))
        found[:] = [item for item in found if item[0] not in streams]
        for _ in streams:
            self.count_cut()

    def _fail(self, error: ngh2.NGH2Error) -> None:
        """libnghttp2 gave the connection up and says no more: say it for it."""
        self._state = State.BROKEN
        self._complaint = self._complaint or str(error)
        calm = isinstance(error, ngh2.DenialOfServiceError)
        code = ENHANCE_YOUR_CALM if calm else PROTOCOL_ERROR
        self._final_frame = struct.pack(">IBIII", 0x807, 0, 0, self._last_stream, code)

    def _on_request(self, event: ngh2.RequestReceived, found: list[tuple[int, StreamEvent]]) -> None:
        self._last_stream = event.stream_id
        self._cost.open(event.stream_id)
        if not self._cost.takes_large_heads() and not _is_small(event.headers):
            self.reset(event.stream_id, REFUSED_STREAM)
            found.append((event.stream_id, Refused(0, "many requests with large heads are open")))
            self.count_cut()
            return
        try:
            head = read_request(event.headers, event.end_stream)
        except ProtocolError as error:
            self.count_cut(OVERSIZE_WEIGHT if error.status == 431 else 1)
            if self.closed:
                return
            if error.status == 400:
                # RFC 9113 section 8.1.1: a malformed request is a stream error.
                self.reset(event.stream_id, PROTOCOL_ERROR)
                found.append((event.stream_id, Refused(0, error.reason)))
            else:
                found.append((event.stream_id, Refused(error.status, error.reason)))
                self.send_response(event.stream_id, _refusal(event.headers, error))
                if not event.end_stream:
                    self.end_early(event.stream_id)
            return
        found.append((event.stream_id, head))
        if event.end_stream:
            found.append((event.stream_id, END))

    def _on_response(
        self, stream: int, headers: tuple[ngh2.Header, ...], ended: bool | None, found: list[tuple[int, StreamEvent]]
    ) -> None:
        """Take a response's head; `ended` is None for an informational one."""
        try:
            found.append((stream, read_response(headers, ended is not False, self._trusted_peer)))
        except ProtocolError:
            self._refuse(stream, found)
            return
        if ended:
            found.append((stream, END))

    def _on_trailers(self, event: ngh2.TrailersReceived, found: list[tuple[int, StreamEvent]]) -> None:
        try:
            found.append((event.stream_id, End(read_trailers(event.headers))))
        except ProtocolError:
            self._refuse(event.stream_id, found)
            if self._is_server:
                self.count_cut()

    def _refuse(self, stream: int, found: list[tuple[int, StreamEvent]]) -> None:
        self.reset(stream, PROTOCOL_ERROR)
        found.append((stream, Reset(PROTOCOL_ERROR, provoked=True)))

    def count_cut(self, weight: int = 1) -> None:
        """Count a stream that a client cut before it was answered, or that it made us cut."""
        if self._cost.cut(weight):
            self.go_away(ENHANCE_YOUR_CALM, "too many streams cut")

    def take_complaint(self) -> str:
        """Return why this side ended the connection, when the peer is to blame: said once."""
        complaint, self._complaint = self._complaint, ""
        return complaint

    def has_deferred_events(self) -> bool:
        """Return whether `deferred_events` has something to tell."""
        return bool(self._deferred)

    def deferred_events(self) -> list[tuple[int, StreamEvent]]:
        """Events that came about by `output`: streams of which it sent the end."""
        deferred, self._deferred = self._deferred, []
        return deferred

    # Heads and data out.

    def send_request(self, head: RequestHead) -> int:
        """Begin a request; return its stream. Raises ProtocolError when the connection takes no more."""
        fields: Fields = [
            (b":method", head.method),
            (b":scheme", b"http"),
            (b":authority", head.authority),
            (b":path", head.target),
            *head.fields,
        ]
        if head.content_length > 0:
            fields.append((b"content-length", b"%d" % head.content_length))
        if head.expect_continue:
            fields.append((b"expect", b"100-continue"))
        try:
            return self._connection.send_request(fields, end_stream=head.content_length == 0)
        except ngh2.NGH2Error as error:
            raise ProtocolError(f"the connection takes no request: {error}") from None

    def send_response(self, stream: int, head: ResponseHead) -> None:
        """Begin the answer of a stream, or send an informational one."""
        if self.closed:
            return
        fields: Fields = [(b":status", b"%d" % head.status), *head.fields]
        try:
            if head.status < 200:
                self._connection.send_informational_response(stream, fields)
                return
            if head.content_length > 0:
                fields.append((b"content-length", b"%d" % head.content_length))
            self._connection.send_response(stream, fields, end_stream=head.content_length == 0)
        except ngh2.NGH2Error:
            self.reset(stream, INTERNAL_ERROR)

    def send_data(self, stream: int, data: bytes) -> None:
        """Send a piece of a body; it waits inside until the peer's windows take it, see `queued`."""
        if self.closed:
            return
        try:
            self._connection.send_data(stream, data)
        except ngh2.StreamProtocolError:
            return  # the peer reset the stream in the bytes just read; its Reset follows

    def send_end(self, stream: int, trailers: Fields) -> None:
        """End the stream's sending side."""
        if self.closed:
            return
        try:
            if trailers:
                self._connection.send_trailers(stream, trailers)
            else:
                self._connection.end_stream(stream)
        except ngh2.StreamProtocolError:
            return  # as above

    def end_early(self, stream: int) -> None:
        """End the answer to a request whose rest is not wanted: say so behind the answer."""
        self._answered_early.add(stream)

    def reset(self, stream: int, code: int) -> None:
        """End a stream before its time."""
        if self.closed:
            return
        self._answered_early.discard(stream)
        self._resets_known.add(stream)
        try:
            self._connection.reset_stream(stream, code)
        except ngh2.StreamUnavailableError:
            return  # it has ended already, which is what was wanted

    def acknowledge(self, stream: int, count: int) -> None:
        """Allow the peer to send as many bytes as went on."""
        if not self.closed:
            self._connection.acknowledge_received_data(count, stream)

    def shutdown_notice(self) -> None:
        """Say that the connection will close; streams under way to us are still taken (RFC 9113 section 6.8)."""
        if not self.closed:
            self._connection.send_shutdown_notice()

    def go_away(self, code: int, complaint: str = "") -> None:
        """Take no more streams. With an error code the connection ends at once."""
        if self.closed:
            return
        self._complaint = complaint
        if code == NO_ERROR:
            self._connection.send_goaway(code)
        else:
            self._connection.terminate_connection(code)
            self._end()

    def output(self) -> bytes:
        """Return the bytes to send now, about `MAX_OUTPUT_BYTES` of them if there are more.

        Sets `closed` when they are the last. `deferred_events` has what sending them caused.
        """
        if self._final_frame:
            data = self._unsent + self._final_frame
            self._unsent = self._final_frame = b""
            return data
        connection = self._connection
        unsent, self._unsent = self._unsent, b""
        try:
            data = unsent + connection.data_to_send(MAX_OUTPUT_BYTES)
            if len(data) < MAX_OUTPUT_BYTES and self._answered_early:
                data += self._cut_early()
            events = connection.events()
            if events:
                self._take(events, self._deferred)
            if len(data) < MAX_OUTPUT_BYTES:
                self._resets_known.clear()  # those that could still close have been sent
            if self.closed:
                data += connection.data_to_send()  # one reset too many
            elif not (connection.want_read or connection.want_write):
                self._end()
        except ngh2.ConnectionStateError:
            self._end()  # the last bytes have been taken already
            return unsent
        return data

    def _cut_early(self) -> bytes:
        sent = [stream for stream in self._answered_early if not self._connection.queued_body_size(stream)]
        for stream in sent:
            self.reset(stream, NO_ERROR)
        return self._connection.data_to_send() if sent else b""

    # Questions.

    def queued(self, stream: int) -> int:
        """Return how many bytes of a stream's body the peer's windows, or the socket, have not taken."""
        return self._connection.queued_body_size(stream)

    def max_streams(self) -> int:
        """Return how many streams we may have open at the peer: one until its SETTINGS have come."""
        return self._max_streams

    def assume_settings(self) -> None:
        """Go on without the peer's SETTINGS, which do not come, as RFC 9113 section 6.5.2 advises."""
        if not self.settled:
            self.settled = True
            self._max_streams = MAX_OWN_STREAMS

    def takes_requests(self) -> bool:
        """Return whether another request can be sent."""
        return not self.closed and self._connection.can_send_request


def _is_small(headers: tuple[ngh2.Header, ...]) -> bool:
    size = 0
    for name, value in headers:
        size += len(name) + len(value) + 32
    return size <= MAX_SMALL_HEAD_BYTES


def _refusal(headers: tuple[ngh2.Header, ...], error: ProtocolError) -> ResponseHead:
    """Return what a request is answered that is well formed and yet not taken, as its sender understands it."""
    for name, value in headers:
        if name == b"content-type" and grpc.is_grpc(value):
            return grpc.local_reply(client_error(error))
    return ResponseHead(error.status, [(FLAG_FIELD, DPE.code.encode())])
