"""The commands of a local cluster that is up: `tramo status`, `tasks`, `scale` and the others."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli import tables
from infra.cli.control import NotUpError
from infra.cli.mesh import control, directory
from infra.cli.tables import Row, show
from infra.local.settings import LocalError

if TYPE_CHECKING:
    from infra.cli.ecs import Ecs

# `ecs` is imported by those that need it: boto3 takes longer than all that `status` does.


def down(options: argparse.Namespace) -> None:
    """Take the cluster down, and wait until it is."""
    client = control(options)
    try:
        client.call("POST", "/down")
    except NotUpError:
        sys.stderr.write(f"tramo: no cluster is up in {directory(options)}\n")
        return
    deadline = time.monotonic() + 60
    while client.is_up():
        if time.monotonic() > deadline:
            raise LocalError("the cluster is still stopping after 60 s; Ctrl-C in its terminal ends it at once")
        time.sleep(0.1)


def status(options: argparse.Namespace) -> None:
    """Print what the cluster says of itself."""
    said = control(options).status()
    row = {
        "cluster": said["cluster"],
        "services": f"{said['services']['steady']}/{said['services']['all']} steady",
        "tasks": f"{said['tasks']['running']}/{said['tasks']['all']} running",
        "events": said["events"],
        "dead_letter_count": len(said["dead_letters"]),
        "api": said["api"]["url"] + (" (away)" if said["api"]["away"] else ""),
        "ecs": said["ecs"],
        "aws": said["aws"],
    }
    letters = [
        {**letter, "time": datetime.fromtimestamp(letter["time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        for letter in said["dead_letters"]
    ]
    failing = said["failing"]
    if options.output == "json":
        show(sys.stdout, "json", tables.STATUS, [{**row, "failing": failing, "dead_letters": letters}])
        return
    show(sys.stdout, "table", tables.STATUS, [row])
    if failing:
        sys.stdout.write("\n")
        show(sys.stdout, "table", tables.FAILING, failing)
    if letters:
        sys.stdout.write("\n")
        show(sys.stdout, "table", tables.DEAD_LETTERS, letters)


def tasks(options: argparse.Namespace) -> None:
    """Print the cluster's tasks."""
    show(sys.stdout, options.output, tables.TASKS, _ecs(options).tasks(stopped=options.all))


def scale(options: argparse.Namespace) -> None:
    """Set the number of a service's tasks."""
    ecs = _ecs(options)
    _show_rollout(options, ecs, ecs.scale(options.service, options.count))


def deploy(options: argparse.Namespace) -> None:
    """Replace the tasks of a service."""
    ecs = _ecs(options)
    definition = options.task_definition
    _show_rollout(options, ecs, ecs.deploy(options.service, _file_or_name(definition) if definition else None))


def run(options: argparse.Namespace) -> None:
    """Start a task that belongs to no service."""
    ecs = _ecs(options)
    row = ecs.run(_file_or_name(options.definition))
    if options.wait:
        row = ecs.wait_for_run(row["task"], options.wait)
    show(sys.stdout, options.output, tables.TASKS, [row])


def stop(options: argparse.Namespace) -> None:
    """Stop a task."""
    from infra.cli.ecs import until

    ecs = _ecs(options)
    row = ecs.stop(options.task)
    if options.wait:
        row = until(lambda: ecs.task(row["task"]), lambda r: r["status"] == "STOPPED", options.wait)
    show(sys.stdout, options.output, tables.TASKS, [row])


def _ecs(options: argparse.Namespace) -> Ecs:
    from infra.cli.ecs import Ecs

    return Ecs(control(options).status(), directory(options))


def _show_rollout(options: argparse.Namespace, ecs: Ecs, row: Row) -> None:
    if options.wait:
        row = ecs.wait_for_rollout(row, options.wait)
    show(sys.stdout, options.output, tables.SCALED, [row])


def _file_or_name(text: str) -> Path | str:
    return Path(text) if text.endswith(".json") else text
