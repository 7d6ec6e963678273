"""The cases of the client matrix, and what an answer looks like to a client, whatever language it is written in.

A case is one request, sent so many times one after the other or at once, and what must come back. Drivers get cases
as JSON and give answers as JSON; Java's get a line of tab-separated values for each and give lines (`as_line`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

PATTERN: Final = bytes(range(251))
MIB: Final = 1 << 20


def pattern(size: int) -> bytes:
    """A body that was made up: it counts up from 0 to 250 and begins again."""
    return (PATTERN * (size // 251 + 1))[:size]


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and what must come of it."""

    name: str
    method: str = "GET"
    path: str = "/"
    body: int | None = None  # bytes of pattern
    chunked: bool = False  # the body is sent in pieces, its length is not told
    expect: bool = False  # Expect: 100-continue
    gzip: bool = False  # compressed answers are asked for
    trailers: bool = False  # the trailer field x-check is sent
    release: str = ""  # what is to be called once the answer's first bytes are there
    times: int = 1
    at_once: bool = False
    service: str = "web"
    # What must come.
    status: int = 200
    answer: bytes | None = None  # None: whatever it is
    fields: Mapping[str, str | None] = field(default_factory=dict)  # None: must not be there
    broken: bool = False  # no whole answer

    def spec(self) -> dict[str, Any]:
        """What a driver is told."""
        told = asdict(self)
        return {name: told[name] for name in SPEC}

    def as_line(self, base: str) -> str:
        """The same as values between tabs."""
        flags = [name for name in ("chunked", "expect", "gzip", "at_once") if getattr(self, name)]
        body = "-" if self.body is None else str(self.body)
        release = base + self.release if self.release else "-"
        return "\t".join((self.name, self.method, base + self.path, body, str(self.times), release, ",".join(flags)))


SPEC: Final = (
    *("name", "method", "path", "body", "chunked", "expect", "gzip", "trailers", "release", "times", "at_once"),
    "service",
)


@dataclass(slots=True)
class Answer:
    """What a client saw."""

    status: int = 0
    version: str = ""
    headers: dict[str, list[str]] = field(default_factory=dict)  # names in lower case
    trailers: dict[str, list[str]] | None = None  # None: the client does not show them
    length: int = 0
    sha256: str = ""
    connection: str | None = None  # which one it came by; None: the client does not tell
    continued: bool | None = None  # whether a 100 came; None: the client does not tell
    error: str | None = None

    def take_body(self, body: bytes) -> None:
        """Note the body."""
        self.length = len(body)
        self.sha256 = hashlib.sha256(body).hexdigest()

    def header(self, name: str) -> str | None:
        """A field's values, joined; None when it is not there."""
        values = self.headers.get(name)
        return None if values is None else ", ".join(values)


def answers_in(text: str) -> dict[str, list[Answer]]:
    """What a driver printed as JSON."""
    return {name: [Answer(**answer) for answer in answers] for name, answers in json.loads(text).items()}


def cases() -> list[Case]:
    """All of them."""
    big, middle = 3 * MIB + 7, 300_001
    echoes = {"x-upgrade": "none"}
    return [
        Case("get", path="/bytes/1000", answer=pattern(1000), fields={"content-length": "1000"}),
        Case("get of nothing", path="/bytes/0", answer=b""),
        Case("large download", path=f"/bytes/{big}", answer=pattern(big)),
        Case("download without a length", path=f"/pieces/{middle}", answer=pattern(middle)),
        Case("post", "POST", "/echo", body=10, answer=pattern(10), fields={"x-length": "10", **echoes}),
        Case("post of nothing", "POST", "/echo", body=0, answer=b""),
        Case("large upload", "POST", "/echo", body=big, answer=pattern(big), fields={"x-length": str(big)}),
        Case("upload without a length", "POST", "/echo", body=middle, chunked=True, answer=pattern(middle)),
        *(Case(m.lower(), m, "/echo", body=10, answer=pattern(10), fields={"x-method": m}) for m in ("PUT", "PATCH")),
        Case("delete", "DELETE", "/echo", answer=b"", fields={"x-method": "DELETE"}),
        Case("options", "OPTIONS", "/echo", answer=b"", fields={"x-method": "OPTIONS"}),
        Case("head", "HEAD", "/bytes/1000", answer=b"", fields={"content-length": "1000"}),
        Case("no content", path="/status/204", status=204, answer=b""),
        Case("not modified", path="/status/304", status=304, answer=b"", fields={"etag": '"e"'}),
        Case("path and query", path="/e/%E2%9C%93%2f?q=a%26b&r=", fields={"x-path": "/e/%E2%9C%93%2f?q=a%26b&r="}),
        Case("two cookies", path="/cookies", fields={"set-cookie": "a=1; Path=/, b=2"}),
        Case("compressed", path="/gzip/100000", gzip=True, answer=pattern(100_000)),
        Case("expect", "POST", "/echo", body=1000, expect=True, answer=pattern(1000)),
        Case("trailers", "POST", "/trailers", body=1000, chunked=True, trailers=True, answer=b"body"),
        Case("streamed answer", path="/hold/it", release="/release/it", answer=b"first second"),
        Case("kept alive", path="/bytes/10", times=5, answer=pattern(10)),
        Case("at once", path="/together/8", times=8, at_once=True, answer=b"together"),
        Case("the service's 500", "POST", "/status/500", status=500, answer=b"says the service"),
        Case("the service's 503", "POST", "/status/503", status=503, answer=b"says the service"),
        Case("no endpoint", service="nobody", status=503, fields={"tramo-response-flags": "UH"}),
        Case("no listener", service="refusing", status=503, fields={"tramo-response-flags": "UF"}),
        Case("broken before the answer", "POST", "/cut", status=502, fields={"tramo-response-flags": "UC"}),
        Case("broken within the answer", path="/half", broken=True),
    ]


def as_json(bases: Mapping[str, str], wanted: Iterable[Case]) -> str:
    """What a driver reads."""
    return json.dumps({"bases": dict(bases), "cases": [case.spec() for case in wanted]})
