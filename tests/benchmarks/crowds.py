"""How much memory the sidecar takes while crowds of clients ask for much and do not go on.

It is in a control group as in its container, with a quarter of a CPU; beyond the limit the kernel would end it. A crowd
stays until the memory grows no more. When it has left, the sidecar must be ready again; if it only stays and asks for
nothing, before. Exit code 0: it lived on
through all of them. `make bench-size` runs this behind `tests/benchmarks/size.py`.
"""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from typing import Final, NamedTuple

from tests.benchmarks.proxies import Field, Proxy, sidecar_kind
from tests.benchmarks.size import named, setting
from tests.support.waiting import until
from tests.support.wire import http2
from tests.support.wire.http1 import request

STREAMS: Final = 1_000
"""As many as a connection may have."""
BODY_FRAMES: Final = 4
BODY: Final = bytes(15_000)
"""Of a frame: the body is less than what is kept for another attempt."""
HEAD: Final = b"GET / HTTP/1.1\r\nHost: bench\r\n" + (b"x: " + b"x" * 7_000 + b"\r\n") * 7
PIPELINE: Final = request(b"Host: bench", line=b"GET / HTTP/1.1") * 4_000
SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
STILL_SECONDS: Final = 2.0
"""Memory that has not grown for so long grows no more."""
STILL_BYTES: Final = 256 << 10
MOST_SECONDS: Final = 60.0
READY_SECONDS: Final = 60.0

Address = tuple[str, int]


def unread(address: Address) -> socket.socket:
    """Ask for large answers on all streams, and take nothing of them."""
    client = http2.RawClient(address, settings=http2.setting(SETTINGS_INITIAL_WINDOW_SIZE, 0))
    client.send(*[http2.request(http2.replaced(b":path", b"/1m"), stream) for stream in range(1, 2 * STREAMS, 2)])
    return client.socket


def bodies(address: Address) -> socket.socket:
    """Send a body on each stream, and not its end."""
    client = http2.RawClient(address)
    for stream in range(1, 2 * STREAMS, 2):
        data = http2.frame(http2.DATA, 0, stream, BODY)
        client.send(http2.request(http2.POST, stream, end=False), *[data] * BODY_FRAMES)
    return client.socket


def sender(data: bytes) -> Callable[[Address], socket.socket]:
    """Send bytes, as many of them as are taken at once."""

    def send(address: Address) -> socket.socket:
        client = socket.create_connection(address, timeout=READY_SECONDS)
        client.setblocking(False)
        if data:
            client.send(data)
        return client

    return send


class Crowd(NamedTuple):
    """So many clients that do the same, and the memory that is to be enough for them."""

    what: str
    protocol: str
    clients: int
    mebibytes: int
    come: Callable[[Address], socket.socket]
    is_answered: bool = True
    """Else the service takes connections and says nothing."""
    is_unused: bool = False
    """The sidecar closes what of it nobody uses, and is ready while the crowd stays."""


CROWDS: Final = (
    Crowd("1,000 streams each, answers of 1 MiB that nobody reads", "http", 2, 128, unread),
    Crowd("1,000 streams each, answers of 1 MiB that nobody reads", "http2", 2, 128, unread),
    Crowd("1,000 streams each, answers of 1 MiB that nobody reads", "http2", 8, 64, unread),
    Crowd("1,000 streams each, bodies of 60 kB without an end", "http", 4, 64, bodies, is_answered=False),
    Crowd("1,000 streams each, bodies of 60 kB without an end", "http2", 4, 64, bodies, is_answered=False),
    Crowd("a head of 50 kB without an end", "http", 2_000, 64, sender(HEAD)),
    Crowd("4,000 requests behind one without an answer", "http", 1_000, 64, sender(PIPELINE), is_answered=False),
    Crowd("nothing at all", "http", 14_000, 64, sender(b""), is_unused=True),
)


def measure(crowd: Crowd) -> str:
    """The most memory that the group had. Raises RuntimeError when the sidecar has ended, TimeoutError if not ready."""
    with setting(crowd.mebibytes) as (field, group):
        service = field.servers(crowd.protocol)
        with ExitStack() as stack:
            if not crowd.is_answered:
                deaf = stack.enter_context(socket.create_server((f"{field.prefix}.251.1", 0), backlog=4_096))
                service = replace(service, endpoints=(deaf.getsockname(),))
            proxy = field.tramo(field.control_plane(service), service, limits=group)
            for _ in range(crowd.clients):
                try:
                    stack.enter_context(crowd.come((proxy.host, proxy.port)))
                except OSError:  # refused, or cut: that is how the sidecar lives on
                    proxy.programs[0].check()
            wait_until_still(proxy)
            if crowd.is_unused:
                until(partial(is_ready, field), READY_SECONDS, "the sidecar to be ready while the crowd stays")
        until(partial(is_ready, field), READY_SECONDS, "the sidecar to be ready again")
        return named(group.peak_bytes())


def wait_until_still(proxy: Proxy) -> None:
    """Wait until a proxy's memory grows no more. Raises RuntimeError when it has ended."""
    (program,) = proxy.programs
    most, since = 0, time.monotonic()
    ends = since + MOST_SECONDS
    while time.monotonic() < min(ends, since + STILL_SECONDS):
        program.check()
        if program.pss_bytes() > most + STILL_BYTES:
            most, since = program.pss_bytes(), time.monotonic()
        time.sleep(0.1)


def is_ready(field: Field) -> bool:
    """Whether the first sidecar of a field says that it is ready."""
    with closing(HTTPConnection(f"{field.prefix}.0.1", 9901, timeout=10)) as admin:
        admin.request("GET", "/ready")
        return admin.getresponse().status == 200


def main() -> int:
    """Measure all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"sidecar: {sidecar_kind()}\n\n| clients | of each | service | limit in MiB | most used, in MiB |")
    print("|---:|---|---|---:|---:|")
    for crowd in CROWDS:
        peak = measure(crowd)
        print(f"| {crowd.clients:,} | {crowd.what} | {crowd.protocol} | {crowd.mebibytes} | {peak} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
