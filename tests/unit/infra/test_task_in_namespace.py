"""A task on a real kernel, as root: what its containers find in their network namespace, and how they stop."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from infra.local import netns
from infra.local.bridge import BridgeNetwork
from infra.local.cluster import Cluster
from infra.local.definition import TaskDefinition
from infra.local.runner import TaskRunner
from infra.local.state import Status
from tests.support.control_plane.local_cluster import SLEEP, cluster, container, definition, until

pytestmark = pytest.mark.skipif(netns.missing() is not None, reason=str(netns.missing()))

SERVE = ["python", "-m", "http.server", "8080"]


def run(tmp_path: Path, work: Callable[[Cluster], Awaitable[None]], **times: Any) -> None:
    async def main() -> None:
        network = await asyncio.to_thread(BridgeNetwork)
        async with cluster(tmp_path, network=network, private_hosts=True, **times) as made:
            await work(made)

    asyncio.run(main())


async def output(made: Cluster, script: str, **changes: Any) -> str:
    """Return what a task's container writes until its end."""
    registered = made.register(definition(container(script, **changes), family="probe"))
    runner = made.run_task(registered.name)
    await asyncio.wait_for(runner.stopped.wait(), 30)
    assert runner.state.stop_code == "EssentialContainerExited", runner.state.stopped_reason
    return runner.log("app").read_text()


def register(made: Cluster, *containers: dict[str, Any]) -> TaskDefinition:
    return made.register(definition(*containers))


def fetch(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=60) as answer:
        status: int = answer.status
        return status


async def serves(runner: TaskRunner) -> None:
    async def answer() -> int:
        try:
            return await asyncio.to_thread(fetch, runner.identity.address)
        except OSError:
            return 0

    async with asyncio.timeout(30):
        while await answer() != 200:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


def test_apps_of_two_tasks_have_the_same_port_and_are_called_by_their_addresses(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        register(made, container(command=SERVE))
        first, second = made.run_task("app"), made.run_task("app")
        await serves(first)
        await serves(second)
        # A third task reaches them too, and its own localhost is not theirs.
        fetcher = "import urllib.request,sys; print(urllib.request.urlopen(sys.argv[1], timeout=60).status)"
        script = f"{sys.executable} -c '{fetcher}' http://{first.identity.address}:8080/; "
        script += f"{sys.executable} -c '{fetcher}' http://127.0.0.1:8080/ 2>&1 | tail -n 1"
        lines = (await output(made, script)).splitlines()
        assert lines[0] == "200"
        assert "Connection refused" in lines[1]

    run(tmp_path, work)


def test_a_container_that_needs_a_port_of_another_one_fails_the_task(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        depends = [{"containerName": "app", "condition": "START"}]
        register(made, container(command=SERVE), container(command=SERVE, name="twin", dependsOn=depends))
        runner = made.run_task("app")
        await asyncio.wait_for(runner.stopped.wait(), 30)
        said = runner.log("app").read_text() + runner.log("twin").read_text()
        assert "Address already in use" in said

    run(tmp_path, work)


def test_what_a_container_finds(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        addresses = "ip -brief address show dev eth0 | tr -s ' ' | cut -d ' ' -f 3"
        script = f"echo HOST=$HOST; {addresses}; ip route; cat /etc/resolv.conf"
        lines = (await output(made, script)).splitlines()
        [runner] = made.tasks.values()
        gateway = ".".join((*runner.identity.address.split(".")[:2], "0", "1"))
        assert lines[0] == "HOST="
        assert lines[1] == f"{runner.identity.address}/16"
        assert f"default via {gateway} dev eth0" in lines[2]
        assert "nameserver 127.0.0.1" in lines

    run(tmp_path, work)


def test_the_containers_of_a_task_share_a_hosts_file_and_the_machine_keeps_its_own(tmp_path: Path) -> None:
    before = Path("/etc/hosts").read_bytes()

    async def work(made: Cluster) -> None:
        sees = container(
            "until getent hosts orders; do sleep 0.05; done",
            dependsOn=[{"containerName": "writer", "condition": "START"}],
        )
        writer = container(f"echo 127.254.0.2 orders >> /etc/hosts; {SLEEP}", name="writer")
        register(made, sees, writer)
        runner = made.run_task("app")
        await asyncio.wait_for(runner.stopped.wait(), 30)
        assert runner.log("app").read_text().split() == ["127.254.0.2", "orders"]

    run(tmp_path, work)
    assert Path("/etc/hosts").read_bytes() == before


@pytest.mark.parametrize(("user", "ids"), [("0:1337", "0 1337"), ("1000", "1000 1000"), ("1000:7", "1000 7")])
def test_a_container_runs_as_its_user(tmp_path: Path, user: str, ids: str) -> None:
    async def work(made: Cluster) -> None:
        assert await output(made, "echo $(id -u) $(id -g) $(id -G | wc -w)", user=user) == f"{ids} 1\n"

    run(tmp_path, work)


def test_the_app_stops_before_what_it_depends_on(tmp_path: Path) -> None:
    order = tmp_path / "order"

    def noting(name: str) -> str:
        return f"trap 'sleep 0.2; echo {name} >> {order}; exit 0' TERM; echo trapped; while :; do sleep 0.05; done"

    async def work(made: Cluster) -> None:
        app = container(noting("app"), dependsOn=[{"containerName": "sidecar", "condition": "START"}])
        register(made, container(noting("sidecar"), name="sidecar"), app)
        runner = made.run_task("app")
        await until(lambda: {written(runner, name) for name in ("app", "sidecar")} == {"trapped\n"}, "both traps")
        await until(lambda: runner.state.status is Status.RUNNING, "RUNNING")
        made.stop_task(runner.identity.task_id, None)
        await asyncio.wait_for(runner.stopped.wait(), 30)
        assert order.read_text().split() == ["app", "sidecar"]

    run(tmp_path, work)


PROXY = """
import socket, struct
server = socket.create_server(("127.0.0.1", 15001))
client, _ = server.accept()
port, address = struct.unpack("!2xH4s8x", client.getsockopt(socket.SOL_IP, 80, 16))
client.sendall(f"{socket.inet_ntoa(address)}:{port}".encode())
client.close()
try:
    socket.create_connection(("240.0.0.9", 80), 0.5)
except OSError:
    print("not to itself", flush=True)
"""
APP = """
import socket, time
while True:
    try:
        client = socket.create_connection(("240.0.0.7", 80), 5)
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
print(client.recv(100).decode(), flush=True)
time.sleep(60)
"""


def test_the_proxy_configuration_sends_calls_to_the_proxy_and_leaves_its_own_alone(tmp_path: Path) -> None:
    ignored = ",".join(str(n) for n in IPv4Network("0.0.0.0/0").address_exclude(IPv4Network("240.0.0.0/4")))
    values = {"ProxyEgressPort": "15001", "IgnoredGID": "1337", "EgressIgnoredIPs": ignored}
    proxy = {
        "type": "APPMESH",
        "containerName": "proxy",
        "properties": [{"name": name, "value": value} for name, value in values.items()],
    }

    async def work(made: Cluster) -> None:
        app = container(command=["python", "-c", APP])
        sidecar = container(command=["python", "-c", PROXY], name="proxy", user="0:1337", essential=False)
        made.register(definition(app, sidecar) | {"proxyConfiguration": proxy})
        runner = made.run_task("app")
        await until(lambda: written(runner, "app") == "240.0.0.7:80\n", "the app's answer")
        await until(lambda: written(runner, "proxy") == "not to itself\n", "the proxy's own call")

    run(tmp_path, work)


def written(runner: TaskRunner, name: str) -> str:
    log = runner.log(name)
    return log.read_text() if log.exists() else ""
