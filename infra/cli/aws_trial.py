"""`tramo aws-trial`: prove the mesh in an account of one's own, or write down what that would do."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from infra.local.settings import LocalError

FUNCTIONS: Final = Path(__file__).parents[2] / "functions"
"""Not part of the wheel: the registry's own rules judge the task definitions."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{2,20}")
"""What stack, mesh, cluster, roles and log group may all be called."""


def add(made: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    made.add_argument("--image", required=True, metavar="IMAGE", help="the sidecar's image, where Fargate can pull it")
    made.add_argument("--subnets", required=True, metavar="ID,ID", help="subnets of one VPC for the tasks")
    made.add_argument("--region", required=True, metavar="REGION", help="where the stack is made")
    made.add_argument("--name", default="tramo-trial", help="of stack, mesh, cluster and the rest (tramo-trial)")
    made.add_argument("--private", action="store_true", help="tasks get no public address: the subnets have NAT")
    made.add_argument("--keep", action="store_true", help="remove nothing at the end; it costs until you do")
    made.add_argument("--dry-run", action="store_true", help="write and check every call, make none")
    made.add_argument("--yes", action="store_true", help="make it, and pay for it")


def run(options: argparse.Namespace) -> int:
    """Make the trial and return the exit code: 0 if no request failed. Raises LocalError."""
    if str(FUNCTIONS) not in sys.path:
        sys.path.append(str(FUNCTIONS))
    from infra.client.stack import open_session
    from infra.cost import PRICES_AS_OF
    from infra.local.template import load
    from infra.trial import price
    from infra.trial.account import Aws, Rehearsal
    from infra.trial.rehearsal import GoodDay
    from infra.trial.trial import MOST_SECONDS, REMOVAL_SECONDS, Order, Trial

    if _NAME.fullmatch(options.name) is None:
        raise LocalError(f"--name {options.name}: it is a letter, then 2 to 20 of small letters, digits and -")
    most = price.dollars(MOST_SECONDS + REMOVAL_SECONDS)
    out = sys.stdout
    out.write(f"# at most {most:.2f} dollars (US East, prices of {PRICES_AS_OF}); usually half an hour\n")
    load(parameters={"Mesh": options.name, "Clusters": options.name, "LogRetentionDays": "1"})
    subnets = tuple(each.strip() for each in options.subnets.split(",") if each.strip())
    order = Order(options.name, options.region, options.image, subnets, not options.private, options.keep)
    if options.dry_run:
        report = Trial(order, Rehearsal(order.region, GoodDay(order.name, order.region), out), out).run()
        out.write("# rehearsed: every call and task definition is well formed; nothing was asked of AWS\n")
        return 0
    if not options.yes:
        raise LocalError(
            "this makes a stack, a cluster and Fargate tasks in your account: --dry-run shows all, --yes does it"
        )
    report = Trial(order, Aws(open_session(order.region), out), out).run()
    out.write(report.text())
    return 0 if report.has_passed else 1
