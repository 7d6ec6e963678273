"""The commands of operators: their arguments, which are alike in all of them, and the module that each one runs.

A command is a module with `run(options)`; it is imported when it runs, because boto3 takes longer than most commands.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
from pathlib import Path
from typing import Any

Commands = Any  # argparse's _SubParsersAction is private


def add(commands: Commands) -> None:
    """Add all of them to the parser's commands."""
    made = _command(
        commands, "check", "say what is wrong with the mesh, why, and what to do; exit code 1 if anything is"
    )
    made.add_argument("--service", metavar="NAME", help="only what is about this service")
    made.add_argument("--wait", type=duration, metavar="TIME", help="wait so long, such as 5m, until all is well")
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


def _command(commands: Commands, name: str, text: str, *, forms: tuple[str, ...] = ("table", "json")) -> Any:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.set_defaults(run=lambda options: importlib.import_module(f"infra.cli.{name.replace('-', '_')}").run(options))
    made.add_argument("-o", "--output", choices=forms, default="table", help="form of the output")
    made.add_argument("-n", "--namespace", metavar="NAME", help="only this namespace, default all")
    made.add_argument("--stack", metavar="NAME", help="the stack in AWS; without it the local cluster")
    made.add_argument(
        "--api-url",
        default=os.environ.get("TRAMO_API_URL"),
        metavar="URL",
        help="the stack's output ApiUrl (TRAMO_API_URL), in the place of --stack",
    )
    made.add_argument("--region", metavar="REGION", help="region of the stack, default AWS's configuration")
    return made


def duration(text: str) -> float:
    """Return seconds of a time such as 30s, 5m or 1h; a number alone is seconds."""
    match = re.fullmatch(r"(\d{1,5})([smh]?)", text)
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match is not None else 0
    if not 1 <= seconds <= 12 * 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30s, 5m or 1h, at most 12h")
    return float(seconds)
