"""HTTP/1.1 messages for tests: made by hand, and read back in a form that does not depend on how bytes came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sidecar.core.errors import ProtocolError
from sidecar.core.http.http1_reader import Event
from sidecar.core.http.http1_requests import RequestReader
from sidecar.core.http.http1_responses import ResponseReader
from sidecar.core.http.messages import End, Fields, RequestHead


@dataclass
class Summary:
    """A message: what its events say when the pieces of its body are joined."""

    first_line: bytes
    fields: Fields
    content_length: int
    upgrade: bytes
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    ended: bool = False


def summary(events: Iterable[Event]) -> list[Summary]:
    """The messages that these events make up."""
    found: list[Summary] = []
    for event in events:
        if isinstance(event, bytes):
            found[-1].body += event
        elif isinstance(event, End):
            found[-1].trailers = event.trailers
            found[-1].ended = True
        elif isinstance(event, RequestHead):
            line = event.method + b" " + event.target
            found.append(Summary(line, event.fields, event.content_length, event.upgrade))
        else:
            line = b"%d %b" % (event.status, event.reason)
            found.append(Summary(line, event.fields, event.content_length, event.upgrade))
    return found


def feed(reader: RequestReader | ResponseReader, parts: Iterable[bytes]) -> list[Event]:
    """The events of all these reads."""
    events: list[Event] = []
    for part in parts:
        if part:
            events += reader.feed(part)
    return events


def refusal(reader: RequestReader | ResponseReader, parts: Iterable[bytes]) -> ProtocolError | None:
    """The error that ends these reads, None when all are taken."""
    try:
        feed(reader, parts)
    except ProtocolError as error:
        return error
    return None


def pieces(data: bytes, size: int) -> list[bytes]:
    """The data in reads of this many bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    """A head with these field lines."""
    return b"\r\n".join([line, *fields, b"", b""])
