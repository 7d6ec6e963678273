"""The services' names in the task's hosts file.

Rules:
- Only what stands between the two marker lines is ours; all else stays byte for byte.
- The file is written in place: in a container it is a bind mount, and renaming over it is not possible.
- IPv4 only. A second, IPv6 line made NGINX prefer an address where nobody listens
  (github.com/aws/containers-roadmap issue 2742).
- What somebody else changed in the file meanwhile is noticed by its time and size, and our part is written again.
- A file that cannot be written is reported once, with the other ways to find a service; traffic goes on.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Final

BEGIN: Final = "# tramo: services of the namespace, written by the sidecar"
END: Final = "# tramo: end"
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")

log = logging.getLogger("tramo.names")


def merge(text: str, names: dict[str, list[str]]) -> str:
    """The hosts file with these names by address; the part of ours that it had is replaced."""
    kept: list[str] = []
    ours = False  # without its end marker our part is taken to reach to the end: it was written last, and cut short
    for line in _LINES.findall(text):
        mark = line.rstrip("\r\n")
        ours = ours or mark == BEGIN
        if not ours:
            kept.append(line)
        ours = ours and mark != END
    if names:
        if kept and not kept[-1].endswith("\n"):
            kept.append("\n")
        kept += [f"{line}\n" for line in (BEGIN, *(f"{address} {' '.join(names[address])}" for address in names), END)]
    return "".join(kept)


class HostsFile:
    """The hosts file that the containers of this task share."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._failed = False
        self._written: tuple[int, int] | None = None  # time and size of the file after our last write

    def holds(self) -> bool:
        """Whether the file is as the last write left it."""
        return self._written is not None and self._written == self._signature()

    def _signature(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def write(self, names: dict[str, list[str]]) -> bool:
        """Write the names if they changed. Return whether the file holds them."""
        try:
            before = self._path.read_bytes()
            # Whatever bytes others wrote there come back as they were.
            after = merge(before.decode("utf-8", "surrogateescape"), names).encode("utf-8", "surrogateescape")
            if after != before:
                with self._path.open("r+b") as file:
                    file.write(after)
                    file.truncate()
        except OSError as error:
            if not self._failed:
                log.warning(
                    "cannot write names into %s: %s; use HTTP_PROXY, a private hosted zone or the services' "
                    "loopback addresses instead, and set TRAMO_HOSTS_FILE=off to say so",
                    *(self._path, error),
                )
            self._failed = True
            self._written = None
            return False
        self._failed = False
        self._written = self._signature()
        return True
