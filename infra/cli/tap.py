"""`tramo tap SERVICE`: requests as they end, by their heads. Bodies, queries and headers are never shown.

Sidecars are asked, and send what they see once a second for at most a minute; a longer tap asks again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from infra.cli.api import MeshApi
from infra.cli.ask import Progress, everything, put, question
from infra.cli.mesh import open_mesh

PAUSE_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60
AFTER_SECONDS: Final = 3.0
"""For the last batch to arrive."""


def run(options: argparse.Namespace) -> int:
    """Print requests until the time is over."""
    mesh = open_mesh(options)
    namespace = mesh.namespace_of(options.service)
    count = 0
    for each in requests(mesh.api, namespace, options.service, filters(options), int(options.time), options.most):
        sys.stdout.write((json.dumps(each) if options.output == "json" else line(each)) + "\n")
        sys.stdout.flush()
        count += 1
    if not count:
        sys.stderr.write(f"tramo: no request of {options.service} ended in {options.time:.0f} s\n")
    return 0


def filters(options: argparse.Namespace) -> dict[str, str]:
    """Return what the options choose."""
    found = {name: getattr(options, name) for name in ("method", "path", "authority", "to")}
    return {name: value for name, value in found.items() if value}


def requests(
    api: MeshApi,
    namespace: str,
    service: str,
    chosen: dict[str, str],
    seconds: int,
    most: int,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    progress: IO[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield requests that tasks of a service serve or send, until the time is over or there were so many."""
    bar = Progress(progress or sys.stderr)
    end = clock() + seconds
    shown = 0
    while clock() < end:
        span = min(LONGEST_SECONDS, max(int(end - clock()), 1))
        asked = put(api, namespace, question("tap", service, (), chosen, span), clock, pause)
        bar.show(f"{len(asked['asked'])} sidecars of {service} are asked; the first requests take some seconds")
        seen: set[tuple[str, str]] = set()
        until = min(clock() + span + AFTER_SECONDS, end + AFTER_SECONDS)
        while clock() < until:
            pause(PAUSE_SECONDS)
            for batch in everything(api, namespace, asked["id"]):
                key = (batch["task"], batch["at"])
                if key in seen:
                    continue
                seen.add(key)
                bar.clear()
                for each in batch["answer"].get("requests", ()):
                    yield {"task": batch["task"], **each}
                    shown += 1
                    if shown >= most:
                        return
    bar.clear()


def line(request: dict[str, Any]) -> str:
    """Return a request as one line."""
    proxy = "in" if request["direction"] == "inbound" else "out"
    parts = {
        "proxy": proxy,
        "task": request["task"][:8],
        "src": request["downstream_address"],
        "dst": request["upstream_host"] or "-",
        ":method": request["method"],
        ":authority": request["authority"],
        ":path": request["path"],
        "dst_res": f"svc/{request['upstream_cluster']}",
        ":status": request["response_code"],
        "latency": f"{request['duration']:g}ms",
    }
    if request.get("grpc_status") is not None:
        parts["grpc-status"] = request["grpc_status"]
    if request["response_flags"] != "-":
        parts["flags"] = request["response_flags"]
    if request["retries"]:
        parts["retries"] = request["retries"]
    return " ".join(f"{name}={value}" for name, value in parts.items())
