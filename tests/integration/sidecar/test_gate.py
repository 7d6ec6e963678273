"""The checks of the sidecar's and the gate's health, as ECS runs them: by the command of the image."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.__main__ import COMMAND
from tests.support.proxy.sidecar import Stage
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until
from tests.support.wire.answer_server import AnswerServer, Request, Response

TASK = "158d1c8083dd49d6b527399fd6414f5c"


def metadata(request: Request) -> Response:
    """The task metadata endpoint."""
    arn = f"arn:aws:ecs:us-east-1:111122223333:task/default/{TASK}"
    return Response(body=json.dumps({"Cluster": "default", "TaskARN": arn, "DesiredStatus": "RUNNING"}).encode())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A sidecar in a task that offers the service `app`."""
    inbound = "app=15100:8080/http"
    with (
        AnswerServer(metadata) as server,
        open_stage(tmp_path, ECS_CONTAINER_METADATA_URI_V4=server.origin, TRAMO_INBOUND=inbound) as found,
    ):
        yield found


def check(option: str, admin: str, command: Path = COMMAND) -> subprocess.CompletedProcess[str]:
    """Run the command of the image with this option."""
    environment = {"TRAMO_ADMIN": admin, "PATH": os.environ["PATH"]}
    return subprocess.run([command, option], env=environment, capture_output=True, text=True, timeout=20, check=False)


def endpoint(state: str) -> dict[str, object]:
    return {"id": f"{TASK}/http", "address": "10.0.0.1", "port": 15100, "state": state}


def test_the_checks_say_what_the_sidecar_says(stage: Stage) -> None:
    admin = stage.environment["TRAMO_ADMIN"]
    assert check("--ready", admin).returncode == 0
    refused = check("--gate", admin)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"tramo-sidecar: http://{admin}/gate answers 503 and not 200\n"
    assert stage.sidecar.page("/gate")[1]["waits_for"] == ["app"]
    stage.publish("app", endpoint("ready"))
    until(
        lambda: "does not listen yet" in stage.sidecar.page("/gate")[1].get("why", ""), 20, "callers to know the task"
    )
    app = stage.backend("app", f"{stage.prefix}.250.2", 8080)
    until(lambda: check("--gate", admin).returncode == 0, 20, "the gate to open")
    app.close()
    stage.publish("app", endpoint("unhealthy"))
    assert check("--gate", admin).returncode == 0, "an open gate stays open"
    stage.sidecar.stop()
    gone = check("--ready", admin)
    assert gone.returncode == 1
    assert "Connection refused" in gone.stderr


def test_the_checks_need_no_python(stage: Stage, tmp_path: Path) -> None:
    alone = tmp_path / "bin" / "tramo-sidecar"  # where no python stands beside it
    alone.parent.mkdir()
    shutil.copy(COMMAND, alone)
    assert check("--ready", stage.environment["TRAMO_ADMIN"], alone).returncode == 0
    assert "/bin/python" in check("--version", "", alone).stderr


def test_the_gate_waits_until_it_is_told_to_end() -> None:
    process = subprocess.Popen([COMMAND, "--wait"])
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
