"""python -m tests.soak: mixed traffic through real sidecars while endpoints and snapshots change.

Exit code 0 when no request failed, no sidecar grew, complained or ended otherwise than by its drain; else 1. The seed
is printed and can be given, so that the mixture of a run can be had again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from sidecar import build
from tests.soak.growth import Sample, growths
from tests.soak.traffic import Tally, Traffic
from tests.soak.world import World
from tests.support.proxy.sidecar import Sidecar

CHANGE_SECONDS: Final = 1.0
REPLACE_SECONDS: Final = 8.0
"""From one replaced task to the next."""
SAMPLES: Final = 60
"""In a run of any length."""
SHORT_SECONDS, SHORT_SLACK = 120.0, 4.0
"""A run that is shorter warms up for most of its time: so much more may grow then."""
QUANTITIES: Final = {"pss_kib": "PSS KiB", "descriptors": "descriptors", "tasks": "tasks", "timers": "timers"}


def sample(sidecar: Sidecar) -> Sample:
    """What it holds now."""
    process = Path(f"/proc/{sidecar.process.pid}")
    (pss,) = [line for line in (process / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    stats = sidecar.page("/stats")[1]
    descriptors = len(list((process / "fd").iterdir()))
    return Sample(int(pss.split()[1]), descriptors, stats["tasks"], stats["timers"])


class Soak:
    """One run."""

    def __init__(self, world: World, seconds: float, seed: int) -> None:
        self._world = world
        self.seconds = seconds
        self._traffic = Traffic(world.addresses, seed)
        self._ended = threading.Event()
        self.samples: dict[str, list[Sample]] = {"caller's": [], "called's": []}
        self.problems: list[str] = []

    @property
    def tallies(self) -> dict[str, Tally]:
        """What became of the requests."""
        return self._traffic.tallies

    def run(self) -> None:
        """Run for the time asked for."""
        loops = (self._change, self._sample)
        threads = [threading.Thread(target=self._watched, args=(loop,), name=loop.__name__) for loop in loops]
        for thread in threads:
            thread.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._send())
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    async def _send(self) -> None:
        asyncio.get_running_loop().call_later(self.seconds, self._traffic.stop)
        await self._traffic.run()

    def _watched(self, loop: Callable[[], None]) -> None:
        """Run a thread's loop; what it raises is a problem of the run, not of the thread alone."""
        try:
            loop()
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")
            self._traffic.stop_soon()

    def _change(self) -> None:
        replaced_at = time.monotonic()
        while not self._ended.wait(CHANGE_SECONDS):
            self._world.change()
            if time.monotonic() - replaced_at >= REPLACE_SECONDS:
                self._world.outage(self._ended.wait)
                self._world.replace(self._ended.is_set)
                replaced_at = time.monotonic()

    def _sample(self) -> None:
        while not self._ended.wait(self.seconds / SAMPLES):
            self.samples["caller's"].append(sample(self._world.caller.sidecar))
            self.samples["called's"].append(sample(self._world.tasks[0].stage.sidecar))


def report(soak: Soak, world: World) -> list[str]:
    """Print the tables; return what is wrong."""
    problems = [*soak.problems, *world.problems, *world.errors()]
    print(f"\n{'requests':<14}{'done':>9}{'failed':>8}{'p50 ms':>9}{'p99 ms':>9}")
    for name, tally in soak.tallies.items():
        latencies = sorted(tally.latencies) or [0.0]
        p50, p99 = (latencies[int(len(latencies) * part)] * 1000 for part in (0.5, 0.99))
        print(f"{name:<14}{tally.done:>9}{tally.failed:>8}{p50:>9.1f}{p99:>9.1f}")
        problems += [f"{name} {failure}" for failure in tally.failures]
        if not tally.done:
            problems.append(f"{name}: no request was answered")
    print(f"\n{'sidecar':<14}{'measure':<14}{'first':>9}{'last':>9}{'growth':>9}{'allowed':>9}")
    for name, samples in soak.samples.items():
        for growth in growths(samples, SHORT_SLACK if soak.seconds < SHORT_SECONDS else 1.0):
            row = (growth.first, growth.last, growth.last - growth.first, growth.allowed)
            print(f"{name:<14}{QUANTITIES[growth.measure]:<14}" + "".join(f"{value:>9.0f}" for value in row))
            if growth.too_much():
                problems.append(f"the {name} sidecar grew: {growth}")
    return problems


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to send requests (default: 600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mixture (default: the time)")
    arguments = parser.parse_args()
    print(f"soak: {arguments.seconds:g} s, sidecar {build.kind()}, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tramo-soak-") as directory:
        world = World(Path(directory), arguments.seed)
        try:
            soak = Soak(world, arguments.seconds, arguments.seed)
            soak.run()
            problems = report(soak, world)
        finally:
            world.close()
    print(f"\n{world.revisions} revisions, {world.replaced} tasks replaced, {world.outages} outages of the API")
    for problem in problems:
        print(f"wrong: {problem}")
    print("soak: nothing failed, nothing grew" if not problems else f"soak: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
