"""How much memory the sidecar takes, as a container has it: `python -m tests.benchmarks.size`.

It starts in a control group with the memory and a quarter of a CPU; beyond the limit the kernel would end it. It
reads a large namespace, listens for all its services and is ready. Exit code 0: all were held.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks import limits
from tests.benchmarks.control_plane import Service
from tests.benchmarks.processes import cpus
from tests.benchmarks.proxies import PORT, TRAMO, Field, sidecar_kind
from tests.support.proxy.sidecar import network

ENDPOINTS_EACH: Final = 6


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


def main() -> int:
    """Measure all."""
    print(f"sidecar: {sidecar_kind()}\n\n| services | endpoints | limit, MiB | most used, MiB |\n|---:|---:|---:|---:|")
    for size in SIZES:
        endpoints = size.services * ENDPOINTS_EACH
        print(f"| {size.services:,} | {endpoints:,} | {size.mebibytes} | {measure(size)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
