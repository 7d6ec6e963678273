"""The last good snapshot on disk, for a start while the control plane is away.

Rules:
- The file is a journal: a whole document, then the deltas that came after it, each as the API sent it with its length
  and checksum before it. One change in a large namespace costs a few KB of writing, not all of it.
- A whole document is written to a file beside it and renamed, so a reader never sees half of one. When the deltas
  have grown as long as the document, all is written again.
- What cannot be read is reported and ignored: a damaged end leaves the snapshot before it, a damaged beginning, or a
  snapshot of another namespace, none.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.core.snapshot import Snapshot, SnapshotError, apply, decode, encode

MINIMUM_DELTA_BYTES: Final = 65_536
"""Deltas are kept up to this length at least: a small document need not be written again with each of them."""
_MAGIC: Final = b"tramo-snapshot-1"
_LENGTH_DIGITS: Final = 12

log = logging.getLogger("tramo.cache")


class SnapshotCache:
    """A snapshot in a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._failed = False
        self._revision = 0  # of the file as this process wrote it; 0 = it can be added to nowhere
        self._document_bytes = 0
        self._delta_bytes = 0

    def load(self, namespace: str) -> Snapshot | None:
        """Return the snapshot on disk, or None when there is none that can be used."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read the cached snapshot %s: %s", self._path, error)
            return None
        snapshot: Snapshot | None = None
        try:
            for body in _bodies(data):
                snapshot = apply(snapshot, decode(body, namespace))
        except SnapshotError as error:
            kept = "all of it" if snapshot is None else f"what follows revision {snapshot.revision}"
            log.warning("the cached snapshot %s is damaged, %s is ignored: %s", self._path, kept, error)
        return snapshot

    def store(self, snapshot: Snapshot, body: bytes = b"", since: int | None = None) -> bool:
        """Write the snapshot. Return whether it stands on disk; the first failure in a row is logged.

        `body` is the document that led to it, a delta if it has `since`. Without one the snapshot itself is written.
        """
        try:
            if body and since and since <= self._revision and self._has_room(body):
                self._append(body)
            else:
                self._replace(body if body and since is None else encode(snapshot))
        except OSError as error:
            if not self._failed:
                log.warning("cannot write the snapshot to %s: %s; a restart will need the registry", self._path, error)
            self._failed = True
            self._revision = 0
            return False
        self._failed = False
        self._revision = snapshot.revision
        return True

    def _has_room(self, body: bytes) -> bool:
        return self._delta_bytes + len(body) <= max(self._document_bytes, MINIMUM_DELTA_BYTES)

    def _append(self, body: bytes) -> None:
        # Not created again: a file that somebody took away would begin with a delta.
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND), "wb", buffering=0) as file:
            framed = _framed(body)
            if file.write(framed) != len(framed):
                raise OSError(f"only a part of {len(framed)} bytes could be written")
        self._delta_bytes += len(body)

    def _replace(self, body: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".snapshot-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_framed(body))
            os.replace(name, self._path)
        except BaseException:
            os.unlink(name)
            raise
        self._document_bytes, self._delta_bytes = len(body), 0


def _framed(body: bytes) -> bytes:
    return b"%s %d %08x\n%s\n" % (_MAGIC, len(body), zlib.crc32(body), body)


def _bodies(data: bytes) -> Iterator[bytes]:
    """Yield the documents in a journal. Raises SnapshotError where one is not whole."""
    at = 0
    while at < len(data) or not at:
        end = data.find(b"\n", at)
        header = data[at : end if end >= 0 else at].split(b" ")
        if len(header) != 3 or header[0] != _MAGIC or not (header[1].isdigit() and len(header[1]) <= _LENGTH_DIGITS):
            raise SnapshotError(f"no document begins at byte {at}")
        begin, at = end + 1, end + 1 + int(header[1]) + 1
        body = data[begin : at - 1]
        if data[at - 1 : at] != b"\n" or b"%08x" % zlib.crc32(body) != header[2]:
            raise SnapshotError(f"the document at byte {begin} is cut short or its checksum is wrong")
        yield body
