"""The apps that are deployed: each is a task that ECS takes, and servers of production stop in the ordinary way."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from infra.local import folder, netns
from infra.local.bridge import BridgeNetwork
from tests.rolling.apps import APPS, HTTP_PORT
from tests.rolling.rollout import PORTS, write_folder
from tests.support.waiting import until

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("app", APPS)
def test_every_app_is_a_task_that_ecs_takes_and_offers_three_ports(tmp_path: Path, app: str) -> None:
    write_folder(tmp_path / "f", app)
    found = {each["family"]: each for each in folder.read(tmp_path / "f", "us-east-1").definitions}
    mappings = [m for c in found["app"]["containerDefinitions"] for m in c.get("portMappings", [])]
    assert {mapping["name"]: mapping["containerPort"] for mapping in mappings} == PORTS
    redis = "redis" in APPS[app]
    assert (found["load"]["containerDefinitions"][0]["command"][-1] == "redis") == redis


@pytest.mark.skipif(netns.missing() is not None, reason=str(netns.missing()))
@pytest.mark.parametrize("app", ["gunicorn", "uvicorn", "node"])
def test_a_server_of_production_finishes_what_is_under_way_and_accepts_no_more(tmp_path: Path, app: str) -> None:
    command = APPS[app]["app"]
    if app == "node" and shutil.which("node") is None:
        pytest.skip("there is no node")
    with closing(BridgeNetwork()) as network:
        address = network.take()
        namespace = network.attach(address, "0e:00:00:00:00:01", None)
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                ["nsenter", f"--net={namespace.path}", *command],
                env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
                stdout=log,
                stderr=log,
            )
            try:
                stop_under_a_request(process, address, tmp_path / "log")
            finally:
                process.kill()
                process.wait()


def stop_under_a_request(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until(lambda: process.poll() is not None or listens(address), 60, "the server")
    assert process.poll() is None, log.read_text()
    with closing(http.client.HTTPConnection(address, HTTP_PORT, timeout=20)) as connection:
        connection.request("GET", "/1000")
        until(lambda: b"/1000" in log.read_bytes(), 20, "the request to be under way")
        process.send_signal(signal.SIGTERM)
        until(lambda: not listens(address), 20, "the end of listening")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"/1000")
    process.wait(20)


def listens(address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, HTTP_PORT)) == 0
