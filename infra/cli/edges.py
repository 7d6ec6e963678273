"""`tramo edges`: who calls whom."""

from __future__ import annotations

import argparse
import sys

from infra.cli.measure import edges, require_known
from infra.cli.mesh import open_mesh
from infra.cli.tables import show_rows
from infra.cli.traffic import EDGES, EDGES_WIDE, apart, between, columns


def run(options: argparse.Namespace) -> int:
    """Print the edges, of one service if it is named."""
    mesh = open_mesh(options)
    known = edges(mesh, window=options.time_window)
    require_known(mesh, known, options.service, options.source, options.destination)
    chosen = between(known, options.source, options.destination)
    found = [each for each in chosen if options.service in (None, each.source, each.destination)]
    shown = columns(options.output, EDGES, EDGES_WIDE)
    show_rows(sys.stdout, options.output, apart(shown, found), [each.row() for each in found])
    return 0
