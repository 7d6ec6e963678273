"""Network addresses of tasks: task k has the loopback network 127.k.0.0/16.

127.k.0.1 stands for the task's network interface and for its own localhost; the addresses above it are the
task's own virtual addresses of services. Nothing has to be set up: Linux takes every address of 127.0.0.0/8
as its own.

Rules:
1. k is 1 to 250. 127.0 stays the machine's, 127.254 is what the mesh uses on AWS.
2. A free network is handed out oldest first, so that the address of a task that just stopped is not soon
   another's: a caller with an old snapshot must meet a closed port and not a stranger.
3. A network is claimed on the machine by an abstract Unix socket, which the kernel takes back when this
   process ends, however it ends. So a second `tramo up`, or a test, never uses the same addresses.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from infra.local.settings import LocalError

FIRST: Final = 1
LAST: Final = 250


def address(index: int) -> str:
    """Return the address that stands for the network interface of the task with this index."""
    return f"127.{index}.0.1"


def network(index: int) -> str:
    """Return the network of the task with this index in CIDR notation."""
    return f"127.{index}.0.0/16"


def claim_socket(index: int) -> AbstractContextManager[object] | None:
    """Claim the network on this machine; return what holds the claim, None if another process has it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0tramo-task-network-{index}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return holder


class Networks:
    """Hands out task networks."""

    def __init__(self, claim: Callable[[int], AbstractContextManager[object] | None] = claim_socket) -> None:
        self._claim = claim
        self._free = deque(range(FIRST, LAST + 1))
        self._claims: dict[int, AbstractContextManager[object]] = {}

    def take(self) -> int:
        """Return the index of a network that nobody has. Raises LocalError when there is none."""
        for _ in range(len(self._free)):
            index = self._free.popleft()
            if holder := self._claim(index):
                self._claims[index] = holder
                return index
            self._free.append(index)
        raise LocalError(f"all {LAST} task networks of this machine are in use: stop some tasks")

    def close(self) -> None:
        """Free all networks."""
        for index in list(self._claims):
            self.give_back(index)

    def give_back(self, index: int) -> None:
        """Free the network of a task that has stopped."""
        self._claims.pop(index).__exit__(None, None, None)
        self._free.append(index)
