"""The network of a cluster as root has it: each task in a network namespace of its own, all of them on one bridge.

    this machine                   the cluster's namespace              a task's namespace
    tramoK 10.K.0.1 ── uplink ──── bridge ── 169.254.170.2       ┌───── eth0 10.K.0.x, default route 10.K.0.1
    AWS, ECS, the mesh's API          └── one veth for each task ┘      lo   127.0.0.0/8

A task's containers share its namespace, as on ECS: what one of them binds on 0.0.0.0 no other can. The address stands
for the ENI's; this machine reaches every task by it. The task metadata endpoint listens in the cluster's namespace, at
ECS's own address. There is no route beyond this machine.

The namespaces are held by this process (netns.py), so the kernel takes the network away when it ends, also by SIGKILL.
A connection that was under way may delay that by minutes; `close`, and the guardian after a SIGKILL, therefore delete
the interface of this machine, and with it the only thing that others can see.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections import deque
from contextlib import AbstractContextManager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from infra.local import netns, redirect
from infra.local.definition import ProxyConfiguration
from infra.local.netns import Namespace
from infra.local.network import Claim, claim_socket
from infra.local.settings import LocalError

METADATA: Final = "169.254.170.2"
_BRIDGE_MAC: Final = "0a:00:a9:fe:aa:02"
"""Its own. A bridge without one takes the lowest of its ports: when the task of that port ends, the other tasks go on
to send to an address that is gone, and reach the metadata endpoint only once they have asked for the new one."""
_NETWORKS: Final = range(64, 255)
_FIRST_TASK: Final = 16
_TASKS: Final = 500  # a bridge of Linux has at most 1,023 ports


class BridgeNetwork:
    """A bridge and what is on it. Making it blocks for a moment. Raises NetworkError if the machine refuses it."""

    def __init__(self, claim: Claim = claim_socket, routes: Path = Path("/proc/net/route")) -> None:
        self._number, self._held = _claim_network(claim, _routed(routes.read_text(encoding="ascii")))
        network = self.network
        self._free = deque(str(network[_FIRST_TASK + number]) for number in range(_TASKS))
        self._tasks: dict[str, Namespace] = {}
        self._ports = itertools.count(1)
        self._cluster = Namespace()
        try:
            self._set_up()
        except netns.NetworkError:
            self.close()
            raise

    @property
    def network(self) -> IPv4Network:
        """Return the network of all tasks."""
        return IPv4Network(f"10.{self._number}.0.0/16")

    @property
    def uplink(self) -> str:
        """Return the name of this machine's interface in the network."""
        return f"tramo{self._number}"

    @property
    def host(self) -> str:
        """Return this machine's own address in the network."""
        return str(self.network[1])

    def _set_up(self) -> None:
        netns.configure(
            [
                f"link add {self.uplink} type veth peer name uplink netns {self._cluster.path}",
                f"link set {self.uplink} addrgenmode none up",
                f"address add {self.host}/16 dev {self.uplink}",
            ]
        )
        netns.configure(
            [
                "link set lo up",
                "link add bridge type bridge mcast_snooping 0",
                f"address add {METADATA}/32 dev bridge",
                f"link set bridge address {_BRIDGE_MAC} addrgenmode none up",
                "link set uplink master bridge addrgenmode none up",
                f"route add {self.network} dev bridge src {METADATA}",
            ],
            self._cluster,
        )

    def metadata_socket(self) -> socket.socket:
        """Return a socket that listens where ECS's task metadata endpoint does."""
        return self._cluster.inside(lambda: socket.create_server((METADATA, 80)))

    def take(self) -> str:
        """Return an address that nobody has, the one that was freed the longest ago. Raises LocalError."""
        if not self._free:
            raise LocalError(f"all {_TASKS} task addresses of this cluster are in use: stop some tasks")
        return self._free.popleft()

    def attach(self, address: str, mac_address: str, proxy: ProxyConfiguration | None) -> Namespace:
        """Return a new namespace with the task's network interface in it. It blocks. Raises NetworkError."""
        port = f"task{next(self._ports)}"  # never one of before, which may be there for a moment yet
        task = Namespace()
        try:
            netns.configure(
                [
                    f"link add {port} type veth peer name eth0 netns {task.path}",
                    f"link set {port} master bridge addrgenmode none up",
                ],
                self._cluster,
            )
            netns.configure(
                [
                    "link set lo up",
                    f"link set eth0 address {mac_address} addrgenmode none up",
                    f"address add {address}/16 dev eth0",
                    f"route add default via {self.host}",
                    f"route add {METADATA} dev eth0",
                ],
                task,
            )
            if proxy is not None:
                netns.run(["iptables-restore"], redirect.rules(proxy), task)
        except netns.NetworkError:
            task.close()
            raise
        self._tasks[address] = task
        return task

    def give_back(self, address: str) -> None:
        """Free the address of a task that has stopped; its interface goes with its namespace."""
        if task := self._tasks.pop(address, None):
            task.close()
        self._free.append(address)

    def close(self) -> None:
        """Take the network away. It blocks."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._held)
            stack.callback(self._cluster.close)
            for task in self._tasks.values():
                stack.callback(task.close)
            self._tasks.clear()
            if Path("/sys/class/net", self.uplink).exists():
                netns.configure([f"link delete {self.uplink}"])


def _claim_network(claim: Claim, routed: list[IPv4Network]) -> tuple[int, AbstractContextManager[object]]:
    """Return the number of a network that no route of the machine and no other cluster has, and what holds it."""
    for number in _NETWORKS:
        if any(IPv4Network(f"10.{number}.0.0/16").overlaps(route) for route in routed):
            continue
        if holder := claim(f"tramo-network-{number}"):
            return number, holder
    raise netns.NetworkError(f"none of the networks 10.{_NETWORKS[0]}.0.0/16 to 10.{_NETWORKS[-1]}.0.0/16 is free")


def _routed(table: str) -> list[IPv4Network]:
    """Return the networks of /proc/net/route; its numbers are in the machine's byte order.

    Routes broader than /12, such as the default one, are left out: a network of ours is more specific and wins.
    """
    found: list[IPv4Network] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[n]), "little") for n in (1, 7))
        if mask.bit_count() >= 12:
            found.append(IPv4Network((destination, mask.bit_count())))
    return found
