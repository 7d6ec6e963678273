"""`tramo logs SERVICE|TASK`: the end of what a task's containers have written, local ones from their files."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from pathlib import Path
from typing import Final

from infra.cli.mesh import control
from infra.local.settings import LocalError, state_directory

MOST_TASKS: Final = 10


def run(options: argparse.Namespace) -> int:
    """Print the logs."""
    if options.stack or options.api_url:
        raise LocalError(
            "the logs of tasks in AWS are where their logConfiguration sends them: aws logs tail GROUP --since 10m"
        )
    status = control(options).status()
    directory = state_directory() if options.state_dir is None else options.state_dir.absolute()
    from infra.cli.ecs import Ecs

    rows = [
        row
        for row in Ecs(status, directory).tasks(stopped=True)
        if row["task"].startswith(options.what) or options.what in (row["group"].partition(":")[2], row["group"])
    ]
    if not rows:
        raise LocalError(f"no service or task is called {options.what}; tramo tasks -a lists them")
    for row in rows[-MOST_TASKS:]:
        for path in sorted((directory / "tasks" / row["task"]).glob("*.log")):
            if options.container in (None, path.stem):
                sys.stdout.write(f"==> {row['task'][:8]} {row['group']} {path.stem}, {row['status']} <==\n")
                sys.stdout.write("".join(tail(path, options.lines)))
    return 0


def tail(path: Path, lines: int) -> deque[str]:
    """Return the last lines of a file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return deque((line if line.endswith("\n") else line + "\n" for line in file), lines)
