"""Processor time for taking a snapshot over: the sidecar's own code in this process, from the sources.

Decoding, routing with its listeners, hosts file, and the cache. What else the machine does meanwhile hardly matters:
only this process's time counts, the kernel's for it included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import uvloop

from sidecar import config as configuration
from sidecar.core.meters import Meters
from sidecar.core.snapshot import Snapshot, apply, decode
from sidecar.names.hosts import HostsFile
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.mesh import Mesh
from sidecar.registry.cache import SnapshotCache
from tests.benchmarks.control.documents import Documents
from tests.benchmarks.control.population import NAMESPACE
from tests.support.proxy.sidecar import network

Row = tuple[str, str]
TURNS: Final = 20


class Sidecar:
    """What of a sidecar takes a document over."""

    def __init__(self, prefix: str, directory: Path) -> None:
        config = configuration.read(
            {
                "TRAMO_NAMESPACE": NAMESPACE,
                "TRAMO_API_URL": "https://api.example",
                "AWS_REGION": "us-east-1",
                "TRAMO_VIP_NETWORK": f"{prefix}.0.0/16",
            }
        )
        (directory / "hosts").write_text("127.0.0.1 localhost\n")
        self.mesh = Mesh(Runtime(asyncio.get_running_loop()), config, Meters("", ""), "us-east-1a")
        self._hosts = HostsFile(str(directory / "hosts"))
        self._cache = SnapshotCache(str(directory / "snapshot.json"))
        self._snapshot: Snapshot | None = None

    async def take(self, body: bytes) -> float:
        """Take a document over as the poller does; return the milliseconds of processor time."""
        begin = time.process_time()
        document = decode(body, NAMESPACE)
        snapshot = apply(self._snapshot, document)
        renamed = await self.mesh.apply(snapshot)
        if renamed or not self._hosts.holds():
            self._hosts.write(self.mesh.hosts())
        self._cache.store(snapshot, body, document.since)
        self._snapshot = snapshot
        return (time.process_time() - begin) * 1000


def taking_over() -> Iterator[Row]:
    """Yield the processor time of whole documents and of deltas."""
    yield from uvloop.run(_measure())


async def _measure() -> list[Row]:
    documents = Documents()
    with network() as prefix, TemporaryDirectory(prefix="tramo-bench-") as directory:
        sidecar = Sidecar(prefix, Path(directory))
        first = await sidecar.take(documents.whole())
        one = [await sidecar.take(documents.move([name])) for name in documents.names()[:TURNS]]
        hundred = [await sidecar.take(documents.move(documents.names()[turn * 100 :][:100])) for turn in range(TURNS)]
        new = [await sidecar.take(documents.add(f"new-{turn}", documents.names()[0])) for turn in range(5)]
        documents.move(documents.names())
        again = await sidecar.take(documents.whole())
        sidecar.mesh.close()
    return [
        ("processor time of a whole snapshot", f"{first:.0f} ms the first time, {again:.0f} ms when all has changed"),
        ("processor time of a delta of 1 service", f"{median(one):.2f} ms"),
        ("processor time of a delta of 100 services", f"{median(hundred):.2f} ms"),
        ("processor time of a delta of a new service", f"{median(new):.1f} ms"),
    ]
