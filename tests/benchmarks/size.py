"""How much memory the sidecar takes, as a container has it: `python -m tests.benchmarks.size`.

It starts in a control group with the memory and a quarter of a CPU; beyond the limit the kernel would end it. First it
reads a large namespace, listens for all its services and is ready. Then clients ask for large answers on thousands of
streams and read nothing, until its memory grows no more; another client is still answered. Exit code 0: all were held.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks import limits
from tests.benchmarks.control_plane import Service
from tests.benchmarks.processes import cpus
from tests.benchmarks.proxies import PORT, TRAMO, Field, Proxy, sidecar_kind
from tests.support.proxy.sidecar import network
from tests.support.wire import http2

ENDPOINTS_EACH: Final = 6
STREAMS: Final = 1_000
"""As many as a connection may have."""
STILL_SECONDS: Final = 2.0
"""Memory that has not grown for so long grows no more."""
STILL_BYTES: Final = 256 << 10
MOST_SECONDS: Final = 60.0


class Size(NamedTuple):
    """A namespace, and the memory that is to be enough for it."""

    services: int
    mebibytes: int


SIZES: Final = (Size(1_000, 64), Size(3_000, 128))


def services(count: int) -> list[Service]:
    """So many, with endpoints that nobody calls."""
    return [
        Service(
            f"service-{number}",
            "http",
            number,
            PORT,
            tuple((f"10.{each}.{number >> 8}.{number & 255}", 15100) for each in range(ENDPOINTS_EACH)),
        )
        for number in range(2, count + 2)
    ]


class Unread(NamedTuple):
    """Clients that read nothing, of a service, and the memory that is to be enough for them."""

    protocol: str
    clients: int
    mebibytes: int


UNREAD: Final = (Unread("http", 2, 128), Unread("http2", 2, 128), Unread("http2", 8, 64))


@contextmanager
def setting(mebibytes: int) -> Iterator[tuple[Field, limits.Limits]]:
    """A field, and a group with so much memory."""
    with ExitStack() as stack:
        group = limits.make(f"tramo-size-{os.getpid()}", memory_bytes=mebibytes << 20)
        if group is None:
            raise RuntimeError("control groups cannot be made here")
        stack.callback(group.remove)
        prefix = stack.enter_context(network())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tramo-size-")))
        field = Field(prefix, directory, *cpus(), {})
        stack.callback(field.close)
        yield field, replace(group, is_container=True)


def named(peak: int | None) -> str:
    """The most memory of a group in MiB, where the kernel counts it."""
    return "unknown" if peak is None else f"{peak / (1 << 20):.0f}"


def measure(size: Size) -> str:
    """The most memory that the group had. Raises RuntimeError or TimeoutError when the sidecar is not ready."""
    with setting(size.mebibytes) as (field, group):
        all_of_them = services(size.services)
        (program,) = field.tramo(field.control_plane(*all_of_them), all_of_them[-1], TRAMO, limits=group).programs
        program.check()
        return named(group.peak_bytes())


def measure_unread(unread: Unread) -> str:
    """The most memory that the group had. Raises RuntimeError when the sidecar has ended, or answers nobody."""
    with setting(unread.mebibytes) as (field, group), ExitStack() as stack:
        service = field.servers(unread.protocol)
        proxy = field.tramo(field.control_plane(service), service, limits=group)
        ask = [http2.request(http2.replaced(b":path", b"/1m"), stream) for stream in range(1, 2 * STREAMS, 2)]
        for _ in range(unread.clients):
            closed = http2.setting(4, 0)  # SETTINGS_INITIAL_WINDOW_SIZE
            client = stack.enter_context(http2.RawClient((proxy.host, proxy.port), settings=closed))
            client.send(*ask)
        wait_until_still(proxy)
        with closing(HTTPConnection(proxy.host, proxy.port, timeout=10)) as other:
            other.request("GET", "/100", headers={"Host": service.name})
            status = other.getresponse().status
            if status != 200:
                raise RuntimeError(f"another client is answered {status}")
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


def main() -> int:
    """Measure all."""
    print(f"sidecar: {sidecar_kind()}\n\n| services | endpoints | limit, MiB | most used, MiB |\n|---:|---:|---:|---:|")
    for size in SIZES:
        endpoints = size.services * ENDPOINTS_EACH
        print(f"| {size.services:,} | {endpoints:,} | {size.mebibytes} | {measure(size)} |", flush=True)
    print(
        "\n| clients that read nothing | streams | service | limit, MiB | most used, MiB |\n|---:|---:|---|---:|---:|"
    )
    for unread in UNREAD:
        streams = f"{unread.clients * STREAMS:,} | {unread.protocol}"
        print(f"| {unread.clients} | {streams} | {unread.mebibytes} | {measure_unread(unread)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
