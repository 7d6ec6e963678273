"""`make deployments`: many deployments in a row under load; it fails if one request, call or session was lost."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import mean

from tests.rolling.apps import APPS
from tests.rolling.rollout import roll
from tests.rolling.server import Stop


def main() -> int:
    """Deploy, print what was seen, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=20, metavar="N", help="how many, default 20")
    parser.add_argument("--app", choices=list(APPS), default=Stop.PATIENT, help="what is deployed, and so how it stops")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tramo-rolling-") as directory:
        report = asyncio.run(
            roll(Path(directory), options.deployments, lambda line: print(line, flush=True), options.app)
        )
    for name, tried in report.tried.items():
        print(f"{name:<5} {tried:>7} tried, {report.failed[name]} failed")
    print(f"{len(report.seconds)} deployments of {mean(report.seconds):.1f} s, {report.tasks} tasks replaced")
    for error in report.errors:
        print(f"  {error}")
    return 1 if any(report.failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
