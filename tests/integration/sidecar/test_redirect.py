"""One listener for all services, in a network namespace with the rules that ECS makes of `proxyConfiguration`."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.proxy.mesh import PROBE_VIP
from tests.support.proxy.sidecar import CODE, Address, Backend, Stage, receive, receive_all
from tests.support.proxy.task_network import redirect, task_network
from tests.support.waiting import until
from tests.support.wire.grpc_service import Service

PORT = 15002
GROUP = 1337
"""The sidecar's own: what it sends itself is not redirected, and it must find the rules all the same."""
SERVICES = 300

CALL = """
import sys
from tests.support.wire.grpc_service import Client
with Client(sys.argv[1], int(sys.argv[2])) as client:
    print([client.unary("Name")(b"", timeout=20) for _ in range(int(sys.argv[3]))])
"""


def redirected(directory: Path) -> Stage:
    network = {"TRAMO_REDIRECT": f"127.0.0.1:{PORT}", "TRAMO_VIP_NETWORK": "240.0.0.0/16"}
    return Stage("127.1", directory, GROUP, **network)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with task_network():
        redirect(PORT, GROUP)
        found = redirected(tmp_path_factory.mktemp("task"))
        try:
            found.sidecar.wait_ready()
            yield found
        finally:
            found.close()


def assert_reset(address: Address) -> None:
    """A call is reset, be it before or after the client has seen that it is connected."""
    with pytest.raises(ConnectionResetError), address.socket() as client:
        receive_all(client)


def listening(stage: Stage) -> set[str]:
    found: list[str] = stage.sidecar.page("/config")[1]["listening"]
    return set(found)


def test_an_app_and_an_alias_have_the_same_port(task: Stage) -> None:
    app = Backend("own-app", "0.0.0.0", 80)
    try:
        orders = task.publish("orders", task.backend("orders-1"), port=80)
        assert orders.host.startswith("240.0.")
        assert orders.get() == (200, b"orders-1")
        assert Address("127.0.0.1", 80).get() == (200, b"own-app"), "the app's own port stays the app's"
        assert Address("10.99.0.2", 80).get() == (200, b"own-app")
    finally:
        app.close()
    assert f"{orders.host} orders orders.test.local" in task.hosts.read_text()


def test_grpc_is_balanced_by_call(task: Stage) -> None:
    services = [Service(f"calls-{number}", f"127.1.240.{number}", 9000) for number in (1, 2)]
    try:
        records = [{"id": each.name, "address": each.address, "port": each.port, "state": "ready"} for each in services]
        calls = task.publish(
            "calls", *records, protocol="grpc", policy={"load_balancing": {"algorithm": "round_robin"}}
        )
        # A process of its own: the threads that grpcio connects by may be older than this namespace.
        done = subprocess.run(
            [sys.executable, "-c", CALL, calls.host, str(calls.port), "4"],
            cwd=CODE,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("calls-1") == done.stdout.count("calls-2") == 2
    finally:
        for each in services:
            each.stop()


def test_tcp_passes_both_ways_and_its_server_may_speak_first(task: Stage) -> None:
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"hello\n")
        connection.sendall(receive(connection, 3))

    backend = task.backend("greeting")
    backend.raw = greet
    with task.publish("greeter", backend, protocol="tcp", port=5432).socket() as client:
        assert receive(client, 6) == b"hello\n"
        client.sendall(b"abc")
        assert receive_all(client) == b"abc"


def test_a_service_that_changes_its_protocol_is_served_in_the_new_one(task: Stage) -> None:
    backend = task.backend("changing")
    task.publish("changing", backend, protocol="tcp")
    address = task.publish("changing", backend)
    assert address.get() == (200, b"changing")
    backend.raw = lambda connection: connection.sendall(b"raw")
    address = task.publish("changing", backend, protocol="tcp")
    with address.socket() as client:
        assert receive_all(client) == b"raw"


def test_an_address_that_no_service_has_is_reset_and_counted(task: Stage) -> None:
    def counted() -> float:
        _, text = task.sidecar.metrics()
        return sum(float(line.split()[1]) for line in text.splitlines() if 'response_flags_total{flag="NR"}' in line)

    before = counted()
    for address in (Address("240.0.99.99", 80), Address("127.0.0.1", PORT)):
        assert_reset(address)
    assert counted() == before + 2


def test_many_services_need_one_socket(task: Stage) -> None:
    before = listening(task)
    backend = task.backend("many")
    for number in range(SERVICES):
        task.api.publish(
            {
                "name": f"many-{number}",
                "protocol": "http",
                "vip": f"127.254.{7 + number // 200}.{number % 200}",
                "aliases": [{"dns_name": f"many-{number}", "port": 8080}],
                "endpoints": [backend.record()],
            }
        )
    until(lambda: len(task.sidecar.page("/clusters")[1]["clusters"]) > SERVICES, 20, "the services to be known")
    assert Address("240.0.7.0", 8080).get() == Address("240.0.8.99", 8080).get() == (200, b"many")
    assert listening(task) == before
    assert f"127.0.0.1:{PORT}" in before


def test_a_service_that_left_is_called_no_more(task: Stage) -> None:
    address = task.publish("leaving", task.backend("leaving-1"))
    assert address.get() == (200, b"leaving-1")
    task.withdraw("leaving")
    until(lambda: task.sidecar.cluster("leaving") is None, 10, "the service to be gone")
    assert_reset(address)


def test_without_rules_the_sidecar_is_not_ready_and_with_them_it_is(tmp_path: Path) -> None:
    with task_network():
        stage = redirected(tmp_path)
        try:
            until(lambda: "set proxyConfiguration" in stage.sidecar.log.read_text(), 20, "the sidecar to say so")
            status, page = stage.sidecar.page("/ready")
            assert [each["code"] for each in page["findings"]] == ["TRM0307"]
            assert (status, page["redirect"], page["snapshot"]) == (503, False, True)
            redirect(PORT, GROUP)
            stage.sidecar.wait_ready()
            assert stage.sidecar.page("/config")[1]["redirect"] == "in place"
        finally:
            stage.close()


def test_no_service_has_the_probe_address() -> None:
    from registry.dynamodb.vip_store import FIRST_VIP

    assert str(FIRST_VIP - 1) == PROBE_VIP
