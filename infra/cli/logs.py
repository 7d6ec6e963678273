"""`tramo logs SERVICE|TASK`: the end of what a task's containers have written.

Of a local mesh from their files, in AWS from CloudWatch Logs.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from pathlib import Path
from typing import Final

from infra.cli.mesh import Mesh, control, directory, open_mesh, suggestion
from infra.client.api import ApiError
from infra.local.settings import LocalError

MOST_TASKS: Final = 10


def run(options: argparse.Namespace) -> int:
    """Print the logs."""
    if options.stack or options.api_url:
        return _of_aws(options)
    status = control(options).status()
    files = directory(options)
    from infra.cli.ecs import Ecs

    tasks = Ecs(status, files).tasks(stopped=True)
    rows = [
        row
        for row in tasks
        if row["task"].startswith(options.what) or options.what in (row["group"].partition(":")[2], row["group"])
    ]
    if not rows:
        known = sorted({row["group"].partition(":")[2] for row in tasks})
        raise LocalError(f"there is no service or task {options.what}{suggestion(options.what, known)}")
    for row in rows[-MOST_TASKS:]:
        for path in sorted((files / "tasks" / row["task"]).glob("*.log")):
            if options.container in (None, path.stem):
                sys.stdout.write(f"==> {row['task'][:8]} {row['group']} {path.stem}, {row['status']} <==\n")
                sys.stdout.write("".join(tail(path, options.lines)))
    return 0


def _of_aws(options: argparse.Namespace) -> int:
    from infra.cli import aws_logs

    tasks = tasks_of(open_mesh(options), options.what)
    for stream, lines in aws_logs.read(tasks, options.region, options.container, options.lines):
        sys.stdout.write(f"==> {stream.task[:8]} {stream.container}, {stream.group or stream.problem} <==\n")
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def tasks_of(mesh: Mesh, what: str) -> dict[str, str]:
    """Return the tasks of a service, or the task whose id begins so, with their definitions. Raises LocalError."""
    named: dict[str, str] = {}
    begun: dict[str, str] = {}
    for namespace in mesh.namespaces():
        try:
            services = mesh.api.snapshot(namespace)["services"]
        except ApiError as error:
            if error.status != 404:  # only clients have joined it
                raise
            continue
        for service in services:
            found = {each["id"].partition("/")[0]: str(each["task_definition"]) for each in service["endpoints"]}
            if service["name"] == what:
                named |= found
            begun |= {task: definition for task, definition in found.items() if task.startswith(what)}
    result = named or begun
    if not result:
        raise LocalError(f"no service, and no task that offers one, is called {what}; tramo services lists them")
    return dict(sorted(result.items())[-MOST_TASKS:])


def tail(path: Path, lines: int) -> deque[str]:
    """Return the last lines of a file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return deque((line if line.endswith("\n") else line + "\n" for line in file), lines)
