"""Tasks that `tramo inject` finished, in each way in which they can join, in network namespaces of their own.

One mesh: `stock` offers HTTP and listens; `prices` is redirected and its app has port 80, which excludes the other way.
Callers call both by name: listening, redirected, and with a sidecar that is not root on a read-only file system.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.inject import Settings as Injection
from infra.inject import inject
from infra.local import netns
from infra.local.machine import Machine
from infra.local.runner import TaskRunner
from infra.local.settings import Settings
from infra.local.up import machine
from tests.support.control_plane.local_cluster import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(netns.missing() is not None, reason=str(netns.missing())),
]

NAMESPACE = "ways.local"
PATIENCE = 120.0
CALLERS = ("listening", "redirected", "unprivileged", "readonly")
LISTEN = Injection(image="tramo/sidecar", api_url="https://example.com")
REDIRECT = Injection(image="tramo/sidecar", api_url="https://example.com", redirect=True)
NOT_ROOT = Injection(image="tramo/sidecar", api_url="https://example.com", user="1000")

CALL = """
import signal, sys, threading, time, urllib.request
from http.server import HTTPServer, SimpleHTTPRequestHandler
own = HTTPServer(("0.0.0.0", int(sys.argv[1])), SimpleHTTPRequestHandler)
threading.Thread(target=own.serve_forever, daemon=True).start()
missing = set(sys.argv[2:])
while missing:
    for name in sorted(missing):
        try:
            with urllib.request.urlopen(f"http://{name}/", timeout=5) as answer:
                print(name, answer.read().decode().strip(), flush=True)
            missing.discard(name)
        except OSError as error:
            print("not yet:", name, error, file=sys.stderr, flush=True)
            time.sleep(0.2)
print("all", flush=True)
signal.pause()
"""


def app(name: str, port: int) -> dict[str, Any]:
    """Return a container that answers its name to each request."""
    script = (
        "import sys; from http.server import *\n"
        "class H(BaseHTTPRequestHandler):\n"
        "  def do_GET(self):\n"
        f"    body = b'{name}'\n"
        "    self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()\n"
        "    self.wfile.write(body)\n"
        f"HTTPServer(('0.0.0.0', {port}), H).serve_forever()\n"
    )
    mapping = {"name": name, "containerPort": port, "appProtocol": "http"}
    return container(name, ["python", "-c", script]) | {"portMappings": [mapping]}


def container(name: str, command: list[str]) -> dict[str, Any]:
    return {"name": name, "image": "none", "memory": 64, "essential": True, "command": command, "stopTimeout": 2}


def task(family: str, of: dict[str, Any], settings: Injection, **sidecar: Any) -> dict[str, Any]:
    """Return the finished task definition of one app; `sidecar` are changes of its container."""
    offers = [
        {"portName": mapping["name"], "clientAliases": [{"port": 80, "dnsName": mapping["name"]}]}
        for mapping in of.get("portMappings", ())
    ]
    block = {"namespace": NAMESPACE, **({"services": offers} if offers else {})}
    own = {"family": family, "networkMode": "awsvpc", "containerDefinitions": [of]}
    finished = inject(own, settings, block)
    (ours,) = [each for each in finished["containerDefinitions"] if each["name"] == "sidecar"]
    for field, value in sidecar.items():
        ours[field] = [*ours.get(field, ()), *value] if isinstance(value, list) else value
    return finished


def caller(family: str, port: int, settings: Injection, *variables: tuple[str, str], **sidecar: Any) -> dict[str, Any]:
    """Return a task that listens on `port` on every address of its own, and calls both services."""
    calling = container(family, ["python", "-c", CALL, str(port), "stock", "prices"])
    calling["environment"] = [{"name": name, "value": value} for name, value in variables]
    return task(family, calling, settings, **sidecar)


def write(directory: Path, *definitions: dict[str, Any]) -> Path:
    directory.mkdir()
    services = [{"serviceName": name, "taskDefinition": name, "desiredCount": 1} for name in ("stock", "prices")]
    (directory / "services.json").write_text(json.dumps({"cluster": "ways", "services": services}))
    for each in definitions:
        (directory / f"{each['family']}.json").write_text(json.dumps(each))
    return directory


def test_each_way_to_join_calls_and_is_called(tmp_path: Path) -> None:
    read_only = {"readonlyRootFilesystem": True, "environment": [{"name": "TRAMO_CACHE_FILE", "value": "off"}]}
    no_proxy = ("NO_PROXY", "169.254.170.2,169.254.169.254")
    folder = write(
        tmp_path / "image",
        task("stock", app("stock", 8080), LISTEN),
        task("prices", app("prices", 80), REDIRECT),
        caller("listening", 8080, LISTEN),
        caller("redirected", 80, REDIRECT),
        caller("unprivileged", 8080, NOT_ROOT, ("http_proxy", "http://127.0.0.1:15001"), no_proxy, **read_only),
        caller("readonly", 8080, LISTEN, ("http_proxy", "http://127.0.0.1:15001"), no_proxy, **read_only),
    )
    asyncio.run(run(Settings(tmp_path / "state", folder, names="hosts")))


async def run(settings: Settings) -> None:
    async with machine(settings) as (made, _):
        callers = {name: made.cluster.run_task(name) for name in CALLERS}
        for name, runner in callers.items():
            await until(partial(called, runner, name), f"the calls of {name}", PATIENCE)
            assert runner.log(name).read_text().count("stock stock\n") == 1
        assert await made.cluster.until(made.cluster.steady, PATIENCE), "the gate opens in both ways"
        services = {r.identity.service: r for r in made.cluster.tasks.values() if r.identity.service}
        for name, prefix in (("listening", "127.254."), ("redirected", "240.0.")):
            lines = callers[name].place.hosts.read_text().splitlines()
            assert {line.split()[1] for line in lines if line.startswith(prefix)} == {"prices", "stock"}
        assert "127.254." not in callers["unprivileged"].place.hosts.read_text()
        assert await found(made, callers["listening"]) == set()
        assert await found(made, callers["redirected"]) == set()
        assert await found(made, services["prices"]) == set()
        assert await found(made, callers["unprivileged"]) == set(), "it listens on port 80 without being root"
        assert await found(made, callers["readonly"]) == {"TRM0305"}, "its hosts file is read-only too"
        await asyncio.wait_for(made.cluster.stop(), PATIENCE)


def called(runner: TaskRunner, name: str) -> bool:
    text = runner.log(name).read_text() if runner.log(name).exists() else ""
    assert not runner.stopped.is_set(), f"{runner.state.stopped_reason}\n{text}"
    return "all\n" in text and "prices prices\n" in text


async def found(made: Machine, runner: TaskRunner) -> set[str]:
    """Return the codes of what the task's sidecar finds wrong, as its admin page has it."""
    page = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9901/ready').read().decode())"
    assert runner.place.namespace is not None
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net={runner.place.namespace.path}", "python3", "-c", page), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return {each["code"] for each in json.loads(output)["findings"]}
