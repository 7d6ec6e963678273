"""What callers feel of faults, through the sidecar and through Envoy: `python -m tests.faults [NAME...]`.

Each fault happens to three endpoints of their own behind each proxy, in the same moments. Envoy is set up as Service
Connect is known to be: round robin, two retries on another host after a failed connection, a refused stream, a reset or
503, ejection after five failures, 15 s for a request. All runs in a network namespace of its own, which needs root.

Exit code 0 when nowhere fewer requests failed through Envoy, else 1. POST is left out of that where Envoy sent one
again that an app may have seen: the sidecar does not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console

from tests.benchmarks import envoy
from tests.benchmarks.control_plane import Service
from tests.benchmarks.markdown import table
from tests.benchmarks.processes import Program, cpus
from tests.benchmarks.proxies import ENVOY, PORT, REPOSITORY, TRAMO, Field, Proxy, sidecar_kind
from tests.faults.cases import BEGIN_SECONDS, CASES, RATE, SECONDS, Case
from tests.faults.load import Callers, Tally
from tests.support.proxy.sidecar import network

ENDPOINT_PORT: Final = 9000
INSIDE: Final = "TRAMO_FAULTS_INSIDE"
"""Says to the process that it is in its network namespace."""
CHANCE: Final = 2
"""Requests that fail now and then by the moment in which a fault begins: so many more are no difference."""


class Found(NamedTuple):
    """Of one proxy in one case."""

    tally: Tally
    attempts: float  # at endpoints, for each request

    def __str__(self) -> str:
        sent, failed = self.tally.sent, self.tally.failed
        return ", ".join(f"{failed[method]}/{sent[method]}" for method in sent)


def main() -> int:
    """Run the cases that the arguments name. Return the exit code."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all without")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between the marks of a document")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.cases if name not in names]:
        parser.error(f"there is no case {', '.join(unknown)}; the cases are {', '.join(names)}")
    if os.geteuid() != 0:
        parser.error("only root can make a network namespace")
    if INSIDE not in os.environ:
        command = ["unshare", "--net", sys.executable, "-m", "tests.faults", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    proxy_cpu, load_cpu = cpus()
    os.sched_setaffinity(0, {load_cpu})  # this process, and the endpoints
    wanted = [case for case in CASES if not arguments.cases or case.name in arguments.cases]
    rows = []
    progress = Console(stderr=True, highlight=False)
    for case in wanted:
        progress.print(f"[dim]{datetime.now(UTC):%H:%M:%S}[/] {case.title}")
        tramo, other = run(case, proxy_cpu, load_cpu)
        progress.print(f"         failed GET, POST: {tramo}; through Envoy {other}")
        rows.append((case, tramo, other))
    text = f"{_machine()}\n\n{_table(rows)}"
    print(text)
    if arguments.write is not None:
        write(text, arguments.write)
    worse = [case.name for case, tramo, other in rows if is_worse(tramo.tally, other.tally)]
    if worse:
        progress.print(f"more failed through the sidecar: {', '.join(worse)}")
    return 1 if worse else 0


def run(case: Case, proxy_cpu: int, load_cpu: int) -> tuple[Found, Found]:
    """Let the fault happen. Return what it did through the sidecar, and through Envoy."""
    with ExitStack() as stack:
        prefix = stack.enter_context(network())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tramo-faults-")))
        field = Field(prefix, scratch, proxy_cpu, load_cpu, {})
        stack.callback(field.close)
        here, there = (_endpoints(case, field, f"{prefix}.24{number}") for number in (0, 1))
        services = [Service("faulty", case.protocol, 2, PORT, tuple(where)) for _, where in (here, there)]
        proxies = [
            field.tramo(field.control_plane(services[0]), services[0]),
            field.envoy(services[1], likeness=envoy.Likeness.SERVICE_CONNECT),
        ]
        programs = [*here[0][: case.faulty], *there[0][: case.faulty]]
        wheres = [here[1], there[1]]
        tallies = asyncio.run(_load(case, proxies, programs, wheres))
        tramo, other = (
            Found(tally, _attempts(where, case) / tally.sent.total())
            for tally, where in zip(tallies, wheres, strict=True)
        )
        return tramo, other


def _endpoints(case: Case, field: Field, network: str) -> tuple[list[Program], list[tuple[str, int]]]:
    programs, where = [], []
    for number in range(case.endpoints):
        address = f"{network}.{number + 1}"
        command = [sys.executable, "-m", "tests.faults.endpoint", address, str(ENDPOINT_PORT), case.fault.value]
        log = field.directory / f"{address}.log"
        programs.append(field.keep(Program(command, field.load_cpu, log, directory=REPOSITORY)))
        where.append((address, ENDPOINT_PORT))
    for program, (address, port) in zip(programs, where, strict=True):
        program.wait_for(address, port)
    return programs, where


async def _load(
    case: Case, proxies: list[Proxy], programs: list[Program], wheres: list[list[tuple[str, int]]]
) -> list[Tally]:
    callers = [Callers(proxy.host, proxy.port, case.timeout) for proxy in proxies]
    if case.at_once:
        calls = [each.at_once(case.at_once) for each in callers]
    else:
        calls = [each.at_rate(RATE, SECONDS) for each in callers]
    waiting = asyncio.gather(*calls)
    if not case.at_once:
        await asyncio.sleep(BEGIN_SECONDS)
        for program in programs:
            program.signal(case.begins_by)
        if case.cuts:
            for (address, port), *_ in wheres:
                _take_what_is_sent(address, port)
    await waiting
    return [each.tally for each in callers]


def _take_what_is_sent(address: str, port: int) -> None:
    """Drop what comes from now on by the connections that there are now."""
    found = subprocess.run(
        ["ss", "-Htn", "dst", f"{address}:{port}"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for line in found:
        source = line.split()[3].rpartition(":")[2]
        rule = f"-A INPUT -p tcp -d {address} --dport {port} --sport {source} -j DROP"
        subprocess.run(["iptables", "-w", *rule.split()], check=True)


def _attempts(where: list[tuple[str, int]], case: Case) -> float:
    """How many requests reached endpoints, as far as they can be asked."""
    total = 0
    for address, port in where if case.protocol == "http" else ():
        connection = HTTPConnection(address, port, timeout=1)
        try:
            connection.request("GET", "/count")
            total += int(connection.getresponse().read())
        except (OSError, ValueError):
            return float("nan")  # it does not answer, which is its fault
        finally:
            connection.close()
    return total or float("nan")


def is_worse(tramo: Tally, other: Tally) -> bool:
    """Whether fewer failed through Envoy, POST aside."""
    return tramo.failed["GET"] > other.failed["GET"] + CHANCE


def _table(rows: list[tuple[Case, Found, Found]]) -> str:
    heads = (
        "fault", f"{TRAMO}: failed GET, POST", f"{ENVOY}: failed GET, POST",
        "over 1 s", "over 1 s, Envoy", "attempts each", "attempts each, Envoy", "`ARGS`",
    )  # fmt: skip
    lines = [
        (
            case.title, str(tramo), str(other), str(tramo.tally.long), str(other.tally.long),
            _number(tramo.attempts), _number(other.attempts), f"`{case.name}`",
        )
        for case, tramo, other in rows
    ]  # fmt: skip
    return table(heads, lines, left=1)


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"


def _machine() -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, sidecar {sidecar_kind()}, Envoy {envoy.version()}, {RATE:.0f} requests a "
        f"second for {SECONDS:.0f} s, the fault after {BEGIN_SECONDS:.0f} s; "
        f"load average at the end {os.getloadavg()[0]:.1f}."
    )


def write(text: str, file: Path) -> None:
    """Put the table between the marks of a document. Raises ValueError when it has none."""
    begin, end = "<!-- faults -->\n", "<!-- end of faults -->"
    before, has_begin, rest = file.read_text(encoding="utf-8").partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"{file} has no marks {begin.strip()} and {end}")
    file.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit(code)
