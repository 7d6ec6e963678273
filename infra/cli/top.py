"""`tramo top SERVICE`: the requests of some seconds, summed by caller, called service, method and path."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any, Final

from infra.cli.mesh import open_mesh
from infra.cli.tables import Column, Row, show_rows
from infra.cli.tap import filters, requests
from infra.cli.traffic import percent, shown

COLUMNS: Final = (
    Column("DIRECTION", "direction"),
    Column("DESTINATION", "destination"),
    Column("METHOD", "method"),
    Column("PATH", "path"),
    Column("COUNT", "count", right=True),
    Column("BEST", "best", right=True),
    Column("WORST", "worst", right=True),
    Column("LAST", "last", right=True),
    Column("SUCCESS", "success", right=True),
)
MOST_REQUESTS: Final = 100_000
MOST_ROWS: Final = 50


def run(options: argparse.Namespace) -> int:
    """Print the sums."""
    mesh = open_mesh(options)
    namespace = mesh.namespace_of(options.service)
    found = requests(mesh.api, namespace, options.service, filters(options), int(options.time), MOST_REQUESTS)
    show_rows(sys.stdout, options.output, COLUMNS, rows(found))
    return 0


def rows(found: Iterable[dict[str, Any]]) -> list[Row]:
    """Return a row for each kind of request, the most frequent first."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in found:
        key = (each["direction"], each["upstream_cluster"], each["method"], each["path"])
        groups.setdefault(key, []).append(each)
    result: list[Row] = []
    for (direction, destination, method, path), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        durations = [request["duration"] for request in group]
        ok = sum(1 for request in group if 0 < request["response_code"] < 500)
        result.append(
            {
                "direction": direction,
                "destination": destination,
                "method": method,
                "path": path,
                "count": len(group),
                "best": shown(min(durations)),
                "worst": shown(max(durations)),
                "last": shown(durations[-1]),
                "success": percent(ok / len(group)),
            }
        )
    return result[:MOST_ROWS]
