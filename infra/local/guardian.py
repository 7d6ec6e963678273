"""The last one out: a small process that kills what a dead `tramo up` left behind.

It reads lines from standard input: ``+GROUP`` when a process group was started, ``-GROUP`` when it has ended, and
``=INTERFACE`` when there is a network interface. The end of the input means that the parent is gone, however it went
(also by SIGKILL); then every group still listed gets SIGKILL, and the interfaces are deleted. It has a session of its
own, so that Ctrl-C in the terminal does not reach it, and imports nothing that takes time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable


def watch(lines: Iterable[str]) -> tuple[set[int], list[str]]:
    """Return the process groups and the network interfaces that are left when the input ends."""
    groups: set[int] = set()
    interfaces: list[str] = []
    for line in lines:
        sign, name = line[0], line[1:].strip()
        if sign == "=":
            interfaces.append(name)
        elif sign == "+":
            groups.add(int(name))
        else:
            groups.discard(int(name))
    return groups, interfaces


def main() -> None:
    """Watch standard input, then kill what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups, interfaces = watch(sys.stdin)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):  # it ended in the same moment
            os.killpg(group, signal.SIGKILL)
    for interface in interfaces:
        if os.path.exists(f"/sys/class/net/{interface}"):
            os.spawnlp(os.P_WAIT, "ip", "ip", "link", "delete", interface)  # noqa: S606 - our own name


if __name__ == "__main__":
    main()
