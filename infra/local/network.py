"""The network of a cluster's tasks: an address for each, and what that address is made of.

Two kinds: `bridge.py`, in which every task has a network namespace of its own as on ECS, and `LoopbackNetwork` below,
which needs no rights. What is used is claimed on the machine by an abstract Unix socket, which the kernel takes back
when this process ends, however it ends. So a second `tramo up`, or a test, never uses the same addresses.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from ipaddress import IPv4Network
from typing import Final, Protocol

from infra.local.definition import ProxyConfiguration
from infra.local.netns import Namespace, NetworkError
from infra.local.settings import LocalError

Claim = Callable[[str], AbstractContextManager[object] | None]


class Network(Protocol):
    """What gives tasks their addresses."""

    @property
    def host(self) -> str:
        """Return the address at which tasks reach the servers of this machine."""

    def metadata_socket(self) -> socket.socket:
        """Return a socket on which the task metadata endpoint listens."""

    def take(self) -> str:
        """Return an address that nobody has. Raises LocalError when there is none."""

    def attach(self, address: str, mac_address: str, proxy: ProxyConfiguration | None) -> Namespace | None:
        """Make the network interface; return the namespace it is in. It blocks. Raises NetworkError."""

    def give_back(self, address: str) -> None:
        """Free the address of a task that has stopped, and take its interface away."""

    def close(self) -> None:
        """Free everything."""


def claim_socket(name: str) -> AbstractContextManager[object] | None:
    """Claim a name on this machine; return what holds the claim, None if another process has it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0{name}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return holder


class LoopbackNetwork:
    """Loopback addresses: task k has 127.k.0.1, which stands for its network interface and for its own localhost.

    Nothing has to be set up: Linux takes every address of 127.0.0.0/8 as its own. The addresses above 127.k.0.1 are the
    task's own virtual addresses of services. All tasks share one namespace: an app must listen on its task's address.

    Rules:
    1. k is 1 to 250. 127.0 stays the machine's, what is above 250 is the mesh's on AWS.
    2. A free address is handed out oldest first, so that the address of a task that just stopped is not soon another's:
       a caller with an old snapshot must meet a closed port and not a stranger.
    """

    FIRST: Final = 1
    LAST: Final = 250

    def __init__(self, claim: Claim = claim_socket) -> None:
        self._claim = claim
        self._free = deque(f"127.{number}.0.1" for number in range(self.FIRST, self.LAST + 1))
        self._claims: dict[str, AbstractContextManager[object]] = {}

    @property
    def host(self) -> str:
        """Return the machine's own address."""
        return "127.0.0.1"

    def metadata_socket(self) -> socket.socket:
        """Return a listening socket on any port."""
        return socket.create_server((self.host, 0))

    def take(self) -> str:
        """Return an address that nobody has. Raises LocalError when there is none."""
        for _ in range(len(self._free)):
            address = self._free.popleft()
            if holder := self._claim(f"tramo-task-{address}"):
                self._claims[address] = holder
                return address
            self._free.append(address)
        raise LocalError(f"all {self.LAST} task addresses of this machine are in use: stop some tasks")

    def attach(self, address: str, mac_address: str, proxy: ProxyConfiguration | None) -> None:
        """Do nothing: the address is there. Raises NetworkError for a proxy, which needs a namespace."""
        if proxy is not None:
            raise NetworkError("proxyConfiguration needs a network namespace for each task: be root")

    def give_back(self, address: str) -> None:
        """Free the address of a task that has stopped."""
        self._claims.pop(address).__exit__(None, None, None)
        self._free.append(address)

    def close(self) -> None:
        """Free all addresses."""
        for address in list(self._claims):
            self.give_back(address)


def loopback_network(address: str) -> str:
    """Return the network of a task's own loopback addresses in CIDR notation."""
    return str(IPv4Network(f"{address}/16", strict=False))
