"""`tramo stat`: requests, success and latency of each service over the last minute, as its callers see it."""

from __future__ import annotations

import argparse
import sys

from infra.cli.measure import edges, require_known
from infra.cli.mesh import open_mesh
from infra.cli.tables import show_rows
from infra.cli.traffic import STAT_IN, STAT_IN_WIDE, STAT_OUT, STAT_OUT_WIDE, apart, between, by_destination, columns


def run(options: argparse.Namespace) -> int:
    """Print the statistics."""
    mesh = open_mesh(options)
    known = edges(mesh, window=options.time_window)
    require_known(mesh, known, options.service, options.source, options.destination)
    found = between(known, options.source, options.destination)
    if options.outbound:
        chosen = [each for each in found if options.service in (None, each.source)]
        shown = columns(options.output, STAT_OUT, STAT_OUT_WIDE)
    else:
        chosen = [each for each in by_destination(found) if options.service in (None, each.destination)]
        shown = columns(options.output, STAT_IN, STAT_IN_WIDE)
    show_rows(sys.stdout, options.output, apart(shown, chosen), [each.row() for each in chosen])
    return 0
