"""The redirection that ECS makes for a proxy: its rules, and what they do in a real network namespace."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network

import pytest

from infra.local import netns
from infra.local.bridge import BridgeNetwork
from infra.local.definition import ProxyConfiguration
from infra.local.redirect import rules

VIP = "240.0.0.7"
NOT_VIPS = tuple(str(n) for n in IPv4Network("0.0.0.0/0").address_exclude(IPv4Network("240.0.0.0/4")))
EGRESS = ProxyConfiguration(15001, ignored_gid=1337, ignored_networks=NOT_VIPS)
SO_ORIGINAL_DST = 80

needs_root = pytest.mark.skipif(netns.missing() is not None, reason=str(netns.missing()))


def test_the_rules_of_egress_are_in_the_order_of_the_plugin() -> None:
    proxy = ProxyConfiguration(
        15001, ignored_uid=7, ignored_gid=8, ignored_ports=(22, 23), ignored_networks=("10.0.0.0/8",)
    )
    assert rules(proxy).splitlines() == [
        "*nat",
        ":APPMESH_EGRESS - [0:0]",
        "-A APPMESH_EGRESS -m owner --uid-owner 7 -j RETURN",
        "-A APPMESH_EGRESS -m owner --gid-owner 8 -j RETURN",
        "-A APPMESH_EGRESS -p tcp -m multiport --dports 22,23 -j RETURN",
        "-A APPMESH_EGRESS -p tcp -d 10.0.0.0/8 -j RETURN",
        "-A APPMESH_EGRESS -p tcp -d 169.254.170.2 -j RETURN",
        "-A APPMESH_EGRESS -p tcp -d 169.254.169.254 -j RETURN",
        "-A APPMESH_EGRESS -p tcp -j REDIRECT --to-ports 15001",
        "-A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j APPMESH_EGRESS",
        "COMMIT",
    ]


def test_the_rules_of_ingress_take_fifteen_ports() -> None:
    ports = tuple(range(8000, 8020))
    text = rules(ProxyConfiguration(15001, ingress_port=15000, app_ports=ports, ignored_uid=7))
    assert f"--dports {','.join(map(str, ports[:15]))} -j REDIRECT --to-ports 15000" in text
    assert "8015" not in text
    assert "INGRESS" not in rules(ProxyConfiguration(15001, app_ports=ports, ignored_uid=7)), "no port to send them to"


def talk(network: BridgeNetwork, work: Callable[[str], None], proxy: ProxyConfiguration = EGRESS) -> None:
    """Do work in a task with the proxy's rules, given its address."""
    address = network.take()
    network.attach(address, "0e:00:00:00:00:01", proxy).inside(lambda: work(address))


@pytest.fixture
def network() -> Iterator[BridgeNetwork]:
    made = BridgeNetwork()
    yield made
    made.close()


@needs_root
def test_a_call_to_a_virtual_address_reaches_the_proxy_which_learns_where_it_was_meant_for(
    network: BridgeNetwork,
) -> None:
    def work(address: str) -> None:
        with (
            socket.create_server(("0.0.0.0", 8080)),  # the app has the very port
            socket.create_server(("127.0.0.1", 15001)) as proxy,
            socket.create_connection((VIP, 8080), 5),
        ):
            accepted, _ = proxy.accept()
            port, destination = struct.unpack("!2xH4s8x", accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
            assert (socket.inet_ntoa(destination), port) == (VIP, 8080)
            accepted.close()

    talk(network, work)


@needs_root
def test_other_traffic_and_that_of_the_proxy_are_left_alone(network: BridgeNetwork) -> None:
    def work(address: str) -> None:
        with socket.create_server(("127.0.0.1", 15001)) as proxy, socket.create_server((address, 8080)) as app:
            proxy.setblocking(False)
            with socket.create_connection((address, 8080), 5):
                app.accept()[0].close()
            with socket.create_connection((network.host, server.getsockname()[1]), 5):
                server.accept()[0].close()
            with pytest.raises(BlockingIOError):
                proxy.accept()

    with socket.create_server((network.host, 0)) as server:
        talk(network, work)


@needs_root
def test_calls_from_elsewhere_to_an_app_port_reach_the_ingress_port(network: BridgeNetwork) -> None:
    proxy = ProxyConfiguration(15001, ingress_port=15000, app_ports=(8080,), ignored_gid=1337)
    address = network.take()
    task = network.attach(address, "0e:00:00:00:00:01", proxy)
    with (
        task.inside(lambda: socket.create_server(("0.0.0.0", 15000))) as ingress,
        socket.create_connection((address, 8080), 5),
    ):
        ingress.accept()[0].close()
