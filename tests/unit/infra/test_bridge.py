"""The network of a cluster on a real kernel: needs root, as `tramo up` does for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import netns
from infra.local.bridge import BridgeNetwork, _routed
from infra.local.netns import Namespace
from tests.support.waiting import until

MACS = [f"0e:00:00:00:00:0{number}" for number in range(4)]

needs_root = pytest.mark.skipif(netns.missing() is not None, reason=str(netns.missing()))


@pytest.fixture
def network() -> Iterator[BridgeNetwork]:
    made = BridgeNetwork()
    yield made
    made.close()


def serve(namespace: Namespace, address: str = "0.0.0.0", port: int = 8080) -> socket.socket:
    return namespace.inside(lambda: socket.create_server((address, port)))


def call(namespace: Namespace | None, address: str, port: int = 8080) -> socket.socket:
    if namespace is None:
        return socket.create_connection((address, port), 5)
    return namespace.inside(lambda: socket.create_connection((address, port), 5))


def ip(namespace: Namespace, *words: str) -> str:
    enter = ["nsenter", f"--net={namespace.path}"]
    return subprocess.run([*enter, "ip", *words], capture_output=True, text=True, check=True).stdout


def hardware_address(namespace: Namespace, address: str) -> str:
    """Return where the namespace sends what is for an address of its own network."""
    return ip(namespace, "neigh", "show", address).partition("lladdr ")[2].split()[0]


@needs_root
def test_tasks_with_the_same_ports_reach_each_other_by_their_addresses(network: BridgeNetwork) -> None:
    first, second = network.take(), network.take()
    one, other = network.attach(first, MACS[0], None), network.attach(second, MACS[1], None)
    with serve(one) as app, serve(other), call(other, first):
        accepted, peer = app.accept()
        accepted.close()
        assert peer[0] == second
        with call(None, first):
            accepted, peer = app.accept()
            accepted.close()
        assert peer[0] == network.host, "the machine reaches every task"


@needs_root
def test_containers_of_one_task_exclude_each_other_on_a_port(network: BridgeNetwork) -> None:
    task = network.attach(network.take(), MACS[0], None)
    with serve(task), pytest.raises(OSError, match="Address already in use"):
        serve(task, "127.254.0.2")


@needs_root
def test_a_task_reaches_the_machine_and_the_metadata_endpoint(network: BridgeNetwork) -> None:
    address = network.take()
    task = network.attach(address, MACS[0], None)
    with network.metadata_socket() as metadata, call(task, "169.254.170.2", 80):
        accepted, peer = metadata.accept()
        accepted.close()
        assert peer[0] == address
    with socket.create_server((network.host, 0)) as server, call(task, network.host, server.getsockname()[1]):
        accepted, peer = server.accept()
        accepted.close()
        assert peer[0] == address


@needs_root
def test_the_metadata_endpoint_keeps_its_hardware_address_when_tasks_come_and_go(network: BridgeNetwork) -> None:
    stays = network.attach(network.take(), MACS[0], None)
    seen = []
    with network.metadata_socket() as metadata:
        for _ in range(9):
            with call(stays, "169.254.170.2", 80):
                metadata.accept()[0].close()
            seen.append(hardware_address(stays, "169.254.170.2"))
            ip(stays, "neigh", "flush", "all")
            network.attach(network.take(), MACS[1], None)  # its port on the bridge has a random hardware address
    assert len(set(seen)) == 1


@needs_root
def test_the_address_of_a_task_that_has_stopped_comes_back_last(network: BridgeNetwork) -> None:
    address = network.take()
    network.attach(address, MACS[0], None)
    network.give_back(address)
    assert network.take() != address
    network.attach(address, MACS[1], None)  # although the first interface may be there for a moment yet


@needs_root
def test_clusters_have_networks_of_their_own_and_leave_nothing() -> None:
    first, second = BridgeNetwork(), BridgeNetwork()
    assert not first.network.overlaps(second.network)
    for network in (first, second):
        network.attach(network.take(), MACS[0], None)
        network.close()
        assert not interface(network.uplink).exists()


LEAVING = """
import time
from infra.local.bridge import BridgeNetwork
network = BridgeNetwork()
network.attach(network.take(), "0e:00:00:00:00:01", None)
print(network.uplink, flush=True)
time.sleep(60)
"""


@needs_root
def test_the_kernel_takes_the_network_away_when_its_process_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", LEAVING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        uplink = process.stdout.readline().strip()
        assert interface(uplink).exists()
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: not interface(uplink).exists(), 20, "the end of the network")


def interface(name: str) -> Path:
    return Path("/sys/class/net", name)


def test_networks_that_the_machine_has_routes_to_are_seen() -> None:
    table = (
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        "vpn0 0000400A 00000000 0001 0 0 0 0000FFFF 0 0 0\n"
        "vpn1 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n"
    )
    assert [str(network) for network in _routed(table)] == ["192.0.2.0/24", "10.64.0.0/16"]


@needs_root
def test_a_network_that_the_machine_has_a_route_to_is_left_alone(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text("Iface\neth0 0000400A 0 1 0 0 0 0000FFFF 0 0 0\n")
    made = BridgeNetwork(routes=routes)
    try:
        assert made.host != "10.64.0.1"
    finally:
        made.close()
