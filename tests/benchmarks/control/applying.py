"""What a snapshot costs in a sidecar: a real process that polls a real server, and what it says of itself.

Time is what the sidecar's page /stats says of the last document: decoding it, and taking it over. Traffic goes through
the sidecar meanwhile, and its slowest request shows how long the loop was held up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.benchmarks.control.documents import Documents, Shelf
from tests.benchmarks.control.population import NAMESPACE
from tests.support.control_plane import aws
from tests.support.proxy.sidecar import network
from tests.support.waiting import until

Row = tuple[str, str]
SHIPPED: Final = Path(__file__).parents[3] / ".tools" / "sidecar" / "bin" / "python"
POLL_SECONDS: Final = 0.2
DELTAS: Final = 20
PATIENCE: Final = 60.0
SETTLE_SECONDS: Final = 3.0
_BACKEND: Final = """
import asyncio, sys
class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
async def main():
    server = await asyncio.get_running_loop().create_server(Answer, sys.argv[1], 8080)
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""


class Process:
    """A sidecar, as it ships where it was built, else from the sources."""

    def __init__(self, prefix: str, api_url: str, directory: Path, **variables: str) -> None:
        self.python = SHIPPED if SHIPPED.exists() else Path(sys.executable)
        self._admin = f"{prefix}.0.1:9901"
        self._log = directory / "sidecar.log"
        (directory / "hosts").write_text("127.0.0.1 localhost\n")
        environment = aws.ENVIRONMENT | {
            "PATH": "/usr/bin:/bin",
            "TRAMO_NAMESPACE": NAMESPACE,
            "TRAMO_API_URL": api_url,
            "TRAMO_LISTEN_ADDRESS": f"{prefix}.250.1",
            "TRAMO_APP_ADDRESS": f"{prefix}.250.2",
            "TRAMO_INBOUND": "app=15100:8080/http",
            "TRAMO_VIP_NETWORK": f"{prefix}.0.0/16",
            "TRAMO_FORWARD_PROXY": f"{prefix}.0.1:15001",
            "TRAMO_ADMIN": self._admin,
            "TRAMO_HOSTS_FILE": str(directory / "hosts"),
            "TRAMO_CACHE_FILE": str(directory / "snapshot.json"),
            "TRAMO_METRICS": "cloudwatch",
            "AWS_ENDPOINT_URL": api_url,
            **variables,
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "sidecar"],
                env=environment,
                cwd=directory if self.python == SHIPPED else Path(__file__).parents[3],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def page(self, path: str) -> Any:
        """Return an admin page."""
        with urllib.request.urlopen(f"http://{self._admin}{path}", timeout=10) as answer:
            return json.load(answer)

    def wait_for(self, revision: int) -> dict[str, float]:
        """Wait until the sidecar routes by this revision, and return what its document cost."""

        def there() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the sidecar ended:\n{self._log.read_text()}")
            try:
                return bool(self.page("/stats").get("last_change", {"revision": 0})["revision"] >= revision)
            except OSError:
                return False

        until(there, PATIENCE, f"revision {revision}")
        found: dict[str, float] = self.page("/stats")["last_change"]
        return found

    def pss_mib(self) -> float:
        """Return the proportional set size once what the last document needed in passing is given back."""
        time.sleep(SETTLE_SECONDS)
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("smaps_rollup has no line Pss")

    def descriptors(self) -> int:
        """Return how many files it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


class Traffic:
    """One request after the other through the sidecar, and the slowest of them."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._slowest = 0.0
        self._count = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection = HTTPConnection(self._address, 15100, timeout=10)
        while not self._stop.wait(0.001):
            begin = time.perf_counter()
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                self.failed += answer.status != 200
            except (OSError, HTTPException):
                connection.close()
                self.failed += 1
            self._slowest = max(self._slowest, time.perf_counter() - begin)
            self._count += 1

    def during(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """Return what the work returns, and the slowest request meanwhile in milliseconds."""
        self._slowest = 0.0
        result = work()
        seen = self._count
        until(lambda: self._count > seen + 1, PATIENCE, "requests to go on")
        return result, self._slowest * 1000

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()


def applying() -> Iterator[Row]:
    """Yield what a sidecar needs for a whole snapshot, for deltas, and after a start from disk."""
    documents = Documents()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="tramo-bench-")))
        prefix = stack.enter_context(network())
        shelf = Shelf(1, documents.whole(), POLL_SECONDS)
        stack.callback(shelf.close)
        backend = subprocess.Popen([sys.executable, "-c", _BACKEND, f"{prefix}.250.2"])
        stack.callback(backend.wait)
        stack.callback(backend.kill)
        sidecar = Process(prefix, shelf.url, directory)
        stack.callback(sidecar.stop)
        kind = "as it ships" if sidecar.python == SHIPPED else "from the sources"
        cost = sidecar.wait_for(1)
        yield f"sidecar ({kind}): whole snapshot", f"{_cost(cost)}, PSS {sidecar.pss_mib():.0f} MiB"
        traffic = Traffic(f"{prefix}.250.1")
        stack.callback(traffic.stop)
        yield from _deltas(documents, shelf, sidecar, traffic)
        yield "sidecar: memory after these", f"PSS {sidecar.pss_mib():.0f} MiB"
        documents.move(documents.names())
        shelf.put(documents.revision, None, documents.whole())
        cost, slowest = traffic.during(lambda: sidecar.wait_for(documents.revision))
        yield "sidecar: whole snapshot again, every service changed", f"{_cost(cost)}; {_seen(slowest)}"
        yield "sidecar: memory then", f"PSS {sidecar.pss_mib():.0f} MiB, {traffic.failed} failed requests"


def modes() -> Iterator[Row]:
    """Yield what the services' addresses cost when each is listened on, and when all are redirected to one socket.

    Nobody makes the network rules here: they are the kernel's, and cost the sidecar nothing.
    """
    for mode in ("listen", "redirect"):
        documents = Documents()
        with ExitStack() as stack:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="tramo-bench-")))
            prefix = stack.enter_context(network())
            shelf = Shelf(1, documents.whole(), POLL_SECONDS)
            stack.callback(shelf.close)
            redirect = {"TRAMO_REDIRECT": f"{prefix}.0.1:15002", "TRAMO_VIP_NETWORK": "240.0.0.0/16"}
            sidecar = Process(prefix, shelf.url, directory, **(redirect if mode == "redirect" else {}))
            stack.callback(sidecar.stop)
            cost = sidecar.wait_for(1)
            memory = sidecar.pss_mib()
            yield f"{mode}: whole snapshot", f"{_cost(cost)}, {sidecar.descriptors()} open files, PSS {memory:.0f} MiB"
            costs = []
            for turn in range(5):
                shelf.put(documents.revision + 1, documents.add(f"new-{turn}", documents.names()[0]))
                costs.append(sidecar.wait_for(documents.revision))
            middle = {name: median(each[name] for each in costs) for name in costs[0]}
            yield f"{mode}: delta of a new service, with its address and names", _cost(middle)


def _deltas(documents: Documents, shelf: Shelf, sidecar: Process, traffic: Traffic) -> Iterator[Row]:
    for label, count in (("delta of 1 service", 1), ("delta of 100 services", 100)):
        costs, slowest = [], 0.0
        for turn in range(DELTAS):
            names = documents.names()[turn * count % 2000 :][:count]
            shelf.put(documents.revision + 1, documents.move(names))
            cost, slow = traffic.during(lambda: sidecar.wait_for(documents.revision))
            costs.append(cost)
            slowest = max(slowest, slow)
        middle = {name: median(each[name] for each in costs) for name in costs[0]}
        yield f"sidecar: {label}", f"{_cost(middle)}; {_seen(slowest)}"
    costs = []
    for turn in range(5):
        shelf.put(documents.revision + 1, documents.add(f"new-{turn}", documents.names()[0]))
        costs.append(sidecar.wait_for(documents.revision))
    middle = {name: median(each[name] for each in costs) for name in costs[0]}
    yield "sidecar: delta of a new service, with its listener and names", _cost(middle)


def _cost(cost: dict[str, float]) -> str:
    total = cost["decode_ms"] + cost["apply_ms"]
    return f"{total:.1f} ms (decode {cost['decode_ms']:.1f}, apply {cost['apply_ms']:.1f})"


def _seen(slowest: float) -> str:
    return f"slowest request meanwhile {slowest:.0f} ms"
