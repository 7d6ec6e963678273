"""Traces as AWS X-Ray knows them: the header that carries them, which requests are sampled, and spans.

https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader

Rules:
- A header that is there is continued: its trace, its parent, and its decision where it made one.
- Without a decision, `Sampler` decides: the first `RESERVOIR` requests of each second, and a share of the others.
- The header that goes on names this span as parent if it is sampled. Keys that are not known are passed on, but
  `Self`, which a load balancer wrote for itself.
- A span knows nothing of where it will be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.core.http.messages import Fields

HEADER: Final = b"x-amzn-trace-id"
RESERVOIR: Final = 1
"""Requests of each second that are sampled in any case, X-Ray's own default."""
MAX_HEADER_BYTES: Final = 1024

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

    trace_id: str
    id: str
    parent_id: str  # empty: this span is the root
    name: str  # the service that is called
    inbound: bool
    start: float
    end: float = 0.0
    method: str = ""
    url: str = ""
    client: str = ""
    user_agent: str = ""
    status: int = 0  # 0: there was no answer
    bytes_sent: int = 0
    retries: int = 0
    flags: str = ""
    upstream: str = ""


def begin(
    fields: Fields, sampler: Sampler, name: str, inbound: bool, now: float, wall: float, random: Random
) -> Span | None:
    """Return the span of a request with these fields if it is sampled; make or update the header in `fields`.

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
    return span


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


def trace_id(fields: dict[bytes, bytes]) -> str:
    """Return the id of the trace that a request belongs to, X-Ray's or W3C's, empty if there is none."""
    value = fields.get(HEADER)
    if value is not None:
        return parse(value).get("Root", "")
    parts = fields.get(b"traceparent", b"").decode("latin-1").split("-")
    return parts[1] if len(parts) >= 4 and _is_hex(parts[1], 32) else ""
