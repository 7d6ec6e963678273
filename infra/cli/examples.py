"""Examples of the commands, which `tramo COMMAND --help` shows at its end."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "analyze": ("tramo analyze orders.json", "tramo analyze template.yaml --offline --failure-threshold Warning"),
    "aws-trial": ("tramo aws-trial --image IMAGE --subnets ID,ID --region eu-west-1 --dry-run",),
    "bug-report": ("tramo bug-report", "tramo bug-report --stack tramo report.tar.gz"),
    "check": ("tramo check", "tramo check --stack tramo --service orders --wait 5m", "tramo check --pre"),
    "completion": ("tramo completion bash > ~/.tramo-completion",),
    "console": ("tramo console", "tramo console --stack tramo --service orders --time 3h"),
    "cost": ("tramo cost --sidecars 100", "tramo cost --sidecars 100 --metrics emf --called 5"),
    "demo": ("tramo demo",),
    "deploy": ("tramo deploy orders --task-definition orders-2.json --wait 60", "tramo deploy orders"),
    "describe": ("tramo describe orders", "tramo describe orders --stack tramo -n shop.local -o json"),
    "diff": ("tramo diff --save before.json", "tramo diff before.json --stack tramo"),
    "down": ("tramo down",),
    "edges": ("tramo edges", "tramo edges orders --watch", "tramo edges --from web -o wide"),
    "endpoints": ("tramo endpoints orders", "tramo endpoints orders --stack tramo --watch"),
    "inject": (
        "tramo inject orders.json --image IMAGE --api-url https://API > new.json",
        "tramo inject orders.json --service-connect sc.json --redirect > new.json",
    ),
    "logs": ("tramo logs orders", "tramo logs orders --stack tramo --container sidecar --lines 100"),
    "policy": ("tramo policy get orders", "tramo policy set orders policy.json --if-revision 3"),
    "proxies": ("tramo proxies", "tramo proxies --stack tramo --fail-stale 60s"),
    "proxy": ("tramo proxy 4f2a endpoints --to stock", "tramo proxy 4f2a listeners --stack tramo"),
    "redrive": ("tramo redrive --dry-run", "tramo redrive --stack tramo --limit 10"),
    "run": ("tramo run load --wait 30", "tramo run migrate.json --wait 300"),
    "scale": ("tramo scale orders 3 --wait 60",),
    "services": ("tramo services --stack tramo", "tramo services allow orders arn:aws:iam::111122223333:role/o"),
    "stat": ("tramo stat", "tramo stat orders --from web -t 15s", "tramo stat --outbound --watch --stack tramo"),
    "status": ("tramo status",),
    "stop": ("tramo stop 4f2a --wait 30",),
    "tap": ("tramo tap orders", "tramo tap orders --from web --path /api --time 30s -o json"),
    "tasks": ("tramo tasks", "tramo tasks --all"),
    "top": ("tramo top orders", "tramo top orders --to stock --hide-sources --time 30s"),
    "up": ("tramo up infra/examples/shop", "tramo up infra/examples/shop --names proxy"),
    "why": ("tramo why web orders", "tramo why web orders:80 --stack tramo"),
}


class HelpFormatter(argparse.HelpFormatter):
    """Wraps text, but leaves lines of several as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return text
        return super()._fill_text(text, width, indent)


def add_examples(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Put its examples behind the help of each command."""
    for name, parser in commands.items():
        parser.formatter_class = HelpFormatter
        parser.epilog = "\n".join(("examples:", *(f"  $ {each}" for each in EXAMPLES[name])))
