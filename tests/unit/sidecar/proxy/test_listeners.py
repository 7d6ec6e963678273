"""Listeners that close while no file descriptor is left."""

from __future__ import annotations

import subprocess
import sys

UNBOUND = """
import asyncio, resource, socket
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.listeners import Address, Listeners

class Listener:
    accept = asyncio.Protocol

async def main():
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = Address(*found.getsockname())
    listeners = Listeners(Runtime(asyncio.get_running_loop()))
    print(await listeners.bind(address, Listener()))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    listeners.unbind(address)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    print(listeners.addresses(), await listeners.bind(address, Listener()))

asyncio.run(main())
"""


def test_a_listener_closes_and_can_be_bound_again() -> None:
    done = subprocess.run([sys.executable, "-c", UNBOUND], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", "[] True"]
    assert "no file descriptor is left" in done.stderr
