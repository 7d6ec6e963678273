"""A sidecar that has no file descriptor left for its clients."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from sidecar.proxy.base.clients import UNUSED_SECONDS
from sidecar.proxy.base.descriptors import RESERVED
from tests.support.proxy.sidecar import Address, stage
from tests.support.waiting import until

CLIENTS = 60


@pytest.mark.parametrize("protocol", ["http", "tcp"])
def test_the_admin_port_answers_when_clients_have_all_descriptors(tmp_path: Path, protocol: str) -> None:
    with stage(tmp_path) as case, ExitStack() as clients:
        address = case.publish("crowded", case.backend("crowded-1"), protocol=protocol)
        pid = case.sidecar.process.pid
        limit = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + RESERVED + CLIENTS // 2
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        crowd = [clients.enter_context(socket.create_connection((address.host, address.port))) for _ in range(CLIENTS)]
        until(lambda: _closed(crowd), 5, "the first client to be closed")
        for _ in range(20):
            assert case.sidecar.page("/live")[0] == 200
        lines = [line for line in case.sidecar.log.read_text().splitlines() if "file descriptor" in line]
        assert len(lines) == 1
        assert str(limit) in lines[0]
        assert [endpoint["health"] for endpoint in case.sidecar.cluster("crowded")["endpoints"]] == ["healthy"]
        clients.close()
        until(lambda: protocol == "tcp" or _serves(address), 5, "the service")


def test_a_crowd_that_only_stays_loses_its_descriptors_to_those_who_ask(tmp_path: Path) -> None:
    with stage(tmp_path) as case, ExitStack() as clients:
        address = case.publish("crowded", case.backend("crowded-1"))
        pid = case.sidecar.process.pid
        limit = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + RESERVED + CLIENTS // 2
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        crowd = [clients.enter_context(socket.create_connection((address.host, address.port))) for _ in range(CLIENTS)]
        until(lambda: _closed(crowd), 5, "the first client to be closed")
        until(lambda: _serves(address), 2 * UNUSED_SECONDS, "the service")
        assert case.sidecar.page("/stats")[1]["clients"]["closed_unused"] > 0


def _serves(address: Address) -> bool:
    """Whether it answers. It closes new connections as long as it has not seen the end of the old ones."""
    with suppress(HTTPException, OSError):
        return address.get()[0] == 200
    return False


def _closed(crowd: list[socket.socket]) -> bool:
    """Whether the sidecar has closed at least one."""
    for client in crowd:
        client.setblocking(False)
        try:
            if client.recv(1) == b"":
                return True
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return True
    return False
