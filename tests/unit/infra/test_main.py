"""The command line: what it takes, what it returns, and what it does to a cluster of shell commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.cli import control
from infra.cli.ecs import settled
from infra.cli.main import NO_READER, main
from infra.local.cluster import Cluster
from infra.local.control import Control, failing
from infra.local.ecs_api import EcsApi
from infra.local.eventbus import DeadLetters
from infra.local.httpserver import HttpServer, Request, Response
from infra.local.machine import Machine
from sidecar import __version__
from tests.support.control_plane.functions import FakeFunction, spec
from tests.support.control_plane.local_cluster import cluster, container, definition

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "infra" / "examples" / "shop"


class Running:
    """A cluster with an ECS API and a control socket, on a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Event
        functions = {
            "Registrar": FakeFunction(spec(name="Registrar"), failures=1),
            "Publisher": FakeFunction(spec(name="Publisher")),
        }
        self._letters = DeadLetters(clock=lambda: 0.0)
        self._letters.add("Registrar", "at first", {"a": 1})
        self._letters.add("Publisher", "at first", {"b": 1})
        # Of a whole machine the control plane's letters and functions suffice here.
        machine = SimpleNamespace(dead_letters=self._letters, functions=functions)
        self._redriving = Control(cast("Machine", machine))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # `down` has ended the loop already
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with cluster(self._directory, settle_seconds=0.2) as made:
            made.register(definition())
            made.create_service({"serviceName": "s", "taskDefinition": "app", "desiredCount": 1})
            ecs, control = HttpServer(EcsApi(made).handle), HttpServer(lambda r: self._control(made, r))
            self._ecs = f"http://127.0.0.1:{await ecs.listen('127.0.0.1')}"
            await control.listen_unix(self._directory / "control.sock")
            self._ready.set()
            await self._done.wait()
            await control.close()
            await ecs.close()

    async def _control(self, made: Cluster, request: Request) -> Response:
        if request.path.startswith("/redrive/"):
            return await self._redriving.handle(request)
        if request.method == "POST":
            self._done.set()
            return Response(202, b"{}")
        status = {
            "cluster": made.name,
            "region": "us-east-1",
            "ecs": self._ecs,
            "aws": "http://aws",
            "api": {"url": "http://api/live", "away": True},
            "services": {"steady": 1, "all": 1},
            "tasks": {"running": 1, "all": 1},
            "failing": [
                failing(service, service.last_failure, self._directory)
                for service in made.services.values()
                if service.last_failure is not None
            ],
            "events": 7,
            "dead_letters": [asdict(each) for each in self._letters.letters],
        }
        return Response(200, json.dumps(status).encode())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    made = Running(tmp_path)
    made.start()
    try:
        yield tmp_path
    finally:
        made.stop()


def call(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> Any:
    code = main(["--state-dir", str(directory), *arguments, "-o", "json"])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return json.loads(captured.out)


def test_a_service_from_scaling_to_deployment(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [row] = call(capsys, running, "scale", "s", "2", "--wait", "20")
    assert (row["desired"], row["running"], row["rollout"]) == (2, 2, "COMPLETED")
    new = running / "new.json"
    new.write_text(json.dumps(definition(container(environment=[{"name": "V", "value": "2"}]))))
    [row] = call(capsys, running, "deploy", "s", "--task-definition", str(new), "--wait", "20")
    assert (row["definition"], row["running"]) == ("app:2", 2)
    [row] = call(capsys, running, "deploy", "s", "--task-definition", "app:1", "--wait", "20")
    assert row["definition"] == "app:1"
    [row] = call(capsys, running, "deploy", "s")
    assert row["rollout"] == "IN_PROGRESS"


def test_tasks(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [started] = call(capsys, running, "run", "app", "--wait", "20")
    assert (started["group"], started["status"]) == ("family:app", "RUNNING")
    assert started["task"] in {row["task"] for row in call(capsys, running, "tasks")}
    [stopped] = call(capsys, running, "stop", started["task"][:12], "--wait", "20")
    assert (stopped["status"], stopped["stopped_reason"]) == ("STOPPED", "Task stopped by user")
    assert started["task"] not in {row["task"] for row in call(capsys, running, "tasks")}
    assert started["task"] in {row["task"] for row in call(capsys, running, "tasks", "--all")}


def test_status_shows_dead_letters(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [row] = call(capsys, running, "status")
    assert row["api"] == "http://api/live (away)"
    assert row["dead_letters"][0]["event"] == {"a": 1}
    assert main(["--state-dir", str(running), "status"]) == 0
    shown = capsys.readouterr().out
    assert "1/1 steady" in shown
    assert "1970-01-01T00:00:00Z" in shown


def test_the_local_clusters_dead_letters_are_listed_and_redriven(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcomes(rows: Any) -> list[tuple[str, str, str]]:
        return [(row["function"], row["outcome"], row["error"]) for row in rows]

    waiting = [("Registrar", "waiting", "at first"), ("Publisher", "waiting", "at first")]
    assert outcomes(call(capsys, running, "redrive", "--dry-run")) == waiting
    assert outcomes(call(capsys, running, "redrive", "--dry-run", "--limit", "1")) == waiting[:1]
    assert main(["--state-dir", str(running), "redrive", "-o", "json"]) == 1
    assert outcomes(json.loads(capsys.readouterr().out)) == [
        ("Registrar", "failed again", "Registrar: ValueError: on purpose"),
        ("Publisher", "handled", ""),
    ]
    assert outcomes(call(capsys, running, "redrive")) == [("Registrar", "handled", "")]
    assert call(capsys, running, "redrive", "--dry-run") == []


def definition_file(directory: Path, script: str, **changes: Any) -> str:
    path = directory / "given.json"
    path.write_text(json.dumps(definition(container(script, **changes))))
    return str(path)


def test_a_deployment_that_crashes_at_once_is_an_error_that_names_container_exit_code_and_log(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, running, "scale", "s", "1", "--wait", "20")
    file = definition_file(running, "exit 7")
    arguments = ["deploy", "s", "--task-definition", file, "--wait", "60"]
    assert main(["--state-dir", str(running), *arguments]) == 1
    said = capsys.readouterr().err
    assert "the deployment of s does not get on: 3 of its tasks failed" in said
    assert "Essential container in task exited: container app exited with 7; its log is" in said
    log = Path(said.rstrip().rpartition(" ")[2])
    assert log.is_file()
    [status] = call(capsys, running, "status")
    [failure] = status["failing"]
    assert (failure["service"], failure["container"], failure["exit_code"]) == ("s", "app", 7)
    assert main(["--state-dir", str(running), "status"]) == 0
    assert "FAILING" in capsys.readouterr().out


def test_more_tasks_that_crash_are_an_error_though_they_run_for_a_moment(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = definition_file(running, f"mkdir {running}/first && exec sleep 600; exit 7")
    call(capsys, running, "deploy", "s", "--task-definition", file, "--wait", "60")
    assert main(["--state-dir", str(running), "scale", "s", "2", "--wait", "60"]) == 1
    assert "container app exited with 7; its log is" in capsys.readouterr().err


def test_a_deployment_that_takes_too_long_is_an_error(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe = {"command": ["CMD", "false"], "interval": 5, "startPeriod": 60}
    file = definition_file(running, "sleep 600", healthCheck=probe)
    assert main(["--state-dir", str(running), "deploy", "s", "--task-definition", file, "--wait", "1"]) == 1
    assert "s is not done after 1 s" in capsys.readouterr().err


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 5", 1)])
def test_a_task_that_ends_is_done_if_it_ended_well(
    running: Path, capsys: pytest.CaptureFixture[str], script: str, code: int
) -> None:
    # The app waits for the other container's success, so that a task which fails is never RUNNING.
    first = container(script, name="first", essential=False)
    after = container("exit 0", dependsOn=[{"containerName": "first", "condition": "SUCCESS"}])
    path = running / "given.json"
    path.write_text(json.dumps(definition(first, after)))
    assert main(["--state-dir", str(running), "run", str(path), "--wait", "20"]) == code
    assert ("container first exited with 5" in capsys.readouterr().err) == (code == 1)


@pytest.mark.parametrize(
    ("states", "last"),
    [
        (["PENDING", "RUNNING", "RUNNING"], "RUNNING"),
        (["RUNNING", "DEACTIVATING", "STOPPED"], "STOPPED"),
        (["PENDING", "STOPPED"], "STOPPED"),
    ],
)
def test_a_task_that_ends_at_its_start_does_not_count_as_running(states: list[str], last: str) -> None:
    looks = iter(states)
    found = settled(lambda: {"status": next(looks)}, 20, lambda _: None)
    assert (found["status"], list(looks)) == (last, [])


def test_down(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--state-dir", str(running), "down"]) == 0
    assert main(["--state-dir", str(running), "status"]) == 1
    assert "no cluster is up" in capsys.readouterr().err
    assert main(["--state-dir", str(running), "down"]) == 0, "there is nothing to do"
    assert "no cluster is up" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_not_called_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / "control.sock"))
        busy.listen()
        assert main(["--state-dir", str(tmp_path), "status"]) == 1
    assert "it is up, but busy" in capsys.readouterr().err


@pytest.mark.parametrize("directory", ["/proc/nope", "/etc/hosts", "x" * 120])
def test_where_no_state_directory_can_be_no_cluster_is_up(
    directory: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--state-dir", directory, "status"]) == 1
    assert main(["--state-dir", directory, "up", str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_port_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["console", "--port", "99999"])
    assert caught.value.code == 64
    assert "'99999' is not a port from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scale", "none", "1"], "there is no service none (there are: s)"),
        (["deploy", "ss"], "there is no service ss; did you mean s?"),
        (["stop", "zzz"], "The referenced task was not found."),
        (["run", "none"], "Unable to describe task definition."),
        (["run", "none.json"], "No such file"),
        (["deploy", "s", "--task-definition", "broken.json"], "family"),
        (["deploy", "s", "--task-definition", "list.json"], "not a task definition"),
    ],
)
def test_what_cannot_be_done_is_1(
    running: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    (running / "broken.json").write_text('{"family": "a b", "containerDefinitions": []}')
    (running / "list.json").write_text("[]")
    monkeypatch.chdir(running)
    assert main(["--state-dir", str(running), *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tramo: ")
    assert message in captured.err


@pytest.mark.parametrize("command", ["status", "tasks", "services"])
def test_without_a_cluster_every_command_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("TRAMO_API_URL", raising=False)
    assert main(["--state-dir", str(tmp_path), command]) == 1
    assert "tramo up" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["scale", "s"], ["scale", "s", "-1"], ["scale", "s", "x"], ["tasks", "-o", "xml"], ["stop"]],
)
def test_wrong_usage_is_64_and_shows_the_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 64
    assert "usage: tramo" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["cost", "--sidecars", "9"], ["analyze", "--offline", str(SHOP / "orders.json")], ["--help"]]
)
def test_output_that_nobody_reads_ends_a_command_quietly(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert main(arguments) == NO_READER
    assert capsys.readouterr().err == ""


def test_a_process_whose_output_nobody_reads_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "import sys; from infra.cli.main import main; sys.exit(main())"]
    try:
        done = subprocess.run([*command, "cost", "--sidecars", "9"], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (NO_READER, b"")


def test_a_broken_connection_is_no_missing_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise BrokenPipeError

    reader, writer = os.pipe()
    with open(reader), open(writer, "w", encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr("infra.cli.main.repeat", broken)
        with pytest.raises(BrokenPipeError):
            main(["cost", "--sidecars", "9"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"tramo {__version__}\n"


def test_up_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--state-dir", str(tmp_path / "s"), "up", str(tmp_path / "none")]) == 1
    assert "not a folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["--state-dir", str(tmp_path / "s"), "up", str(tmp_path / "empty")]) == 1
    assert "services.json" in capsys.readouterr().err


def test_a_misspelled_command_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["scael", "orders", "2"])
    assert capsys.readouterr().err.endswith("tramo: 'scael' is not known; did you mean scale?\n")
