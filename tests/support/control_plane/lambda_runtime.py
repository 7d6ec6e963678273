"""A function as Lambda runs it: the artefact of `sam build` under AWS's runtime interface emulator.

Rules:
- The interpreter sees the artefact, the standard library, and AWS's runtime client, as in Lambda. The packages of
  the development environment are out of its sight, so what `sam build` did not pack is missing.
- Every emulator has two free ports of its own and a process group that is ended with it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

from tests.support.control_plane import sam
from tests.support.waiting import PATIENCE, until

START_SECONDS: Final = 20.0
INVOKE_SECONDS: Final = 30.0 * PATIENCE
STOP_SECONDS: Final = 10.0
_RUNTIME_CLIENT: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
_INVOKE: Final = "/2015-03-31/functions/function/invocations"


class FunctionError(Exception):
    """The function raised. `kind` is the error's type, as Lambda reports it."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {message}")


@dataclass(frozen=True, slots=True)
class RunningFunction:
    """A function that takes events."""

    address: tuple[str, int]
    log: Path

    def invoke(self, event: Any) -> Any:
        """Return what the handler returns. Raises FunctionError."""
        connection = http.client.HTTPConnection(*self.address, timeout=INVOKE_SECONDS)
        try:
            connection.request("POST", _INVOKE, json.dumps(event))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, body
        result = json.loads(body) if body else None
        if isinstance(result, dict) and "errorType" in result:
            raise FunctionError(result["errorType"], result["errorMessage"])
        return result

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines that the function has logged so far, metrics among them."""
        found: list[dict[str, Any]] = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{"):
                found.append(json.loads(line))
        return found

    def metrics(self) -> dict[str, float]:
        """Return the sums of the metrics that the function has logged so far."""
        sums: dict[str, float] = {}
        for line in self.lines():
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
                for metric in directive["Metrics"]:
                    sums[metric["Name"]] = sums.get(metric["Name"], 0) + sum(line[metric["Name"]])
        return sums


def link_runtime_client(directory: Path) -> Path:
    """Put AWS's runtime client, and nothing else of this environment, into a directory for PYTHONPATH."""
    for name in _RUNTIME_CLIENT:
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if ".dist-info" not in file.parts[0]}:
            if top not in ("..", "__pycache__"):
                (directory / top).symlink_to(str(found.locate_file(top)))
    return directory


def isolated_python() -> list[str]:
    """Return the command of an interpreter without this environment's packages."""
    return [sys.executable, "-S", "-B"]


def environment(function: sam.Function, artefact: Path, endpoint: str, runtime_client: Path) -> dict[str, str]:
    """Return the environment that Lambda gives to a function; its access key is its name."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(runtime_client),
        "LAMBDA_TASK_ROOT": str(artefact),
        "AWS_LAMBDA_FUNCTION_NAME": f"tramo-{function.name}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        # Lambda gives each function a share of a processor; here all that runs on the machine shares two.
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout * PATIENCE),
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": function.environment["LOG_LEVEL"],
        "AWS_REGION": sam.REGION,
        "AWS_DEFAULT_REGION": sam.REGION,
        "AWS_ACCESS_KEY_ID": function.name,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        **function.environment,
    }


def _emulator() -> Path:
    package = find_spec("samcli")
    assert package is not None, "aws-sam-cli is not installed; run `make setup`"
    assert package.origin is not None
    return Path(package.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{sam.HOST_ARCHITECTURE}"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextmanager
def running(function: sam.Function, build: Path, variables: Mapping[str, str]) -> Iterator[RunningFunction]:
    """Run a function of a build (`sam.build`) and yield it; `variables` are its whole environment."""
    port, runtime_port = _free_ports(2)
    command = [
        str(_emulator()),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{runtime_port}"),
        *("--log-level", "error"),
        *isolated_python(),
        *("-m", "awslambdaric", function.handler),
    ]
    with tempfile.NamedTemporaryFile(prefix=f"{function.name}-", suffix=".log") as log:
        process = _start(command, build / function.name, variables, log)
        try:
            until(lambda: _listens(process, port), START_SECONDS, f"the emulator of {function.name}")
            yield RunningFunction(("127.0.0.1", port), Path(log.name))
        finally:
            _end(process)


def _start(
    command: list[str], directory: Path, variables: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=directory,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the emulator ended with {process.returncode}")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the emulator and, whatever it does about it, the function that it runs."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
