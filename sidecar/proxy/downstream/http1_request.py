"""One request of an HTTP/1.1 client, from its head to the last byte of its answer: the client of its exchange.

Rules:
- It is over when the answer is whole and the request is, too: only then comes the next one on its connection.
- It is answered once. What still comes of a request that was answered before it was whole is thrown away.
- `after` says what becomes of the connection once the request is over. It goes one way only: from KEEP to CLOSE or
  LINGER.
- Towards HTTP/1.0 an answer of unknown length ends with the connection, and one that is cut with a reset.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final

from mypy_extensions import trait

from sidecar.core.errors import LocalReply
from sidecar.core.http.http1_writer import encode_chunk, encode_last_chunk, encode_response_head
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.base.sockets import reset
from sidecar.proxy.exchange.exchange import Exchange

MAX_DISCARDED_BODY_BYTES: Final = 1 << 20
"""A body that nobody wants any more is read up to here to keep the connection; beyond, the connection is closed."""


class After(Enum):
    """What becomes of the connection after a request."""

    KEEP = "keep"
    CLOSE = "close"
    LINGER = "linger"  # close, but let a client that is still sending read its answer first


@trait
class Http1Channel:
    """What a request needs of its connection."""

    def write(self, data: bytes) -> None:
        """Send bytes of the answer, or of a tunnel."""
        raise NotImplementedError

    def write_eof(self) -> None:
        """Half-close a tunnel."""
        raise NotImplementedError

    def take_early(self) -> bytes:
        """Return what the client sent behind its request to leave HTTP."""
        raise NotImplementedError

    def update_reading(self) -> None:
        """Read on, or stop reading: the request has changed its mind."""
        raise NotImplementedError

    def on_answered(self, request: Http1Request) -> None:
        """Note that the answer is whole."""
        raise NotImplementedError

    def close(self) -> None:
        """Close once all is written."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut the connection."""
        raise NotImplementedError


class Http1Request:
    """A request and its answer."""

    __slots__ = (
        "_channel",
        "_chunked",
        "_discarded",
        "_runtime",
        "after",
        "answered",
        "complete",
        "exchange",
        "head",
        "paused",
    )

    def __init__(self, channel: Http1Channel, runtime: Runtime, head: RequestHead, after: After) -> None:
        self.head = head
        self.after = after
        self.exchange: Exchange | None = None  # until the answer is whole, where the request went to an endpoint
        self.complete = False  # all of it has come
        self.answered = False
        self.paused = False  # its exchange takes no more of it for now
        self._channel = channel
        self._runtime = runtime
        self._chunked = False  # the answer's body goes in chunks
        self._discarded = 0  # bytes of the body that came behind the answer

    def close_after(self) -> None:
        """Serve no further request on the connection."""
        if self.after is After.KEEP:
            self.after = After.CLOSE

    def discard(self, data: bytes) -> bool:
        """Throw a piece of the body away; the request was answered. Return whether it has become too much."""
        self._discarded += len(data)
        return self._discarded > MAX_DISCARDED_BODY_BYTES

    def reset(self, transport: asyncio.Transport) -> None:
        """Cut the connection so that the answer, if there is one under way, does not look whole."""
        if self.head.is_http_10 and not self.answered:
            reset(transport)
        else:
            transport.abort()

    # The exchange's side.

    def send_head(self, head: ResponseHead) -> None:
        """Begin the answer, or pass an informational one on."""
        is_http_10 = self.head.is_http_10
        if head.status >= 200:
            if self._runtime.draining or self._runtime.shedding:  # an idle connection takes memory, too
                self.close_after()
            self._chunked = head.content_length == UNKNOWN_LENGTH and not is_http_10
        elif is_http_10:
            return  # HTTP/1.0 has no informational answers
        close = self.after is not After.KEEP
        self._channel.write(encode_response_head(head, self.head.method, close, not is_http_10))

    def send_data(self, data: bytes) -> None:
        """Send a piece of the answer's body, or of a tunnel."""
        self._channel.write(encode_chunk(data) if self._chunked else data)

    def send_end(self, trailers: Fields) -> None:
        """End the answer."""
        if self._chunked:
            self._channel.write(encode_last_chunk(trailers))
        self._end()

    def send_local(self, reply: LocalReply) -> None:
        """Answer in the service's place."""
        body = reply.message.encode() + b"\n"
        fields = [(b"content-type", b"text/plain; charset=utf-8"), *reply.fields()]
        self.send_head(ResponseHead(reply.status, fields, len(body)))
        if self.head.method != b"HEAD":
            self._channel.write(body)
        self._end()

    def _end(self) -> None:
        self.exchange = None
        self.answered = True
        self.paused = False
        self._channel.on_answered(self)

    def send_eof(self) -> None:
        """Half-close a tunnel."""
        self._channel.write_eof()

    def take_early(self) -> bytes:
        """Return what the client sent behind its request to leave HTTP; from here on its bytes go to the tunnel."""
        return self._channel.take_early()

    def abort(self) -> None:
        """Cut the connection."""
        self._channel.abort()

    def close(self) -> None:
        """Close the connection once all is written."""
        self._channel.close()

    def pause_request(self) -> None:
        """Read no more of the request for now."""
        self.paused = True
        self._channel.update_reading()

    def resume_request(self) -> None:
        """Read the request again."""
        if self.paused:
            self.paused = False
            self._channel.update_reading()
