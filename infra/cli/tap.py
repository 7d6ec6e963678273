"""`tramo tap SERVICE`: requests as they end, by their heads. Bodies, queries and headers are never shown."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from infra.cli.mesh import Mesh, open_mesh
from infra.client.api import ApiError, Json
from infra.client.requests import batches

SHORT_SECONDS: Final = 10.0
"""Where a program reads, which cannot say Ctrl-C."""
ALL_DAY_SECONDS: Final = 12 * 3600.0

WIDE: Final = ("request_id", "trace_id", "protocol", "bytes_received", "bytes_sent", "user_agent")


def run(options: argparse.Namespace) -> int:
    """Print requests until the time is over, there were enough, or Ctrl-C."""
    mesh = open_mesh(options)
    namespace = mesh.namespace_of(options.service)
    mesh.require_services([options.destination])
    seconds = time_of(options)
    callers = callers_of(mesh, namespace, options.service)
    count = left_out = 0
    for batch in batches(mesh.api, namespace, options.service, filters(options), seconds):
        left_out += batch.left_out
        chosen = [each for each in batch.requests if options.source in (None, callers.name(each))]
        for each in chosen[: options.most - count]:
            shown = {**each, "source": callers.name(each)}
            text = json.dumps(shown) if options.output == "json" else line(shown, wide=options.output == "wide")
            sys.stdout.write(text + "\n")
            count += 1
        sys.stdout.flush()
        if count >= options.most:
            break
    if not count:
        sys.stderr.write(f"tramo: no request of {options.service} ended in {seconds:.0f} s\n")
    warn_of_left_out(left_out)
    return 0


def time_of(options: argparse.Namespace) -> float:
    """Return how long to look: what the options say, else until Ctrl-C on a terminal."""
    return float(options.time or (ALL_DAY_SECONDS if sys.stdout.isatty() else SHORT_SECONDS))


def filters(options: argparse.Namespace) -> dict[str, str]:
    """Return what the options choose, as sidecars choose it."""
    found = {name: getattr(options, name) for name in ("method", "path", "authority")}
    found["to"] = options.destination
    return {name: value for name, value in found.items() if value}


def warn_of_left_out(count: int) -> None:
    """Say how many requests are missing: a sidecar sends at most so many a second."""
    if count:
        sys.stderr.write(f"tramo: {count} more requests ended; choose fewer with --path or --to\n")


class Callers:
    """Names of those that call, by their address."""

    def __init__(self, snapshot: Json, service: str) -> None:
        self._service = service
        self._names: dict[str, str] = {}
        for each in snapshot["services"]:
            for endpoint in each["endpoints"]:
                self._names.setdefault(endpoint["address"], each["name"])

    def name(self, request: Json) -> str:
        """Return the service that sent a request; of a task that offers none its address."""
        if request["direction"] == "outbound":
            return self._service
        address = str(request["downstream_address"]).rpartition(":")[0].strip("[]")
        return self._names.get(address, address or "-")


def callers_of(mesh: Mesh, namespace: str, service: str) -> Callers:
    """Return the names of callers. Raises ApiError."""
    try:
        return Callers(mesh.api.snapshot(namespace), service)
    except ApiError as error:
        if error.status != 404:  # only clients have joined it
            raise
        return Callers({"services": []}, service)


def line(request: Json, *, wide: bool = False) -> str:
    """Return a request as one line."""
    proxy = "in" if request["direction"] == "inbound" else "out"
    parts: dict[str, Any] = {
        "proxy": proxy,
        "task": request["task"][:8],
        "src": request["downstream_address"],
        "dst": request["upstream_host"] or "-",
        ":method": request["method"],
        ":authority": request["authority"],
        ":path": request["path"],
        "src_res": f"svc/{request['source']}",
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
    if wide:
        parts |= {name.replace("_", "-"): request[name] for name in WIDE if request.get(name) is not None}
    return " ".join(f"{name}={value}" for name, value in parts.items())
