"""What an innocent connection feels of attacks on its sidecar: `python -m tests.benchmarks.attacks [NAME...]`.

The sidecar, as it runs here or as TRAMO_SIDECAR_PYTHON's interpreter has it, has one CPU for itself; attacker, victim
and services share the other one. Each attack is repeated for `SECONDS`. Printed are, for each, what came of it, the
victim's latencies and by how much the sidecar's memory grew while it lasted, at its highest. With `--realtime`, which
needs root, sidecar and victim go before all else on this machine: for one that has other work.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from tests.support.proxy.attacks import ATTACKS, Attack, prepare
from tests.support.proxy.sidecar import Address, Stage, endpoint, stage
from tests.support.proxy.victim import Victim

SECONDS: Final = 2.0
SAMPLE_SECONDS: Final = 0.01
GOAL_MILLISECONDS: Final = 100.0


class Memory(threading.Thread):
    """Watches the sidecar's memory; its highest in KiB."""

    def __init__(self, found: Stage) -> None:
        super().__init__(daemon=True)
        self._stage = found
        self._ended = threading.Event()
        self.before = self.highest = found.sidecar.memory_kib()
        self.start()

    def run(self) -> None:
        """Look until `end`."""
        while not self._ended.wait(SAMPLE_SECONDS):
            self.highest = max(self.highest, self._stage.sidecar.memory_kib())

    def end(self) -> float:
        """Growth in MiB."""
        self._ended.set()
        self.join()
        return (self.highest - self.before) / 1024


def measure(
    found: Stage, target: Address, attack: Attack | None, realtime: bool
) -> tuple[str, int, list[float], float]:
    """What came of an attack, how often it was made, the victim's latencies in milliseconds and the growth in MiB."""
    victim = Victim(f"{found.prefix}.240.9")
    memory = Memory(found)
    try:
        address = found.publish("victim", endpoint("victim-1", f"{found.prefix}.240.9", victim.port))
        if realtime:
            go_first(victim.pid)
        victim.start(address.host, address.port)
        outcome, times, until = "", 0, time.monotonic() + SECONDS
        while time.monotonic() < until:
            if attack is None:
                time.sleep(SECONDS)
            else:
                outcome = attack(target)
                times += 1
    finally:
        latencies = sorted(1000 * seconds for seconds in victim.stop())
    return outcome, times, latencies, memory.end()


def go_first(pid: int) -> None:
    """Let a process, with all its threads, go before all others."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))


def main(arguments: list[str]) -> int:
    """Make the attacks whose names contain one of the arguments; 1 if the victim waited longer than the goal."""
    realtime = "--realtime" in arguments
    names = [argument for argument in arguments if not argument.startswith("--")]
    cpus = sorted(os.sched_getaffinity(0))
    worst = 0.0
    print(f"{'attack':45} {'outcome':8} {'times':>6} {'asked':>6} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'MiB':>6}")
    with tempfile.TemporaryDirectory() as directory, stage(Path(directory)) as found:
        os.sched_setaffinity(found.sidecar.process.pid, cpus[-1:])
        os.sched_setaffinity(0, cpus[:-1] or cpus)
        if realtime:
            go_first(found.sidecar.process.pid)
        backend = found.backend("target-1")
        prepare(backend)
        target = found.publish("target", backend)
        for name, attack in {"none": None, **{name: attack for name, (attack, _) in ATTACKS.items()}}.items():
            if names and not any(part in name for part in names):
                continue
            outcome, times, latencies, grown = measure(found, target, attack, realtime)
            p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
            worst = max(worst, latencies[-1])
            figures = f"{p50:7.2f} {p99:7.2f} {latencies[-1]:7.2f} {grown:6.1f}"
            print(f"{name:45} {outcome:8} {times:6} {len(latencies):6} {figures}", flush=True)
    print(f"worst {worst:.1f} ms; the goal is less than {GOAL_MILLISECONDS:.0f} ms")
    return 0 if worst < GOAL_MILLISECONDS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
