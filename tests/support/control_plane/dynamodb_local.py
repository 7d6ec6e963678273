"""AWS's DynamoDB Local, a Java program that `make setup` puts into .tools."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import until

HOME = Path(__file__).parents[3] / ".tools" / "dynamodb-local"
START_SECONDS = 120.0  # a machine with other work to do takes long to start Java


def missing() -> str | None:
    """Return why DynamoDB Local cannot be started here, None when it can."""
    if shutil.which("java") is None:
        return "java is not installed"
    if not (HOME / "DynamoDBLocal.jar").exists():
        return f"{HOME}/DynamoDBLocal.jar is not there; run `make setup`"
    return None


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """Yield the URL of a DynamoDB Local that forgets everything, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            "java",
            "-Xmx256m",
            "-Djava.library.path=DynamoDBLocal_lib",
            "-jar",
            "DynamoDBLocal.jar",
            "-inMemory",
            "-sharedDb",
            "-disableTelemetry",
            "-port",
            str(port),
        ],
        cwd=HOME,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"DynamoDB Local ended with {process.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens, START_SECONDS, "DynamoDB Local to listen")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)
