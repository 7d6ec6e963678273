"""Lines of the access log: the fields of Service Connect's, and what the proxy knows beside them.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-envoy-access-logs.html

Rules:
- One line for each request and each TCP connection, written when it is over.
- A failure is a status of 500 or more, a response flag, or a gRPC status that speaks against the service. Failures are
  always written; of the others the share that `TRAMO_ACCESS_LOG_SAMPLE` says.
- Query strings and headers are left out: they carry what must not be logged. Headers that the configuration names are
  written, and no line has the field `headers` unless it names some.
- The text below a field is its documentation: `make docs` copies it.
- What clients sent is cut at `MAX_TEXT` and cannot break a line: JSON escapes it, in text it stands in JSON's quotes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from sidecar.core.http.messages import Fields

MAX_TEXT: Final = 2048


class HttpLine(msgspec.Struct):
    """One request. Durations are milliseconds, bytes are those of bodies; null is what is not known."""

    start_time: str
    """when the request's head was read, or the connection accepted, UTC"""
    direction: str
    """`inbound` (to this task's app) or `outbound` (to another service)"""
    method: str
    """method of the request"""
    path: str
    """path of the request, without its query string"""
    protocol: str
    """`HTTP/1.0`, `HTTP/1.1`, `HTTP/2` or `TCP`, as the client speaks it"""
    response_code: int
    """status that the client got; 0 if it got none"""
    response_flags: str
    """why the proxy failed or cut the request, `-` if it did not"""
    bytes_received: int
    """bytes of the request's body; of TCP all that the client sent"""
    bytes_sent: int
    """bytes of the answer's body; of TCP all that the client got"""
    duration: float
    """milliseconds from the head to the end of the answer, or the life of the connection"""
    upstream_service_time: float | None
    """milliseconds from the sending of the last attempt to the head of its answer"""
    forwarded_for: str | None
    """the field X-Forwarded-For"""
    user_agent: str | None
    """the field User-Agent"""
    request_id: str | None
    """the field X-Request-Id"""
    authority: str
    """the field Host or :authority"""
    upstream_host: str | None
    """address and port of the endpoint of the last attempt"""
    upstream_cluster: str
    """name of the service"""
    upstream_endpoint: str | None
    """id of that endpoint"""
    retries: int
    """attempts beyond the first"""
    downstream_address: str
    """address that connected"""
    trace_id: str | None
    """X-Ray's trace id, or that of W3C's traceparent"""
    stream_id: int | None = None
    """stream of the HTTP/2 connection"""
    grpc_status: int | None = None
    """status of a gRPC answer"""
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """those of the request that `TRAMO_ACCESS_LOG_HEADERS` names and that it has, by name in small letters"""


class TcpLine(msgspec.Struct):
    """One TCP connection. Fields without a text mean what they mean in HttpLine."""

    start_time: str
    direction: str
    protocol: str
    downstream_address: str
    downstream_port: int
    """port that it connected from"""
    bytes_received: int
    bytes_sent: int
    duration: float
    upstream_host: str | None
    upstream_cluster: str
    upstream_endpoint: str | None
    response_flags: str
    connection_termination_details: str
    """how the connection ended"""
    connection_id: int
    """number of the connection since the sidecar's start"""


def as_json(line: HttpLine | TcpLine) -> bytes:
    """Return the line as one JSON object."""
    return msgspec.json.encode(line) + b"\n"


def as_text(line: HttpLine | TcpLine) -> bytes:
    """Return the values in the order of the fields, separated by blanks; strings that others sent are in quotes."""
    values = []
    for name in line.__struct_fields__:
        value = getattr(line, name)
        if value is msgspec.UNSET:
            continue
        if value is None or value == "":
            values.append(b"-")
        elif isinstance(value, dict) or (isinstance(value, str) and name not in _PLAIN):
            values.append(msgspec.json.encode(value))
        else:
            values.append(str(value).encode())
    return b" ".join(values) + b"\n"


_PLAIN: Final = frozenset(
    ("start_time", "direction", "protocol", "response_flags", "downstream_address", "upstream_host")
)


def text_of(value: bytes | None) -> str | None:
    """Return a field's value as text that can be logged."""
    if value is None:
        return None
    return value[:MAX_TEXT].decode("utf-8", "backslashreplace")


def chosen(fields: Fields, names: frozenset[bytes]) -> dict[str, str]:
    """Return the fields with these names, in small letters as all names in `fields`; repeated ones are joined."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name in names:
            key, text = name.decode("latin-1"), value[:MAX_TEXT].decode("utf-8", "backslashreplace")
            found[key] = f"{found[key]}, {text}"[:MAX_TEXT] if key in found else text
    return found


class Timestamps:
    """Times as ISO 8601 with milliseconds. What is the same for a whole second is made once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, wall: float) -> str:
        """Return a time in seconds since 1970."""
        microseconds = int(wall * 1e6 + 0.5)
        second = microseconds // 1_000_000
        if second != self._second:
            self._second = second
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._text}{microseconds % 1_000_000 // 1000:03d}Z"


def milliseconds(seconds: float) -> float:
    """Seconds as milliseconds, to a microsecond."""
    return round(seconds * 1000.0, 3)
