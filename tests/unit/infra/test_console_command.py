"""`tramo console` as it is typed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from infra.cli.console import aws_console, local_console
from infra.cli.main import main
from infra.client.api import MeshApi
from tests.support.control_plane.aws import ENVIRONMENT
from tests.support.control_plane.mesh_metrics import cloudwatch, datum, last_minutes, put
from tests.support.control_plane.stacks import Stack, cloudformation

ROOT: Final = Path(__file__).parents[3]
REGION: Final = "eu-north-1"  # no other test's
STACK: Final = Stack(
    {"Registry": "the-registry", "DeadLetters": "http://sqs/111122223333/tramo-letters"},
    {"ApiUrl": "https://api.example/live"},
    {"Mesh": "blue"},
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with cloudwatch(REGION) as (url, client):
        minutes = last_minutes(datetime.now(UTC), 5)
        put(client, [datum("RequestCount", at, [7.0], DiscoveryName="orders") for at in minutes])
        yield url


@pytest.fixture(scope="module")
def stacks() -> Iterator[str]:
    with cloudformation({"mesh": STACK}) as url:
        yield url


@pytest.fixture
def account(endpoint: str, stacks: str, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_CLOUDFORMATION": stacks}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def test_the_stack_tells_its_mesh_its_resources_and_its_api(account: Mapping[str, str]) -> None:
    console = aws_console("mesh", REGION)
    assert console._metrics.mesh == "blue"
    references = console._references
    assert references["AWS::StackName"] == "mesh"
    assert references["Registry"] == "the-registry"
    assert references["DeadLetters.QueueName"] == "tramo-letters"
    api = console._registry._api
    assert isinstance(api, MeshApi)
    assert api._url == "https://api.example/live"


def test_without_a_stack_the_registry_is_not_known(account: Mapping[str, str]) -> None:
    listing = aws_console(None, REGION)._registry.listing()
    assert listing.services == []
    assert "--stack" in listing.error


def test_a_stack_that_is_not_there(account: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", "--stack", "nobody", "--region", REGION]) == 1
    assert "nobody" in capsys.readouterr().err


def test_a_local_cluster_sends_more_often(endpoint: str) -> None:
    api = {"url": "http://127.0.0.1:9", "away": False}
    status = {"cloudwatch": endpoint, "region": REGION, "cluster": "shop", "metrics_seconds": 5, "api": api}
    assert local_console(status).period(10) == 5


def test_without_a_cluster_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--state-dir", str(tmp_path), "console"]) == 1
    assert "tramo up" in capsys.readouterr().err


@pytest.mark.parametrize("time", ["0", "13h", "soon", "-5m", "1d"])
def test_a_time_must_be_one(time: str) -> None:
    with pytest.raises(SystemExit, match="64"):
        main(["console", f"--time={time}"])


def test_the_page_is_served_until_it_is_ended(account: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "infra.cli.main", "console", "--region", REGION, "--port", "0"]
    with subprocess.Popen(command, env=account, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.match(r"(http://127\.0\.0\.1:\d+)/ ", process.stdout.readline())
            assert found is not None
            with urlopen(found[1], timeout=60) as answer:
                assert b"<title>tramo console</title>" in answer.read()
            with urlopen(f"{found[1]}/data/overview", timeout=30) as answer:
                assert b'"name":"orders"' in answer.read()
            port = found[1].rpartition(":")[2]
            assert main(["console", "--region", REGION, "--port", port]) == 1
        finally:
            process.terminate()
