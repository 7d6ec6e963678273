"""Load by wrk, h2load and streams.py: one run, bounded in time, to its figures.

h2load prints no percentiles; they are read from its log of requests, `start status microseconds`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GRACE_SECONDS: Final = 20.0
_UNITS: Final = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. `connections` each carry `streams` requests at a time; `rate`, if not 0, is of all a second."""

    tool: str  # wrk, h2load, or streams
    path: str
    connections: int
    streams: int = 1
    post: bytes | None = None
    fields: tuple[str, ...] = ()
    rate: float = 0.0  # h2load only


@dataclass(frozen=True, slots=True)
class Run:
    """What came back. Latencies in microseconds."""

    requests: int
    errors: int
    rate: float
    p50: float
    p99: float


def run(load: Load, host: str, port: int, seconds: int, directory: Path) -> Run:
    """Send the load for so many seconds, from this process's own CPU."""
    url = f"http://{host}:{port}{load.path}"
    if load.tool == "wrk":
        return read_wrk(_output(_wrk(load, seconds, directory, url), seconds))
    if load.tool == "streams":
        return read_streams(_output(_streams(load, seconds, host, port), seconds))
    log = directory / "h2load.tsv"
    log.unlink(missing_ok=True)
    printed = _output(_h2load(load, seconds, directory, log, url), seconds)
    return read_h2load(printed, log.read_text())


def _wrk(load: Load, seconds: int, directory: Path, url: str) -> list[str]:
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout=10s", "--latency"]
    if load.post is not None:
        script = directory / "post.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {len(load.post)})\n')
        command += ["-s", str(script)]
    return [*command, url]


def _h2load(load: Load, seconds: int, directory: Path, log: Path, url: str) -> list[str]:
    command = ["h2load", f"-c{load.connections}", f"-m{load.streams}", f"-D{seconds}", f"--log-file={log}"]
    if load.post is not None:
        body = directory / "body"
        body.write_bytes(load.post)
        command += ["-d", str(body)]
    for field in load.fields:
        command += ["-H", field]
    if load.rate:
        command += ["--h1", f"--rps={load.rate / load.connections:.3f}"]
    return [*command, url]


def _streams(load: Load, seconds: int, host: str, port: int) -> list[str]:
    options = [f"--connections={load.connections}", f"--streams={load.streams}", f"--seconds={seconds}"]
    return [sys.executable, "-m", "tests.benchmarks.streams", "load", f"{host}:{port}", *options]


def _output(command: Sequence[str], seconds: int) -> str:
    finished = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds + GRACE_SECONDS,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{finished.stdout[-2000:]}")
    return finished.stdout


def read_wrk(printed: str) -> Run:
    """The figures in what `wrk --latency` printed."""
    errors = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", printed))
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    if sockets is not None:
        errors += sum(int(number) for number in sockets.groups())
    return Run(
        requests=int(_find(r"(\d+) requests in", printed)),
        errors=errors,
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", printed)),
        p50=_microseconds(_find(r"\n +50% +(\S+)", printed)),
        p99=_microseconds(_find(r"\n +99% +(\S+)", printed)),
    )


def read_h2load(printed: str, log: str) -> Run:
    """The figures in what h2load printed and logged."""
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", printed)
    if counts is None:
        raise ValueError(f"h2load printed no counts of requests:\n{printed}")
    succeeded, *failed = (int(number) for number in counts.groups())
    latencies = sorted(int(line.rsplit("\t", 1)[1]) for line in log.splitlines())
    if not latencies:
        raise ValueError(f"h2load completed no request:\n{printed}")
    return Run(
        requests=succeeded,
        errors=sum(failed),
        rate=float(_find(r"finished in \S+ ([\d.]+) req/s", printed)),
        p50=float(latencies[len(latencies) // 2]),
        p99=float(latencies[len(latencies) * 99 // 100]),
    )


def read_streams(printed: str) -> Run:
    """The figures that streams.py printed."""
    return Run(**json.loads(printed.splitlines()[-1]))


def _find(pattern: str, printed: str) -> str:
    match = re.search(pattern, printed)
    if match is None:
        raise ValueError(f"nothing like {pattern!r} in:\n{printed}")
    return match[1]


def _microseconds(value: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", value)
    if match is None:
        raise ValueError(f"{value!r} is no duration")
    return float(match[1]) * _UNITS[match[2]]
