"""`make deployments`: what happens to tasks, under load; it fails if one request, call or session was lost.

Twenty deployments in a row, scale-in from six tasks to two, a Spot interruption. Apps that stop abruptly lose what is
inside them: for those it fails if more than that was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import mean

from tests.rolling.apps import APPS
from tests.rolling.rollout import MOST_TASKS, roll
from tests.rolling.server import Stop


def main() -> int:
    """Deploy, print what was seen, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=20, metavar="N", help="how many, default 20")
    parser.add_argument(
        "--app", choices=list(APPS), default=Stop.ORDINARY, help="what is deployed, and so how it stops"
    )
    parser.add_argument("--most", type=int, default=MOST_TASKS, metavar="N", help="tasks before the scale-in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tramo-rolling-") as directory:
        report = asyncio.run(
            roll(Path(directory), options.deployments, lambda line: print(line, flush=True), options.app, options.most)
        )
    for name, count in report.total().items():
        print(f"{name:<5} {count.tried:>7} tried, {count.failed} failed")
    seconds = [phase.seconds for phase in report.phases if phase.name.startswith("deployment")]
    if seconds:
        print(f"{len(seconds)} deployments of {mean(seconds):.1f} s; {report.tasks} tasks ended")
    for error in report.errors:
        print(f"  {error}")
    if report.ended_by_app:
        print(f"{report.ended_by_app} calls were taken by the app and cancelled by it as it stopped")
    failed = sum(count.failed for count in report.total().values())
    if options.app == Stop.ABRUPT:
        print(f"{failed} failed, of {report.inside} that were inside abrupt apps when they ended")
    return 1 if failed > report.inside else 0


if __name__ == "__main__":
    sys.exit(main())
