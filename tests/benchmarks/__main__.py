"""`python -m tests.benchmarks`: the sidecar beside Envoy, nginx and HAProxy on this machine.

All traffic stays on loopback. Exit code 0: the figures are there, whether the goals are met or not. 1: requests
failed, so the figures say nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.benchmarks import envoy, markdown, report
from tests.benchmarks.cases import GROUPS, MEMORY, NAMES, SMALL, TELEMETRY
from tests.benchmarks.measure import Memory, Plan, Row, measure_group, measure_memory
from tests.benchmarks.processes import cpus
from tests.benchmarks.proxies import BESIDE, PURE, REPOSITORY, Field, sidecar_kind, sidecar_says
from tests.benchmarks.small import Small, measure_small
from tests.support.proxy.sidecar import network

FULL: Final = Plan(rounds=5, seconds=2, quick=False)
QUICK: Final = Plan(rounds=3, seconds=1, quick=True)
WIDTH: Final = 132
_RECORD: Final = "meter.requests += 1; meter.bytes += 100; meter.answered(200, 0.0012)"
_METER: Final = "from sidecar.core.meters import ClientMeter; meter = ClientMeter('orders')"


def main() -> int:
    """Run what the arguments ask for. Return the exit code."""
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL
    progress = Console(stderr=True, highlight=False)
    proxy_cpu, load_cpu = cpus()
    kind = sidecar_kind()
    # Where the working directory is a checkout, the sidecar's interpreter runs its source.
    checkouts = {} if arguments.quick or kind != "compiled" else {PURE: REPOSITORY}
    if arguments.beside is not None:
        checkouts[BESIDE] = arguments.beside
    os.sched_setaffinity(0, {load_cpu})  # this process, and the load that it starts
    rows: list[Row] = []
    memory: list[Memory] = []
    small: list[Small] = []
    with network() as prefix, tempfile.TemporaryDirectory(prefix="tramo-bench-") as scratch:

        def open_field() -> Field:
            directory = Path(tempfile.mkdtemp(dir=scratch))
            return Field(prefix, directory, proxy_cpu, load_cpu, checkouts)

        def tell(what: str) -> None:
            progress.print(f"[dim]{datetime.now(UTC):%H:%M:%S}[/] {what}")

        for group in GROUPS:
            if group.name in arguments.only:
                rows += measure_group(group, plan, open_field, tell)
        if MEMORY in arguments.only:
            memory = measure_memory(open_field, tell)
        if SMALL in arguments.only:
            small = measure_small(open_field, tell, plan.quick)
        recording = _recording_nanoseconds() if TELEMETRY in arguments.only else None
    results = report.Results(_machine(plan, kind), tuple(rows), tuple(memory), tuple(small), recording)
    if arguments.write is not None:
        markdown.write(results, arguments.write)
    if arguments.output == "json":
        print(report.to_json(results))
    elif arguments.output == "markdown":
        print(markdown.render(results))
    else:
        console = Console(highlight=False)
        report.show(results, console if console.is_terminal else Console(highlight=False, width=WIDTH))
    return 1 if report.errors(results) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds: about three minutes")
    parser.add_argument("--only", default=",".join(NAMES), help=f"groups, comma separated, of {', '.join(NAMES)}")
    parser.add_argument("--beside", type=Path, metavar="DIRECTORY", help="a second checkout, measured beside this one")
    parser.add_argument("-o", "--output", choices=("table", "json", "markdown"), default="table")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the tables between the marks of docs/performance.md"
    )
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    unknown = [name for name in arguments.only if name not in NAMES]
    if unknown:
        parser.error(f"--only has {', '.join(unknown)}; the groups are {', '.join(NAMES)}")
    return arguments


def _recording_nanoseconds() -> float:
    """What the metrics of a request cost: the counters and the histogram of its latency."""
    printed = sidecar_says("-m", "timeit", "--unit=nsec", f"--setup={_METER}", _RECORD)
    return float(printed.partition("best of")[2].partition(":")[2].split()[0])


def _machine(plan: Plan, kind: str) -> dict[str, str]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "CPU": models[0].partition(":")[2].strip() if models else platform.machine(),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "Python": platform.python_version(),
        "sidecar": kind,
        "Envoy": envoy.version(),
        "rounds": f"{plan.rounds} of {plan.seconds} s",
        "load average at the end": f"{os.getloadavg()[0]:.1f}",
    }


if __name__ == "__main__":
    sys.exit(main())
