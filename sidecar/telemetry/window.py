"""The traffic of the last minute, for whoever asks: counts of now less those of a reading before.

Rules:
- A reading is made every `EVERY_SECONDS`, and `KEPT` are kept. What a service has not moved since shares the reading
  before, so that services which nobody calls cost nothing.
- Success is an answer below 500 (of TCP, a connection that came to an endpoint). What failed is what neither succeeded
  nor is under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sidecar.core.histogram import middle
from sidecar.core.meters import ClientMeter, Meters
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.destination import Destination

EVERY_SECONDS: Final = 15.0
KEPT: Final = 5  # a minute and a little
MOST_SERVICES: Final = 300  # of an answer, those with most requests first
MOST_LATENCIES: Final = 40  # of them with latencies, 1 KB each


class Reading(NamedTuple):
    """Totals of calls of one service since the sidecar's start."""

    requests: int
    ok: int
    failed: int
    retries: int
    timeouts: int
    connect_errors: int
    bytes: int
    zone_known: int
    zone_local: int
    latencies: list[int]
    flags: dict[str, int]


_NOTHING: Final = Reading(0, 0, 0, 0, 0, 0, 0, 0, 0, [], {})


class Window:
    """Reads the meters and tells what moved."""

    def __init__(self, runtime: Runtime, meters: Meters, destinations: Mapping[str, Destination]) -> None:
        self._runtime = runtime
        self._meters = meters
        self._destinations = destinations
        self._readings: deque[tuple[float, dict[str, Reading], dict[str, tuple[int, int, int]]]] = deque(maxlen=KEPT)
        self._readings.append((runtime.now(), {}, {}))

    async def run(self) -> None:
        """Read for ever."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self.read()

    def read(self) -> None:
        """Keep a reading."""
        self._readings.append((self._runtime.now(), self._clients(), self._servers()))

    def _clients(self) -> dict[str, Reading]:
        before = self._readings[-1][1]
        found = {}
        for name, meter in self._meters.clients.items():
            if meter.requests or meter.flags:
                known = before.get(name)
                # One that had requests under way then may know by now how they ended.
                settled = known is not None and known.requests == meter.requests == known.ok + known.failed
                found[name] = known if known is not None and settled else self._reading(name, meter)
        return found

    def _reading(self, name: str, meter: ClientMeter) -> Reading:
        destination = self._destinations.get(name)
        active = destination.cluster.active_requests if destination is not None else 0
        is_tcp = destination is not None and destination.cluster.protocol == "tcp"
        if is_tcp:
            failed = min(meter.connect_errors, meter.requests)
            ok = meter.requests - failed
        else:
            ok = sum(meter.statuses[:5])
            failed = max(meter.requests - ok - active, 0)
        return Reading(
            meter.requests,
            ok,
            failed,
            meter.retries,
            meter.timeouts,
            meter.connect_errors,
            meter.bytes,
            meter.zone_known,
            meter.zone_local,
            meter.latency.counts(),
            dict(meter.flags),
        )

    def _servers(self) -> dict[str, tuple[int, int, int]]:
        return {
            name: (meter.requests, meter.connections, meter.bytes)
            for name, meter in self._meters.servers.items()
            if meter.connections
        }

    def moved(self, seconds: float) -> dict[str, Any]:
        """Return what moved in about the last `seconds`; without readings that old, since the start."""
        now = self._runtime.now()
        at, clients, servers = min(self._readings, key=lambda reading: abs(now - reading[0] - seconds))
        found = [(name, reading, clients.get(name, _NOTHING)) for name, reading in self._clients().items()]
        rows = [_client(name, reading, before) for name, reading, before in found if reading is not before]
        rows.sort(key=lambda row: -int(row["requests"]))
        for row in rows[MOST_LATENCIES:]:
            row["latency"] = []
        inbound = [
            {"name": name, **_difference(("requests", "connections", "bytes"), totals, servers.get(name, (0, 0, 0)))}
            for name, totals in self._servers().items()
        ]
        return {"seconds": round(now - at, 3), "client": rows[:MOST_SERVICES], "server": inbound}


_COUNTS: Final = Reading._fields[: Reading._fields.index("latencies")]


def _client(name: str, reading: Reading, before: Reading) -> dict[str, Any]:
    counts = _difference(_COUNTS, reading[: len(_COUNTS)], before[: len(_COUNTS)])
    earlier = before.latencies or [0] * len(reading.latencies)
    latency = [
        [round(middle(at) / 1000.0, 3), count - then]
        for at, (count, then) in enumerate(zip(reading.latencies, earlier, strict=True))
        if count != then
    ]
    flags = {code: count - before.flags.get(code, 0) for code, count in reading.flags.items()}
    return {
        "name": name,
        **{field: max(value, 0) for field, value in counts.items()},
        "latency": latency,
        "flags": {code: count for code, count in flags.items() if count},
    }


def _difference(names: tuple[str, ...], totals: Any, before: Any) -> dict[str, int]:
    return {name: total - then for name, total, then in zip(names, totals, before, strict=True)}
