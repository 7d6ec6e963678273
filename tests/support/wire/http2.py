"""HTTP/2 for tests: frames by hand, two codecs that talk to each other, and a client that speaks in frames."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hpack import Decoder

from sidecar.core.http.http2 import PREFACE, Http2Codec
from sidecar.core.http.http2_events import Refused, Reset, StreamEvent
from sidecar.core.http.messages import End, RequestHead, ResponseHead

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)

SECONDS: Final = 20.0
"""Longest wait for bytes of the other side."""

Headers = Sequence[tuple[bytes, bytes]]

GET: Final[Headers] = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"svc"), (b":path", b"/"))
POST: Final[Headers] = ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"svc"), (b":path", b"/"))


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came."""

    type: int
    flags: int
    stream: int
    payload: bytes

    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        start = 4 if self.type == GOAWAY else 0
        return int.from_bytes(self.payload[start : start + 4], "big")

    def ends_stream(self) -> bool:
        """Whether END_STREAM is set on it."""
        return self.type in (DATA, HEADERS) and bool(self.flags & END_STREAM)


def frame(type: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame; nothing is checked."""
    return struct.pack(">I", len(payload))[1:] + bytes((type, flags)) + struct.pack(">I", stream) + payload


def number(value: int) -> bytes:
    """Four bytes: an increment or an error code."""
    return struct.pack(">I", value)


def setting(identifier: int, value: int) -> bytes:
    """An entry of a SETTINGS frame."""
    return struct.pack(">HI", identifier, value)


def plain_block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block of literals without index and without Huffman: what no encoder would change."""
    return b"".join(b"\x00" + text(name) + text(value) for name, value in headers)


def text(value: bytes) -> bytes:
    """A string of a header block, without Huffman (RFC 7541 section 5.2)."""
    if len(value) < 127:
        return bytes((len(value),)) + value
    rest, found = len(value) - 127, b"\x7f"
    while rest >= 128:
        found += bytes((rest % 128 + 128,))
        rest //= 128
    return found + bytes((rest,)) + value


def request(headers: Iterable[tuple[bytes, bytes]] = GET, stream: int = 1, end: bool = True) -> bytes:
    """A HEADERS frame with a plain block."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, plain_block(headers))


def with_fields(*fields: tuple[bytes, bytes], base: Headers = GET) -> Headers:
    """A head with these fields behind."""
    return (*base, *fields)


def replaced(name: bytes, value: bytes | None, base: Headers = GET) -> Headers:
    """A head with one of its fields changed, or left out."""
    return tuple(
        (n, value if n == name and value is not None else v) for n, v in base if n != name or value is not None
    )


def parse(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames in these bytes, and what is left."""
    found = []
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        if len(data) < 9 + size:
            break
        stream = int.from_bytes(data[5:9], "big") & 0x7FFFFFFF
        found.append(Frame(data[3], data[4], stream, data[9 : 9 + size]))
        data = data[9 + size :]
    return found, data


# Two codecs.


class Link:
    """A client's and a server's codec, and what each has told so far."""

    def __init__(self) -> None:
        self.client = Http2Codec(is_server=False)
        self.server = Http2Codec(is_server=True)
        self.at_client: list[tuple[int, StreamEvent]] = []
        self.at_server: list[tuple[int, StreamEvent]] = []
        self.run()

    def run(self) -> None:
        """Carry bytes both ways until neither has any."""
        while True:
            up, down = self.client.output(), self.server.output()
            self.at_client += self.client.deferred_events()
            self.at_server += self.server.deferred_events()
            if not up and not down:
                return
            self.at_server += self.server.feed(up)
            self.at_client += self.client.feed(down)

    def take_server(self) -> list[tuple[int, StreamEvent]]:
        """What the server heard since the last call."""
        self.run()
        found, self.at_server = self.at_server, []
        return found

    def take_client(self) -> list[tuple[int, StreamEvent]]:
        """What the client heard since the last call."""
        self.run()
        found, self.at_client = self.at_client, []
        return found


def told(events: Iterable[tuple[int, StreamEvent]]) -> list[object]:
    """Events in a form that can be compared: the pieces of a body joined."""
    found: list[object] = []
    for stream, event in events:
        if isinstance(event, bytes) and found and isinstance(found[-1], tuple) and found[-1][:2] == (stream, "data"):
            found[-1] = (stream, "data", found[-1][2] + event)
        elif isinstance(event, bytes):
            found.append((stream, "data", event))
        elif isinstance(event, RequestHead):
            head = (event.method, event.target, event.authority, tuple(event.fields), event.content_length)
            found.append((stream, "request", *head, event.is_grpc, event.expect_continue))
        elif isinstance(event, ResponseHead):
            found.append((stream, "response", event.status, tuple(event.fields), event.content_length))
        elif isinstance(event, End):
            found.append((stream, "end", tuple(event.trailers)))
        elif isinstance(event, Reset):
            found.append((stream, "reset", event.code, event.provoked))
        elif isinstance(event, Refused):
            found.append((stream, "refused", event.status))
        else:
            found.append((stream, "goaway", event.last_stream, event.code))
    return found


def server_codec(settings: bytes = b"") -> Http2Codec:
    """A server's codec that has shaken hands."""
    codec = Http2Codec(is_server=True)
    codec.feed(PREFACE + frame(SETTINGS, 0, 0, settings))
    codec.output()
    codec.feed(frame(SETTINGS, ACK))
    return codec


def client_codec(settings: bytes = b"") -> Http2Codec:
    """A client's codec that has shaken hands."""
    codec = Http2Codec(is_server=False)
    codec.feed(frame(SETTINGS, 0, 0, settings))
    codec.output()
    codec.feed(frame(SETTINGS, ACK))
    return codec


def read_all(codec: Http2Codec, data: bytes) -> list[tuple[int, StreamEvent]]:
    """The events of bytes that may be too many for one turn."""
    events = codec.feed(data)
    while codec.has_unread() and not codec.closed:
        events += codec.feed(b"")
    return events


def sent(codec: Http2Codec) -> list[Frame]:
    """The frames that a codec wants to send."""
    frames, rest = parse(codec.output())
    assert not rest
    return frames


# A client.


class ClosedError(Exception):
    """The other side closed the connection."""


class RawClient:
    """A connection that sends frames as they are told and reads what comes. Nothing is acknowledged by itself."""

    def __init__(self, address: tuple[str, int], settings: bytes = b"", greet: bool = True) -> None:
        self.socket = socket.create_connection(address, timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder = Decoder()
        self.closed = False
        self.frames: list[Frame] = []
        self._unread: deque[Frame] = deque()
        self._rest = b""
        if greet:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))
            self.wait(lambda f: f.type == SETTINGS and bool(f.flags & ACK), "SETTINGS to be acknowledged")
            self.send(frame(SETTINGS, ACK))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        """Send bytes. The other side may have closed the connection already: reading will say so."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(b"".join(data))

    def read(self) -> Frame | None:
        """The next frame, None at the end of the connection. Raises TimeoutError."""
        while not self._unread:
            try:
                data = self.socket.recv(65_536)
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            if not data:
                self.closed = True
                return None
            found, self._rest = parse(self._rest + data)
            self._unread.extend(found)
        self.frames.append(self._unread.popleft())
        return self.frames[-1]

    def wait(self, wanted: Callable[[Frame], bool], what: str = "a frame") -> Frame:
        """The first frame from now on that is wanted. Raises ClosedError or TimeoutError."""
        while (found := self.read()) is not None:
            if wanted(found):
                return found
        raise ClosedError(f"closed while waiting for {what}; the last that came: {self.frames[-3:]}")

    def headers(self, stream: int) -> dict[bytes, bytes]:
        """The fields of the next head on this stream. Heads must be asked for in their order (HPACK)."""
        found = self.wait(lambda f: f.type == HEADERS and f.stream == stream, f"HEADERS on stream {stream}")
        return dict(self.decoder.decode(found.payload, raw=True))

    def response(self, stream: int) -> tuple[dict[bytes, bytes], bytes]:
        """Head and body of an answer without trailers; the windows must suffice."""
        head, body = self.headers(stream), b""
        while not self.frames[-1].ends_stream():
            body += self.wait(lambda f: f.type == DATA and f.stream == stream, "DATA").payload
        return head, body

    def reset_code(self, stream: int) -> int:
        """The code of the RST_STREAM that comes on this stream."""
        return self.wait(lambda f: f.type == RST_STREAM and f.stream == stream, "RST_STREAM").code()

    def last_words(self) -> int | None:
        """Read up to the end of the connection; the code of its GOAWAY, None if there was none."""
        while self.read() is not None:
            """Go on."""
        goaways = [found for found in self.frames if found.type == GOAWAY]
        return goaways[-1].code() if goaways else None

    def is_alive(self) -> bool:
        """Whether the other side answers PING."""
        self.send(frame(PING, 0, 0, b"alive?!!"))
        try:
            self.wait(lambda f: f.type == PING and f.payload == b"alive?!!", "PING")
        except ClosedError:
            return False
        return True
