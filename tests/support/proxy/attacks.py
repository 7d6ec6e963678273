"""Attacks on a sidecar: by clients over HTTP/2 and HTTP/1.1, and by the service that it calls.

Rules:
- An attack sends what it has to, bounded in bytes, and says what came of it: `closed`, `open`, `stalled` when the
  sidecar took no more bytes, or a status. Beside each stands what must come of it.
- Attacks go to the service `target`; its endpoints are `Backend`s, to which `prepare` gives their bad manners.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Final

from tests.support.proxy.sidecar import Address, Backend, Peer, Request
from tests.support.wire import http2
from tests.support.wire.http2 import POST, RawClient, frame, number, plain_block, request, setting, with_fields

PATIENCE_SECONDS: Final = 20.0
"""A connection that takes and says nothing for so long has stalled; a busy machine keeps no process waiting longer."""
SILENCE_SECONDS: Final = 0.5
"""How long those attack who do so by silence, and how long an end is waited for that should not come."""
READ_BYTES: Final = 65_536
MEBIBYTE: Final = 1 << 20

Attack = Callable[[Address], str]

GET: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CANCELLED: Final = number(http2.CANCEL)


def push(client: socket.socket, data: Iterator[bytes], most: int, reads: bool, patience: float) -> str:
    """Send up to so many bytes, reading what comes or not; what came of it."""
    sent, pending = 0, b""
    client.setblocking(False)
    try:
        while sent < most:
            if not pending:
                pending = next(data, b"")
                if not pending:
                    break
            readable, writable, _ = select.select([client] if reads else [], [client], [], patience)
            if readable and not client.recv(READ_BYTES):
                return "closed"
            if writable:
                count = client.send(pending)
                sent += count
                pending = pending[count:]
            elif not readable:
                return "stalled"
    except (BrokenPipeError, ConnectionResetError):
        return "closed"
    return "open"


def outcome(client: socket.socket, found: str, patience: float) -> str:
    """What became of a connection in the end: read what there is, and see whether it is closed."""
    client.settimeout(patience)
    try:
        while client.recv(READ_BYTES):
            """Go on."""
    except TimeoutError:
        return found
    except ConnectionResetError:
        return "closed"
    return "closed"


def repeated(data: bytes, size: int = READ_BYTES) -> Iterator[bytes]:
    """The same frames again and again, many at once."""
    piece = data * max(1, size // len(data))
    while True:
        yield piece


def numbered(*parts: bytes, size: int = READ_BYTES) -> Iterator[bytes]:
    """These frames of stream 1, for one stream after the other."""
    piece = b""
    for stream in range(1, 2**31, 2):
        for part in parts:
            piece += part[:5] + number(stream) + part[9:]
        if len(piece) >= size:
            yield piece
            piece = b""


# Over HTTP/2.


def flood(
    data: Callable[[], Iterator[bytes]], first: bytes = b"", reads: bool = True, most: int = 4 * MEBIBYTE
) -> Attack:
    """An attack over one connection."""

    def attack(address: Address) -> str:
        with RawClient((address.host, address.port)) as client:
            client.send(first)
            found = push(client.socket, data(), most, reads, PATIENCE_SECONDS)
            return outcome(client.socket, found, PATIENCE_SECONDS)

    return attack


def zero_window(address: Address) -> str:
    """Large answers asked for, and no window to send them in."""
    with RawClient((address.host, address.port), settings=setting(4, 0)) as client:
        client.send(*[request(path("/large"), stream) for stream in range(1, 200, 2)])
        time.sleep(SILENCE_SECONDS)  # the sidecar has nothing to say: that is what is waited for
        return "open" if client.is_alive() else "closed"


def path(target: str) -> http2.Headers:
    """A request for this path."""
    return http2.replaced(b":path", target.encode())


def _bomb() -> Iterator[bytes]:
    first = plain_block(POST) + b"\x40\x01a" + http2.text(b"b" * 4_000)
    yield frame(http2.HEADERS, 5, 1, first)
    yield frame(http2.HEADERS, 5, 3, plain_block(POST) + b"\xbe" * 16_000)


def _crumbs() -> Iterator[bytes]:
    for stream in range(1, 20_001, 2):
        yield frame(http2.HEADERS, 5, stream, plain_block(POST) + b"\x40\x06cookie\x03a=b" + b"\xbe" * 900)


OPEN: Final = request(POST, end=False)
HEADLESS: Final = frame(http2.HEADERS, http2.END_STREAM, 1, plain_block(http2.GET))
HTTP2: Final[dict[str, tuple[Attack, str]]] = {
    "rapid reset": (flood(lambda: numbered(request(), frame(http2.RST_STREAM, 0, 1, CANCELLED))), "closed"),
    "rapid reset, one by one": (
        flood(lambda: numbered(request(), frame(http2.RST_STREAM, 0, 1, CANCELLED), size=1), most=MEBIBYTE),
        "closed",
    ),
    "made you reset: window of 0": (
        flood(lambda: numbered(OPEN, frame(http2.WINDOW_UPDATE, 0, 1, number(0)))),
        "closed",
    ),
    "made you reset: window beyond 2^31": (
        flood(lambda: numbered(OPEN, frame(http2.WINDOW_UPDATE, 0, 1, number(2**31 - 1)))),
        "closed",
    ),
    "made you reset: DATA behind the end": (
        flood(lambda: numbered(request(POST), frame(http2.DATA, 0, 1, b"x"))),
        "closed",
    ),
    "made you reset: HEADERS behind the end": (flood(lambda: numbered(request(POST), request(POST))), "closed"),
    "made you reset: PRIORITY on itself": (
        flood(lambda: numbered(OPEN, frame(http2.PRIORITY, 0, 1, number(1) + b"\x01"))),
        "closed",
    ),
    "made you reset: a longer body than told": (
        flood(
            lambda: numbered(
                request(with_fields((b"content-length", b"1"), base=POST), end=False), frame(http2.DATA, 0, 1, b"abc")
            )
        ),
        "closed",
    ),
    "malformed heads": (flood(lambda: numbered(request(with_fields((b"A", b"b"))))), "closed"),
    "heads that are too large": (flood(lambda: numbered(request(with_fields(*[(b"a", b"b")] * 101)))), "closed"),
    "CONTINUATION, tiny": (flood(lambda: repeated(frame(http2.CONTINUATION, 0, 1, b"\x00")), HEADLESS), "closed"),
    "CONTINUATION, 16 KiB": (
        flood(lambda: repeated(frame(http2.CONTINUATION, 0, 1, b"\x00\x01a\x7f\xff\x7e" + bytes(16_000))), HEADLESS),
        "closed",
    ),
    "CONTINUATION, empty": (flood(lambda: repeated(frame(http2.CONTINUATION, 0, 1)), HEADLESS), "closed"),
    "PING": (flood(lambda: repeated(frame(http2.PING, 0, 0, b"12345678"))), "closed"),
    "PING, not reading": (flood(lambda: repeated(frame(http2.PING, 0, 0, b"12345678")), reads=False), "closed"),
    "SETTINGS": (flood(lambda: repeated(frame(http2.SETTINGS, 0, 0, setting(4, 65_535)))), "closed"),
    "SETTINGS, not reading": (
        flood(lambda: repeated(frame(http2.SETTINGS, 0, 0, setting(4, 65_535))), reads=False),
        "closed",
    ),
    "PRIORITY": (flood(lambda: repeated(frame(http2.PRIORITY, 0, 1, number(0) + b"\x01"))), "closed"),
    "WINDOW_UPDATE": (flood(lambda: repeated(frame(http2.WINDOW_UPDATE, 0, 0, number(1)))), "closed"),
    "empty DATA": (flood(lambda: repeated(frame(http2.DATA, 0, 1)), OPEN), "closed"),
    "unknown frames": (flood(lambda: repeated(frame(0x77))), "closed"),
    "RST_STREAM on idle streams": (flood(lambda: numbered(frame(http2.RST_STREAM, 0, 1, CANCELLED))), "closed"),
    "a bomb of HPACK references": (flood(_bomb), "closed"),
    "cookie crumbs": (flood(_crumbs), "closed"),
    "large answers, window of 0": (zero_window, "open"),
}


# Over HTTP/1.1.


def pour(
    data: Callable[[], Iterator[bytes]],
    reads: bool = True,
    most: int = 4 * MEBIBYTE,
    patience: float = PATIENCE_SECONDS,
) -> Attack:
    """An attack over one connection."""

    def attack(address: Address) -> str:
        with address.socket() as client:
            return outcome(client, push(client, data(), most, reads, patience), patience)

    return attack


def many(count: int, data: bytes) -> Attack:
    """Connections that send this and then nothing, neither reading nor closing; whether the sidecar bears them."""

    def attack(address: Address) -> str:
        with ExitStack() as stack:
            clients = [stack.enter_context(address.socket()) for _ in range(count)]
            for client in clients:
                client.sendall(data)
            time.sleep(SILENCE_SECONDS)  # silence is the attack
            found = set()
            for client in clients:
                client.setblocking(False)
                try:
                    found.add("open" if client.recv(1) else "closed")
                except BlockingIOError:
                    found.add("open")
                except ConnectionResetError:
                    found.add("closed")
            return " and ".join(sorted(found))

    return attack


def again(data: bytes, count: int = 200) -> Attack:
    """A connection for each of these, answered or not; the last one's end."""

    def attack(address: Address) -> str:
        found = ""
        for _ in range(count):
            with address.socket() as client:
                with suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(data)
                found = outcome(client, "open", PATIENCE_SECONDS)
        return found

    return attack


def _forever(first: bytes, data: bytes) -> Iterator[bytes]:
    yield first
    yield from repeated(data)


CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
HTTP1: Final[dict[str, tuple[Attack, str]]] = {
    "a head without an end": (pour(lambda: _forever(b"GET / HTTP/1.1\r\n", b"A: " + b"b" * 500 + b"\r\n")), "closed"),
    "a target without an end": (pour(lambda: _forever(b"GET /", b"a" * 1_000)), "closed"),
    "empty lines": (pour(lambda: repeated(b"\r\n")), "closed"),
    "chunk extensions": (pour(lambda: _forever(CHUNKED, b"1;" + b"a" * 1_000 + b"\r\nb\r\n")), "closed"),
    "a chunk extension without an end": (pour(lambda: _forever(CHUNKED + b"1;", b"a" * 1_000)), "closed"),
    "trailers without an end": (pour(lambda: _forever(CHUNKED + b"0\r\n", b"A: " + b"b" * 500 + b"\r\n")), "closed"),
    "pipelined requests, not reading": (
        pour(lambda: repeated(GET), reads=False, most=MEBIBYTE // 8, patience=SILENCE_SECONDS),
        "open or stalled",
    ),
    "nonsense": (again(b"\x00\xff" * 500), "closed"),
    "slow heads": (many(200, GET[:-2]), "open"),
    "slow bodies": (many(100, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"), "open"),
    "slow readers of large answers": (many(100, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"), "open"),
}


# By the service.


def _raw(data: bytes, then: bytes = b"") -> Callable[[Peer, Request], None]:
    """Answer with these bytes, and go on with others for as long as they are taken."""

    def behave(peer: Peer, request: Request) -> None:
        peer.socket.sendall(data)
        for _ in range(8 * MEBIBYTE // len(then) if then else 0):
            peer.socket.sendall(then)
        peer.reset() if then else None

    return behave


def _ask(target: str) -> Attack:
    """Ask for this; the status, or `closed`."""

    def attack(address: Address) -> str:
        with address.socket() as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            client.settimeout(PATIENCE_SECONDS)
            try:
                return client.recv(READ_BYTES).partition(b" ")[2][:3].decode() or "closed"
            except ConnectionResetError:
                return "closed"

    return attack


OK: Final = b"HTTP/1.1 200 OK\r\n"
SERVICE: Final[dict[str, tuple[Attack, str]]] = {
    f"service: {name}": (_ask(f"/{name.replace(' ', '-')}"), expected)
    for name, expected in {
        "a head without an end": "502",
        "fields without number": "502",
        "a split answer": "502",
        "two answers": "200",
        "another answer behind": "200",
        "bad lengths": "502",
        "chunk extensions": "200 or 502",
        "informational answers": "100 or 502",
    }.items()
}
BEHAVIOURS: Final = {
    "/large": lambda peer, request: peer.answer(200, bytes(4 * MEBIBYTE)),
    "/a-head-without-an-end": _raw(OK, b"A: " + b"b" * 1_000 + b"\r\n"),
    "/fields-without-number": _raw(OK + b"A: b\r\n" * 101 + b"\r\n"),
    "/a-split-answer": _raw(OK + b"A: b\rHTTP/1.1 200 OK\r\n\r\n"),
    "/two-answers": _raw((OK + b"Content-Length: 2\r\n\r\nok") * 2),
    "/another-answer-behind": _raw(OK + b"Content-Length: 2\r\n\r\nok" + b"HTTP/1.1 403 Wrong\r\n\r\nwrong"),
    "/bad-lengths": _raw(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    "/chunk-extensions": _raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"a" * 1_000 + b"\r\nb\r\n"),
    "/informational-answers": _raw(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
}

ATTACKS: Final[dict[str, tuple[Attack, str]]] = {
    **{f"HTTP/2: {name}": attack for name, attack in HTTP2.items()},
    **{f"HTTP/1.1: {name}": attack for name, attack in HTTP1.items()},
    **SERVICE,
}


def prepare(backend: Backend) -> None:
    """Teach a backend what the attacks ask it for."""
    backend.behaviours.update(BEHAVIOURS)
