"""The last good snapshot on disk, for a start while the control plane is away.

Rules:
- Written whole to a file beside it and renamed, so a reader never sees half of one.
- A file that cannot be read, or is not a snapshot of this namespace, is reported and ignored.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from sidecar.core.snapshot import Snapshot, SnapshotError, apply, decode, encode

log = logging.getLogger("tramo.cache")


class SnapshotCache:
    """A snapshot in a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._failed = False

    def load(self, namespace: str) -> Snapshot | None:
        """The snapshot on disk, or None when there is none that can be used."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read the cached snapshot %s: %s", self._path, error)
            return None
        try:
            return apply(None, decode(data, namespace))
        except SnapshotError as error:
            log.warning("the cached snapshot %s is ignored: %s", self._path, error)
            return None

    def store(self, snapshot: Snapshot) -> bool:
        """Write the snapshot. Return whether it stands on disk; the first failure in a row is logged."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".snapshot-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(encode(snapshot))
                os.replace(name, self._path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            if not self._failed:
                log.warning("cannot write the snapshot to %s: %s; a restart will need the API", self._path, error)
            self._failed = True
            return False
        self._failed = False
        return True
