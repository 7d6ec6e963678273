"""Traces: the headers that carry them, which requests are sampled, and spans.

https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader and
https://www.w3.org/TR/trace-context/

Rules:
- A header that is there is continued: its trace, its parent, and its decision where it made one.
- Without a decision, `Sampler` decides: the first `RESERVOIR` requests of each second, and a share of the others.
- The header that goes on names this span as parent if it is sampled. Keys that are not known are passed on, but
  `Self`, which a load balancer wrote for itself.
- With `w3c`, `traceparent` is believed first, and both headers go on with one trace, one parent and one decision: an
  app need pass on only one of them. Without, `traceparent` is another tracer's and stays as it is.
- `tracestate` belongs to a `traceparent`: where that is not continued, it goes.
- A span knows nothing of where it will be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.core.http.messages import Fields

HEADER: Final = b"x-amzn-trace-id"
TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
RESERVOIR: Final = 1
"""Requests of each second that are sampled in any case, X-Ray's own default."""
MAX_HEADER_BYTES: Final = 1024
_SAMPLED: Final = 1
"""The bit of `traceparent`'s flags. The others are passed on in a trace that is continued (level 2 has a second)."""

Random = Callable[[int], int]


class Sampler:
    """Decides by time and chance."""

    __slots__ = ("_rate", "_second", "_taken")

    def __init__(self, rate: float) -> None:
        self._rate = int(rate * 65536.0)
        self._second = -1
        self._taken = 0

    def sample(self, now: float, random: Random) -> bool:
        """Return whether to sample a request at this time, in seconds."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._taken = 0
        if self._taken < RESERVOIR:
            self._taken += 1
            return True
        return random(16) < self._rate


@dataclass(slots=True)
class Span:
    """One sampled request on one side of a sidecar. Times are seconds since 1970."""

    trace_id: str  # in X-Ray's form
    id: str
    parent_id: str  # empty: this span is the root
    name: str  # the service that is called
    inbound: bool
    start: float
    end: float = 0.0
    method: str = ""
    authority: str = ""
    path: str = ""  # without the query
    version: str = ""  # of the client's HTTP
    client: str = ""
    user_agent: str = ""
    status: int = 0  # 0: there was no answer
    bytes_sent: int = 0
    retries: int = 0
    flags: str = ""
    upstream: str = ""
    grpc_status: int | None = None
    is_grpc: bool = False


@dataclass(frozen=True, slots=True)
class TraceParent:
    """What a valid `traceparent` says."""

    trace_id: str  # 32 hexadecimal digits
    parent_id: str
    flags: int

    @property
    def is_sampled(self) -> bool:
        """Whether the caller records its span."""
        return bool(self.flags & _SAMPLED)


def begin(
    fields: Fields,
    sampler: Sampler,
    name: str,
    inbound: bool,
    now: float,
    wall: float,
    random: Random,
    w3c: bool = False,
) -> Span | None:
    """Return the span of a request with these fields if it is sampled; make or update the headers in `fields`.

    `now` is a monotonic time for the sampler, `wall` the time of day.
    """
    at = next((at for at, (name_, _) in enumerate(fields) if name_ == HEADER), -1)
    parts = parse(fields[at][1]) if at >= 0 else {}
    root = parts.pop("Root", "")
    if not is_trace_id(root):
        root, parts = new_trace_id(wall, random), {}
    parent = parts.pop("Parent", "")
    parts.pop("Self", None)
    decision = parts.pop("Sampled", "")
    carried = traceparent(fields) if w3c else None
    if carried is not None:
        of_xray, root = root, f"1-{carried.trace_id[:8]}-{carried.trace_id[8:]}"
        if root != of_xray:
            parts = {}  # keys of another trace
        parent, decision = carried.parent_id, "1" if carried.is_sampled else "0"
    sampled = decision == "1" or (decision != "0" and sampler.sample(now, random))
    span = Span(root, f"{random(64):016x}", parent, name, inbound, wall) if sampled else None
    new = {"Root": root}
    if span is not None:
        new["Parent"] = span.id
    elif parent:
        new["Parent"] = parent
    new["Sampled"] = "1" if sampled else "0"
    value = ";".join(f"{key}={content}" for key, content in {**new, **parts}.items()).encode("latin-1")
    if at >= 0:
        fields[at] = (HEADER, value)
    else:
        fields.append((HEADER, value))
    if w3c and (carried is None or span is not None):
        flags = carried.flags if carried is not None else int(sampled)
        parent_id = span.id if span is not None else parent if is_span_id(parent) else f"{random(64):016x}"
        _write(fields, TraceParent(w3c_trace_id(root), parent_id, flags), carried is not None)
    return span


def _write(fields: Fields, carried: TraceParent, continued: bool) -> None:
    """Put this into the one `traceparent` of these fields; `tracestate` stays if the trace was W3C's before."""
    value = f"00-{carried.trace_id}-{carried.parent_id}-{carried.flags:02x}".encode()
    if continued:
        at = next(at for at, (name, _) in enumerate(fields) if name == TRACEPARENT)
        fields[at] = (TRACEPARENT, value)
        return
    fields[:] = [field for field in fields if field[0] != TRACEPARENT and field[0] != TRACESTATE]
    fields.append((TRACEPARENT, value))


def traceparent(fields: Fields) -> TraceParent | None:
    """Return the trace of W3C's header, None unless there is one of them and it is valid."""
    values = [value for name, value in fields if name == TRACEPARENT]
    if len(values) != 1 or len(values[0]) > MAX_HEADER_BYTES:
        return None
    parts = values[0].decode("latin-1").split("-")
    if len(parts) < 4 or (parts[0] == "00" and len(parts) > 4) or parts[0] == "ff":
        return None
    version, trace, parent, flags = parts[:4]
    if not (_is_small_hex(version, 2) and _is_small_hex(trace, 32) and _is_small_hex(flags, 2)):
        return None
    if not is_span_id(parent) or trace == "0" * 32:
        return None
    return TraceParent(trace, parent, int(flags, 16))


def is_span_id(value: str) -> bool:
    """Whether this can be the id of a span in W3C's form."""
    return _is_small_hex(value, 16) and value != "0" * 16


def w3c_trace_id(trace_id: str) -> str:
    """Return an X-Ray trace id as the 32 hexadecimal digits that W3C and OpenTelemetry take."""
    return (trace_id[2:10] + trace_id[11:]).lower()


def parse(value: bytes) -> dict[str, str]:
    """Return the keys of the header; nothing of one that is too long to be one."""
    if len(value) > MAX_HEADER_BYTES:
        return {}
    found = {}
    for part in value.decode("latin-1").split(";"):
        key, equals, content = part.strip().partition("=")
        if key and equals:
            found[key] = content
    return found


def new_trace_id(wall: float, random: Random) -> str:
    """Return a trace id: version, time, and 96 random bits."""
    return f"1-{int(wall):08x}-{random(96):024x}"


def is_trace_id(value: str) -> bool:
    """Return whether this is a trace id of version 1."""
    version, _, rest = value.partition("-")
    time, _, unique = rest.partition("-")
    return version == "1" and _is_hex(time, 8) and _is_hex(unique, 24)


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and all(character in "0123456789abcdefABCDEF" for character in text)


def _is_small_hex(text: str, length: int) -> bool:
    return len(text) == length and all(character in "0123456789abcdef" for character in text)


def trace_id(fields: dict[bytes, bytes]) -> str:
    """Return the id of the trace that a request belongs to, X-Ray's or W3C's, empty if there is none."""
    value = fields.get(HEADER)
    if value is not None:
        return parse(value).get("Root", "")
    parts = fields.get(b"traceparent", b"").decode("latin-1").split("-")
    return parts[1] if len(parts) >= 4 and _is_hex(parts[1], 32) else ""
