"""The commands of operators: their arguments, which are alike in all of them, and the module that each one runs.

A command is a module with `run(options)`; `lazy` imports it when it runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from infra.cli.arguments import WIDE, Commands, count, duration, mesh_options, output, positive, watch, window
from infra.cli.lazy import lazily


def add(commands: Commands, parser: argparse.ArgumentParser) -> None:
    """Add all of them to the parser's commands."""
    made = _command(
        commands,
        "check",
        "say what is wrong with the mesh, why, and what to do; exit code 1 if anything is",
        forms=("table", "json", "short"),
    )
    part = made.add_mutually_exclusive_group()
    part.add_argument("--pre", action="store_true", help="before a stack is deployed: credentials, rights and tools")
    part.add_argument("--proxy", action="store_true", help="only the sidecars")
    part.add_argument("--service", metavar="NAME", help="only what is about this service")
    made.add_argument("--wait", type=duration, metavar="TIME", help="wait so long, such as 5m, until all is well")
    watch(made)
    made = _command(commands, "analyze", "find mistakes in task definitions before they are registered")
    made.add_argument(
        "file",
        nargs="*",
        type=Path,
        metavar="FILE|DIR",
        help="task definition, CloudFormation or CDK template, or JSON of a Terraform plan",
    )
    made.add_argument("--offline", action="store_true", help="do not compare with the services of a mesh")
    made.add_argument("-L", "--list-codes", action="store_true", help="list what can be found")
    made.add_argument(
        "-S",
        "--suppress",
        action="append",
        default=[],
        metavar="CODE=RESOURCE",
        help="leave this out, such as TRM0103=taskdef/orders; * stands for anything",
    )
    thresholds = ("Info", "Warning", "Error")
    made.add_argument("--failure-threshold", choices=thresholds, default="Error", help="from where on it fails (79)")
    made.add_argument("--output-threshold", choices=thresholds, default="Info", help="from where on it is shown")
    made = _command(commands, "stat", "requests, success and latency of services over the last minute", forms=WIDE)
    made.add_argument("service", nargs="?", metavar="SERVICE", help="only this one")
    made.add_argument("--outbound", action="store_true", help="a line for each caller, with retries and time-outs")
    _between(made, "calls")
    _window(made)
    watch(made)
    made = _command(commands, "edges", "who calls whom, how often and how well", forms=WIDE)
    made.add_argument("service", nargs="?", metavar="SERVICE", help="only what it calls and who calls it")
    _between(made, "calls")
    _window(made)
    watch(made)
    made = _command(commands, "proxies", "list the sidecars, with their snapshots and versions", forms=WIDE)
    made.add_argument(
        "--fail-stale", type=duration, metavar="TIME", help="exit code 1 if a snapshot is older, or one is silent"
    )
    watch(made)
    made = _command(commands, "proxy", "show what one sidecar holds", forms=WIDE)
    made.add_argument("task", metavar="TASK", help="id of the task, or its beginning")
    made.add_argument(
        "what",
        nargs="?",
        default="clusters",
        choices=("clusters", "endpoints", "listeners", "config", "ready", "stats"),
        help="what to show, default clusters",
    )
    made.add_argument("--to", metavar="SERVICE", help="of clusters and endpoints only those of this service")
    watch(made)
    made = _command(commands, "why", "follow a call from one service to another, and say where it ends")
    made.add_argument("source", metavar="SRC", help="discovery name of the service that calls")
    made.add_argument("destination", metavar="DST[:PORT]", help="name or alias that it calls")
    _window(made)
    watch(made)
    text = "show requests of a service as they end: heads, never bodies or queries"
    made = _command(commands, "tap", text, forms=WIDE)
    _requests(made)
    made.add_argument("--most", type=positive, default=1000, metavar="N", help="end after so many, default 1000")
    made = _command(commands, "top", "sum the requests of a service by caller, method and path", forms=WIDE)
    _requests(made)
    made.add_argument("--hide-sources", action="store_true", help="sum over all callers")
    made = _command(commands, "describe", "show all that is known of a service")
    made.add_argument("service", metavar="SERVICE")
    watch(made)
    made = _command(commands, "policy", "read, write, remove or check the policy of a service", forms=())
    made.add_argument("action", choices=("get", "set", "delete", "validate"))
    made.add_argument("service", metavar="SERVICE", help="of validate: the file")
    made.add_argument("file", nargs="?", metavar="FILE", help="of set: JSON, - for standard input")
    made.add_argument(
        "--if-revision", type=count, metavar="N", help="write only if the policy is still at this revision"
    )
    made = _command(commands, "logs", "show the end of what the containers of a service or task have written", forms=())
    made.add_argument("what", metavar="SERVICE|TASK")
    made.add_argument("--container", metavar="NAME", help="only this container")
    made.add_argument("--lines", type=positive, default=20, metavar="N", help="lines of each container, default 20")
    made = _command(commands, "diff", "show what has changed since a picture of the mesh was kept", forms=WIDE)
    made.add_argument("before", nargs="?", type=Path, metavar="FILE", help="a picture that was kept")
    made.add_argument("after", nargs="?", type=Path, metavar="FILE", help="a later one, default the mesh as it is")
    made.add_argument("--save", type=Path, metavar="FILE", help="keep a picture of the mesh as it is")
    watch(made)
    made = _command(commands, "bug-report", "write an archive with the state of the mesh, without secrets", forms=())
    made.add_argument("file", nargs="?", type=Path, metavar="FILE.tar.gz", help="default tramo-report-TIME.tar.gz")
    made = commands.add_parser("completion", help="print a script for bash or zsh that completes commands")
    made.add_argument("shell", choices=("bash", "zsh"))
    made.set_defaults(run=lazily("completion"), parser=parser)


def _requests(made: argparse.ArgumentParser) -> None:
    made.add_argument("service", metavar="SERVICE", help="what its tasks serve and send")
    _between(made, "requests")
    made.add_argument("--method", metavar="METHOD", help="only requests with this method")
    made.add_argument("--path", metavar="PREFIX", help="only requests whose path begins so")
    made.add_argument("--authority", metavar="NAME", help="only requests to this host")
    made.add_argument(
        "--time", type=duration, metavar="TIME", help="how long, default 10s, and on a terminal until Ctrl-C"
    )


def _between(made: argparse.ArgumentParser, what: str) -> None:
    made.add_argument("--from", dest="source", metavar="SERVICE", help=f"only {what} from this service")
    made.add_argument("--to", dest="destination", metavar="SERVICE", help=f"only {what} to this service")


def _window(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "-t", "--time-window", type=window, default=60.0, metavar="TIME", help="counts of so long, 15s to 1m (1m)"
    )


def _command(commands: Commands, name: str, text: str, *, forms: tuple[str, ...] = ("table", "json")) -> Any:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.set_defaults(run=lazily(name.replace("-", "_")))
    if forms:
        output(made, forms)
    mesh_options(made)
    return made
