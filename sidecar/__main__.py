"""`python -m sidecar`: the proxy beside a task, configured by the environment.

Exit codes: 0 after a drain; 1 when `--ready` found it not ready; 2 when the configuration is wrong, or the inbound or
admin address cannot be bound.
"""

from __future__ import annotations

import http.client
import os
import sys
from typing import Final

import sidecar
from sidecar import build
from sidecar import config as configuration

USAGE: Final = """usage: python -m sidecar [--version | --ready]

Without an argument it runs, configured by TRAMO_ variables. --ready asks the sidecar that runs here whether it is
ready, for a container health check: exit code 0 when it is, 1 when it is not.
"""
READY_SECONDS: Final = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run the sidecar, or answer a question about it. Return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"tramo-sidecar {sidecar.__version__} ({build.kind()})")
        return 0
    if arguments not in ([], ["--ready"]):
        print(USAGE, end="", file=sys.stderr)
        return 2
    try:
        if arguments:
            return 0 if is_ready(*configuration.admin_address(os.environ)) else 1
        config = configuration.read(os.environ)
    except configuration.ConfigError as error:
        print(f"tramo-sidecar: {error}", file=sys.stderr)
        return 2
    # A health check starts this program every few seconds: only the proxy itself loads what the proxy needs.
    import uvloop

    from sidecar import logs
    from sidecar.run import run

    logs.configure(config.log_level)
    return uvloop.run(run(config))


def is_ready(host: str, port: int) -> bool:
    """Whether the sidecar with this admin address says that it is ready."""
    connection = http.client.HTTPConnection(host, port, timeout=READY_SECONDS)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError as error:
        print(f"tramo-sidecar: no answer from the admin port {host}:{port}: {error}", file=sys.stderr)
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
