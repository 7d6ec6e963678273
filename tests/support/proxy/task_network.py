"""A network namespace as ECS gives one to a task, with the rules that it makes of `proxyConfiguration`. Needs root.

The thread that enters it has it until the end, with all sockets, threads and processes that it makes there.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

CLONE_NEWNET: Final = 0x40000000
ADDRESS: Final = "10.99.0.2"
ALL_BUT_RESERVED: Final = "0.0.0.0/1,128.0.0.0/2,192.0.0.0/3,224.0.0.0/4"

_INTERFACE: Final = (
    "ip link set lo up",
    "ip link add eth0 type veth peer name cable",
    f"ip address add {ADDRESS}/24 dev eth0",
    "ip link set eth0 up",
    "ip link set cable up",
    "ip route add default via 10.99.0.1",
)


@contextmanager
def task_network() -> Iterator[str]:
    """Enter a namespace with an address of its own, and yield that address."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a network namespace")
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as outside:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"this root cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            for command in _INTERFACE:
                subprocess.run(command.split(), check=True)
            yield ADDRESS
        finally:
            assert libc.setns(outside.fileno(), CLONE_NEWNET) == 0


def redirect(port: int, ignored_group: int) -> None:
    """The egress rules of ECS's plugin `aws-appmesh`, in the namespace at hand: all but 240.0.0.0/4 is ignored."""
    for rule in (
        "-N APPMESH_EGRESS",
        f"-A APPMESH_EGRESS -m owner --gid-owner {ignored_group} -j RETURN",
        f"-A APPMESH_EGRESS -p tcp -d {ALL_BUT_RESERVED} -j RETURN",
        f"-A APPMESH_EGRESS -p tcp -j REDIRECT --to {port}",
        "-A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j APPMESH_EGRESS",
    ):
        subprocess.run(["iptables", "-w", "-t", "nat", *rule.split()], check=True)
