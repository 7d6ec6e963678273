"""The services' names in the task's hosts file.

Rules:
- Only what stands between the two marker lines is ours; all else stays byte for byte.
- The file is written in place: in a container it is a bind mount, and renaming over it is not possible.
- IPv4 only. A second, IPv6 line made NGINX prefer an address where nobody listens
  (github.com/aws/containers-roadmap issue 2742).
- What somebody else changed in the file meanwhile is noticed by its time and size, and our part is written again.
- A file that cannot be written is a finding, with the other ways to find a service; traffic goes on.
- Lines of Service Connect, which uses 127.255.0.0/16, are a finding: where both have a name, its line comes first.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from sidecar.core.findings import Finding, hosts_not_written, service_connect

BEGIN: Final = "# tramo: services of the namespace, written by the sidecar"
END: Final = "# tramo: end"
SERVICE_CONNECT_PREFIX: Final = "127.255."
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")


def merge(text: str, names: dict[str, list[str]]) -> str:
    """Return the hosts file with these names by address; the part of ours that it had is replaced."""
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


def names_of_service_connect(text: str) -> list[str]:
    """Return the names in the lines that ECS wrote for Service Connect."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if address.startswith(SERVICE_CONNECT_PREFIX):
            found.update(dict.fromkeys(names))
    return list(found)


class HostsFile:
    """The hosts file that the containers of this task share."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._error = ""
        self._service_connect: list[str] = []  # its names
        self._written: tuple[int, int] | None = None  # time and size of the file after our last write

    def holds(self) -> bool:
        """Return whether the file is as the last write left it."""
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
            text = before.decode("utf-8", "surrogateescape")
            self._service_connect = names_of_service_connect(text)
            after = merge(text, names).encode("utf-8", "surrogateescape")
            if after != before:
                with self._path.open("r+b") as file:
                    file.write(after)
                    file.truncate()
        except OSError as error:
            self._error = error.strerror or str(error)
            self._written = None
            return False
        self._error = ""
        self._written = self._signature()
        return True

    def findings(self) -> list[Finding]:
        """Return what is wrong with the file, as it was when it was last written."""
        found = []
        if self._error:
            found.append(hosts_not_written(str(self._path), self._error))
        if self._service_connect:
            found.append(service_connect(str(self._path), self._service_connect))
        return found
