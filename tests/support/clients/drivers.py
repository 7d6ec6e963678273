"""Clients in other languages, as programs: `tests/conformance/drivers`, run with what `make setup` installs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
DRIVERS: Final = ROOT / "tests" / "conformance" / "drivers"
NODE_PACKAGES: Final = ROOT / ".tools" / "conformance" / "node_modules"
SECONDS: Final = 60.0
"""Longest run of a driver, which does all of its cases."""

NODE_INTEROP: Final = (
    *("empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream"),
    *("custom_metadata", "status_code_and_message", "special_status_message"),
    *("unimplemented_method", "unimplemented_service"),
    *("cancel_after_begin", "cancel_after_first_response", "timeout_on_sleeping_server"),
    "concurrent_large_unary",
)
"""The cases of `interop.cjs`."""


def _environment() -> dict[str, str]:
    proxies = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    inherited = {name: value for name, value in os.environ.items() if name not in proxies}
    return {**inherited, "NODE_PATH": str(NODE_PACKAGES)}


@contextmanager
def serving_node(script: str, *arguments: str) -> Iterator[None]:
    """A server for Node that says `listening` once it does; it is ended with the block."""
    command = ["node", str(DRIVERS / script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment()) as server:
        try:
            if server.stdout is None or server.stdout.readline() != b"listening\n":
                raise RuntimeError(f"{script} does not listen")
            yield
        finally:
            server.terminate()


def run(*command: str, text: str = "") -> str:
    """What a driver prints. Raises RuntimeError with what it complained of."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=SECONDS, env=_environment())
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def run_node(script: str, *arguments: str, text: str = "") -> str:
    """What a driver for Node prints."""
    return run("node", str(DRIVERS / script), *arguments, text=text)
