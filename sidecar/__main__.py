"""`python -m sidecar`: the proxy beside a task, configured by the environment.

Exit codes: 0 after a drain; 1 when `--ready` or `--gate` found that it is not so; 2 when the configuration is wrong, or
the inbound or admin address cannot be bound.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import sidecar
from sidecar import build
from sidecar import config as configuration

USAGE: Final = """usage: tramo-sidecar [--version | --ready | --gate | --wait]

Without an argument it runs, configured by TRAMO_ variables. --ready asks the sidecar of this task whether it is ready,
--gate whether callers know this task and its app listens; for container health checks: exit code 0 when it is so, 1
when not. --wait does nothing until SIGTERM.
"""
COMMAND: Final = Path(__file__).with_name("tramo-sidecar")
"""The shell script that is installed as `tramo-sidecar`: it does what must cost next to nothing, and calls this module
for the rest."""
CHEAP: Final = ("--ready", "--gate", "--wait")


def main(arguments: list[str] | None = None) -> int:
    """Run the sidecar, or answer a question about it. Return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"tramo-sidecar {sidecar.__version__} ({build.kind()})")
        return 0
    if len(arguments) == 1 and arguments[0] in CHEAP:
        os.execv("/bin/bash", ["bash", str(COMMAND), *arguments])  # noqa: S606 - our own script
    if arguments:
        print(USAGE, end="", file=sys.stderr)
        return 2
    try:
        config = configuration.read(os.environ)
    except configuration.ConfigError as error:
        print(f"tramo-sidecar: {error}", file=sys.stderr)
        return 2
    # Whoever asks for the version needs nothing of the proxy.
    import uvloop

    from sidecar import logs
    from sidecar.proxy.base.descriptors import raise_limit
    from sidecar.proxy.overload import keep_free_memory
    from sidecar.run import run

    raise_limit()
    keep_free_memory()
    logs.configure(config.log_level)
    return uvloop.run(run(config))


if __name__ == "__main__":
    sys.exit(main())
