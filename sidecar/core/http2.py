"""HTTP/2 on the wire (RFC 9113): bytes to events of streams, and heads and data to bytes.

Rules:
- libnghttp2, through ngh2, keeps the frames, HPACK, the windows and the stream states; this module turns its
  events into ours and adds what a proxy must refuse. No other module knows ngh2.
- Windows are opened by hand: `acknowledge` says that a body's bytes went on, so a slow receiver slows its sender.
- A head whose `content_length` is 0 ends its stream: no body and no trailers follow (a gRPC trailers-only answer).
- Peers are kept calm by one score per connection (`GLITCHES`, libnghttp2's), a limit on resets either way, and
  bounds on header lists, settings and acknowledgements. Past any of them the connection is closed with
  ENHANCE_YOUR_CALM.
"""

from __future__ import annotations

from typing import Final

import ngh2
from ngh2 import Configuration, Connection, Role, Setting

from sidecar.core.errors import ProtocolError
from sidecar.core.grpc import CONTENT_TYPE
from sidecar.core.http1 import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES, valid_authority
from sidecar.core.messages import END, UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

MAX_STREAMS: Final = 100
"""Concurrent streams that a client may open on one connection; RFC 9113 section 6.5.2 advises no fewer."""
STREAM_WINDOW: Final = 65_535
CONNECTION_WINDOW: Final = 1 << 20
"""64 KiB a stream and 1 MiB a connection: what one connection can make the proxy hold."""
RESETS: Final = (200, 20)
"""Streams that a client may reset: a burst, and so many a second (CVE-2023-44487, rapid reset)."""
PROVOKED_RESETS: Final = 100
"""Streams that a client may make us reset on one connection (MadeYouReset)."""
GLITCHES: Final = (1_000, 100)
MAX_CONTINUATIONS: Final = 8

NO_ERROR: Final = 0x0
INTERNAL_ERROR: Final = 0x2
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
ENHANCE_YOUR_CALM: Final = 0xB

_LIMITS: Final = Configuration(
    auto_window_update=False,
    max_outbound_ack=1_000,
    max_settings=32,
    stream_reset_rate_limit=RESETS,
    max_continuations=MAX_CONTINUATIONS,
    glitch_rate_limit=GLITCHES,
    max_inbound_header_list_size=MAX_HEAD_BYTES + 32 * MAX_FIELDS,
    max_inbound_header_count=MAX_FIELDS + 4,  # the pseudo-header fields
)
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings")
)  # RFC 9113 section 8.2.2; ngh2 refuses them too


class Reset:
    """The peer, or the codec because of the peer, ended a stream before its time."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code

    def __repr__(self) -> str:
        return f"<Reset {self.code}>"


class GoAway:
    """The peer takes no more streams; those above `last_stream` it has not processed."""

    __slots__ = ("code", "last_stream")

    def __init__(self, last_stream: int, code: int) -> None:
        self.last_stream = last_stream
        self.code = code

    def __repr__(self) -> str:
        return f"<GoAway last={self.last_stream} code={self.code}>"


StreamEvent = RequestHead | ResponseHead | bytes | End | Reset | GoAway


class Http2Codec:
    """One side of an HTTP/2 connection."""

    __slots__ = ("_connection", "_is_server", "_provoked", "closed")

    def __init__(self, is_server: bool) -> None:
        self._is_server = is_server
        self._connection = Connection(Role.SERVER if is_server else Role.CLIENT, _LIMITS)
        self._provoked = 0
        self.closed = False  # the connection is over: send what `output` gives, then close
        settings = {
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
            Setting.ENABLE_PUSH: 0,
        }
        if is_server:
            settings = {**settings, Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS, Setting.NO_RFC7540_PRIORITIES: 1}
            del settings[Setting.ENABLE_PUSH]
        self._connection.initiate_connection(settings)
        self._connection.set_local_window_size(CONNECTION_WINDOW)

    # Bytes in.

    def feed(self, data: bytes) -> list[tuple[int, StreamEvent]]:
        """Take bytes of the peer; return events with their stream. A broken connection sets `closed`."""
        connection = self._connection
        try:
            connection.receive_data(data)
        except ngh2.NGH2Error:
            self.closed = True
        found: list[tuple[int, StreamEvent]] = []
        for event in connection.events():
            self._translate(event, found)
        if not connection.want_read:
            self.closed = True
        return found

    def _translate(self, event: ngh2.Event, found: list[tuple[int, StreamEvent]]) -> None:
        if isinstance(event, ngh2.DataReceived):
            if event.data:
                found.append((event.stream_id, event.data))
            if event.end_stream:
                found.append((event.stream_id, END))
        elif isinstance(event, ngh2.RequestReceived):
            self._on_request(event, found)
        elif isinstance(event, ngh2.ResponseReceived):
            found.append((event.stream_id, _response(event.headers, event.end_stream)))
            if event.end_stream:
                found.append((event.stream_id, END))
        elif isinstance(event, ngh2.TrailersReceived):
            found.append((event.stream_id, End(list(event.headers))))
        elif isinstance(event, ngh2.InformationalResponseReceived):
            found.append((event.stream_id, _response(event.headers, True)))
        elif isinstance(event, ngh2.StreamReset):
            found.append((event.stream_id, Reset(event.error_code)))
        elif isinstance(event, ngh2.StreamClosed):
            if event.local_error is not None:
                found.append((event.stream_id, Reset(event.error_code)))
                self._provoke()
        elif isinstance(event, ngh2.GoAwayReceived):
            found.append((0, GoAway(event.last_stream_id, event.error_code)))
        elif isinstance(event, ngh2.ConnectionClosed):
            self.closed = True

    def _on_request(self, event: ngh2.RequestReceived, found: list[tuple[int, StreamEvent]]) -> None:
        try:
            head = _request(event.headers, event.end_stream)
        except ProtocolError:
            # RFC 9113 section 8.1.1: a malformed request is a stream error.
            self._connection.reset_stream(event.stream_id, ngh2.ErrorCode.PROTOCOL_ERROR)
            self._provoke()
            return
        found.append((event.stream_id, head))
        if event.end_stream:
            found.append((event.stream_id, END))

    def _provoke(self) -> None:
        self._provoked += 1
        if self._provoked > PROVOKED_RESETS and self._is_server:
            self.go_away(ENHANCE_YOUR_CALM)

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
        """A piece of a body; it waits inside until the peer's windows take it, see `queued`."""
        try:
            self._connection.send_data(stream, data)
        except ngh2.StreamUnavailableError:
            return  # the peer reset the stream in the bytes just read; its Reset follows

    def send_end(self, stream: int, trailers: Fields) -> None:
        """End the stream's sending side."""
        try:
            if trailers:
                self._connection.send_trailers(stream, trailers)
            else:
                self._connection.end_stream(stream)
        except ngh2.StreamUnavailableError:
            return  # as above

    def reset(self, stream: int, code: int) -> None:
        """End a stream before its time."""
        try:
            self._connection.reset_stream(stream, code)
        except ngh2.StreamUnavailableError:
            return  # it has ended already, which is what was wanted

    def acknowledge(self, stream: int, count: int) -> None:
        """So many bytes of a body went on: the peer may send as many more."""
        self._connection.acknowledge_received_data(count, stream)

    def shutdown_notice(self) -> None:
        """Say that the connection will close; streams under way to us are still taken (RFC 9113 section 6.8)."""
        self._connection.send_shutdown_notice()

    def go_away(self, code: int) -> None:
        """Take no more streams. With an error code the connection ends at once."""
        if code == NO_ERROR:
            self._connection.send_goaway(code)
        else:
            self._connection.terminate_connection(code)
            self.closed = True

    def output(self) -> bytes:
        """The bytes to send now. Sets `closed` when they are the last."""
        data = self._connection.data_to_send()
        if not (self._connection.want_read or self._connection.want_write):
            self.closed = True
        return data

    # Questions.

    def queued(self, stream: int) -> int:
        """Bytes of a stream's body that the peer's windows, or the socket, have not taken."""
        return self._connection.queued_body_size(stream)

    def max_streams(self) -> int:
        """How many streams the peer lets us have open."""
        return self._connection.remote_settings[Setting.MAX_CONCURRENT_STREAMS]

    def takes_requests(self) -> bool:
        """Whether another request can be sent."""
        return not self.closed and self._connection.can_send_request


def _request(headers: tuple[ngh2.Header, ...], ended: bool) -> RequestHead:
    """The head in a header block. Raises ProtocolError for what a proxy may not pass on."""
    method = target = b""
    authority: bytes | None = None
    host: bytes | None = None
    length = 0 if ended else UNKNOWN_LENGTH
    is_grpc = expects = False
    cookies: list[bytes] = []
    fields: Fields = []
    for name, value in headers:
        if name[0] == 58:  # a pseudo-header field
            if name == b":method":
                method = value
            elif name == b":path":
                target = value
            elif name == b":authority":
                authority = value
        elif name == b"host":
            if host is not None:
                raise ProtocolError("more than one host field")
            host = value
        elif name == b"cookie":
            cookies.append(value)
        elif name == b"content-length":
            length = 0 if ended else int(value)  # libnghttp2 checked it, and holds the body to it
        elif name == b"expect":
            expects = True
        elif name in _CONNECTION_FIELDS:
            raise ProtocolError(f"the field {name!r} belongs to one connection")
        else:
            if name == b"content-type" and value.startswith(CONTENT_TYPE):
                is_grpc = True
            fields.append((name, value))
    if cookies:
        fields.append((b"cookie", b"; ".join(cookies)))  # RFC 9113 section 8.2.3
    if authority is None:
        authority = host
    if authority is None or not valid_authority(authority) or (host is not None and host != authority):
        raise ProtocolError("authority and host are missing, malformed or differ")
    if method == b"CONNECT" or len(target) > MAX_TARGET_BYTES:
        raise ProtocolError("CONNECT, or a target that is too long")
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise ProtocolError("the path is not in origin form")
    if b" " in target or b"#" in target:
        raise ProtocolError("the path has a character that no URL has")
    head = RequestHead(method, target, authority, fields, length or (0 if ended else UNKNOWN_LENGTH), b"", expects)
    head.is_grpc = is_grpc
    return head


def _response(headers: tuple[ngh2.Header, ...], ended: bool) -> ResponseHead:
    status = 0
    length = UNKNOWN_LENGTH
    fields: Fields = []
    for name, value in headers:
        if name == b":status":
            status = int(value)
        elif name == b"content-length" and (not ended or value == b"0"):
            length = int(value) or UNKNOWN_LENGTH
        elif name not in _CONNECTION_FIELDS:
            fields.append((name, value))
    return ResponseHead(status, fields, 0 if ended else length)
