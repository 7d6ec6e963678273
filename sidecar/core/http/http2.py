"""HTTP/2 (RFC 9113): bytes to events of streams, and heads and data to bytes.

Rules:
- This module turns the events of libnghttp2 into ours, and adds what a proxy must refuse; its base, `http2_wire`, sees
  to the bytes. No others know ngh2.
- A head whose `content_length` is 0 ends its stream: no body and no trailers follow (a gRPC trailers-only answer).
- Past any of the limits in `http2_limits` the connection is closed with ENHANCE_YOUR_CALM.
- A head that is malformed or too large costs its stream, not the connection: others share that.
"""

from __future__ import annotations

import struct
from typing import Final

import ngh2
from ngh2 import (
    ConnectionClosed,
    DataReceived,
    GoAwayReceived,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)

from sidecar.core.errors import FLAG_FIELD, ProtocolError, client_error
from sidecar.core.flags import DPE
from sidecar.core.http import grpc
from sidecar.core.http.http2_bodies import Way
from sidecar.core.http.http2_events import (
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    GoAway,
    Refused,
    Reset,
    StreamEvent,
)
from sidecar.core.http.http2_heads import read_request, read_response, read_trailers
from sidecar.core.http.http2_limits import (
    MAX_CUT_STREAMS,
    MAX_OWN_STREAMS,
    MAX_SMALL_HEAD_BYTES,
    OVERSIZE_WEIGHT,
)
from sidecar.core.http.http2_wire import Http2Wire, State
from sidecar.core.http.messages import END, UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Http2Codec(Http2Wire):
    """One side of an HTTP/2 connection."""

    __slots__ = ("_last_stream", "_reset_in_this_read", "_trusted_peer")

    def __init__(self, is_server: bool, max_cut_streams: int = MAX_CUT_STREAMS, trusted_peer: bool = True) -> None:
        Http2Wire.__init__(self, is_server, max_cut_streams)
        self._trusted_peer = trusted_peer  # it may set the fields that only a proxy sets
        self._last_stream = 0
        self._reset_in_this_read: set[int] = set()  # streams reset by the peer in the bytes being read

    # Bytes in.

    def feed(self, data: bytes) -> list[tuple[int, StreamEvent]]:
        """Take bytes of the peer; return events with their stream. A broken connection sets `closed`.

        What one call would have too much work with waits for the next one: see `has_unread`.
        """
        if self.closed:
            return []
        self._cost.read()
        found = self.deferred_events() if self._deferred else []
        data = self._scanner.join(data)
        try:
            self._read(data, self._scanner.scan(data), found)
        except ngh2.NGH2Error as error:
            self._fail(error)
            return []
        if self._cost.is_noisy():
            self.go_away(ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
        return found

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
                self._bodies.close(event.stream_id)
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
                    self._bodies.close(event.stream_id)
                    self._answered_early.discard(event.stream_id)
                    self._reset_in_this_read.add(event.stream_id)
                    found.append((event.stream_id, Reset(event.error_code)))
            elif type(event) is SettingsReceived:
                self._cost.count_noise()
                self.settled = True
                self._take_settings()
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
        body = self._bodies.open(event.stream_id, is_begun=True)
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
        body.way = Way.LIBRARY if event.end_stream else _way(head.content_length, event.headers)
        if event.end_stream:
            found.append((event.stream_id, END))

    def _on_response(
        self, stream: int, headers: tuple[ngh2.Header, ...], ended: bool | None, found: list[tuple[int, StreamEvent]]
    ) -> None:
        """Take a response's head; `ended` is None for an informational one."""
        try:
            head = read_response(headers, ended is not False, self._trusted_peer)
        except ProtocolError:
            self._refuse(stream, found)
            return
        found.append((stream, head))
        body = self._bodies.get(stream)
        if body is not None and body.way is Way.UNKNOWN and ended is not None:
            bodyless = ended or head.status in (204, 304)
            body.way = Way.LIBRARY if bodyless else _way(head.content_length, headers)
        if ended:
            found.append((stream, END))

    def _on_trailers(self, event: ngh2.TrailersReceived, found: list[tuple[int, StreamEvent]]) -> None:
        body = self._bodies.get(event.stream_id)
        if body is not None:
            body.way = Way.LIBRARY
        try:
            found.append((event.stream_id, End(read_trailers(event.headers))))
        except ProtocolError:
            self._refuse(event.stream_id, found)
            if self._is_server:
                self.count_cut()

    def _refuse(self, stream: int, found: list[tuple[int, StreamEvent]]) -> None:
        self.reset(stream, PROTOCOL_ERROR)
        found.append((stream, Reset(PROTOCOL_ERROR, provoked=True)))

    def has_deferred_events(self) -> bool:
        """Return whether `deferred_events` has something to tell."""
        return bool(self._deferred)

    def deferred_events(self) -> list[tuple[int, StreamEvent]]:
        """Events that came about by `output`: streams of which it sent the end."""
        deferred, self._deferred = self._deferred, []
        return deferred

    # Heads out.

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
        self._library_heard = True
        try:
            stream = self._connection.send_request(fields, end_stream=head.content_length == 0)
        except ngh2.NGH2Error as error:
            raise ProtocolError(f"the connection takes no request: {error}") from None
        body = self._bodies.open(stream, is_begun=False)
        if head.method == b"HEAD":
            body.way = Way.LIBRARY  # which sees to it that there is none
        self._opened.append(body)
        return stream

    def send_response(self, stream: int, head: ResponseHead) -> None:
        """Begin the answer of a stream, or send an informational one."""
        if self.closed:
            return
        fields: Fields = [(b":status", b"%d" % head.status), *head.fields]
        self._library_heard = True
        try:
            if head.status < 200:
                self._connection.send_informational_response(stream, fields)
                return
            if head.content_length > 0:
                fields.append((b"content-length", b"%d" % head.content_length))
            self._connection.send_response(stream, fields, end_stream=head.content_length == 0)
        except ngh2.NGH2Error:
            self.reset(stream, INTERNAL_ERROR)

    # Questions.

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


def _way(length: int, headers: tuple[ngh2.Header, ...]) -> Way:
    """Return who reads a body. With a content-length, which may be 0 though frames follow, libnghttp2 does."""
    if length == UNKNOWN_LENGTH:
        for name, _ in headers:
            if name == b"content-length":
                return Way.LIBRARY
        return Way.OURS
    return Way.LIBRARY
