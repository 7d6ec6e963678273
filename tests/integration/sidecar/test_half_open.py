"""A connection that only this side still believes in: a firewall, or a host that is gone, takes what is sent on it."""

from __future__ import annotations

import subprocess
from http.client import HTTPConnection
from pathlib import Path

from tests.support.proxy.sidecar import stage
from tests.support.proxy.task_network import task_network
from tests.support.wire.http2_server import Http2Server


def test_a_request_outlives_the_half_open_connection_that_it_was_sent_on(tmp_path: Path) -> None:
    with task_network(), stage(tmp_path) as case:
        server = Http2Server("half-open", "127.0.0.1")
        try:
            address = case.publish("half-open", server.record(), protocol="http2")
            client = HTTPConnection(address.host, address.port, timeout=30)
            client.request("GET", "/")
            assert client.getresponse().read() == b""
            (_, port) = server.peers[0].socket.getpeername()
            drop = f"-A INPUT -p tcp --sport {port} --dport {server.port} -j DROP"
            subprocess.run(["iptables", "-w", *drop.split()], check=True)
            client.request("GET", "/")
            response = client.getresponse()
            assert (response.status, response.read()) == (200, b"")
            assert len(server.peers) == 2
            client.close()
        finally:
            server.close()
