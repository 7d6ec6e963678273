"""The `tramo` command: the tables of its commands put together, and one of them run.

Exit codes: 0 done, 1 it could not be done (the reason is on standard error), 64 wrong usage;
`analyze` and `policy` have more (docs/operators.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.cli import commands, operators
from infra.cli.arguments import CommandParser
from infra.cli.examples import add_examples
from infra.cli.watch import repeat
from infra.local.settings import LocalError
from sidecar import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = make_parser().parse_args(arguments)
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
