"""The last one out: a small process that kills what a dead `tramo up` left behind.

It reads lines from standard input: ``+GROUP`` when a process group was started, ``-GROUP`` when it has ended.
The end of the input means that the parent is gone, however it went (also by SIGKILL); then every group still
listed gets SIGKILL. It has a session of its own, so that Ctrl-C in the terminal does not reach it, and
imports nothing that takes time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable


def watch(lines: Iterable[str]) -> set[int]:
    """Return the process groups that are left when the input ends."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def main() -> None:
    """Watch standard input, then kill what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in watch(sys.stdin):
        with contextlib.suppress(ProcessLookupError):  # it ended in the same moment
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
