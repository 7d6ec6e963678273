"""The `tramo` command: the tables of its commands put together, and one of them run.

Exit codes: 0 done, 1 it could not be done (the reason is on standard error), 64 wrong usage, 141 nobody reads the
output any more, such as `| head`; `analyze` and `policy` have more (docs/operators.md).
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra.cli import commands, operators
from infra.cli.arguments import CommandParser
from infra.cli.examples import add_examples
from infra.cli.watch import repeat
from infra.local.settings import LocalError
from sidecar import __version__

NO_READER: Final = 141
"""What a shell says of a command that SIGPIPE has ended: 128 and the signal's number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread(sys.stdout.fileno()):
            raise  # it was another pipe, or a connection
        # What is still held for the reader would fail again as the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return NO_READER
    return code


def _is_unread(descriptor: int) -> bool:
    """Return whether the reader of a pipe is gone."""
    poller = select.poll()
    poller.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = make_parser().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # of --help and --version
        raise
    try:
        return repeat(options.run, options)
    except LocalError as error:
        sys.stderr.write(f"tramo: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = CommandParser(prog="tramo", description="An open service mesh for Amazon ECS.")
    parser.add_argument("--version", action="version", version=f"tramo {__version__}")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=None,
        metavar="DIR",
        help="where a local cluster keeps its files (TRAMO_STATE_DIR, else one folder per user)",
    )
    made = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add(made)
    operators.add(made, parser)
    commands.add_proofs(made)
    add_examples(made.choices)
    return parser


if __name__ == "__main__":
    sys.exit(main())
