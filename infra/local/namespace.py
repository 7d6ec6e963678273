"""Each task's own /etc/hosts.

On ECS the containers of a task share one hosts file, into which the sidecar writes the names of services.
Here every task has such a file in its folder, and app containers run in a mount namespace of their own in
which that file lies over /etc/hosts. The sidecar is not put there: it writes the file by its path, in place,
and the bind mount shows it.

Mount namespaces need root, or user namespaces that the kernel allows. Without either, apps get HTTP_PROXY
instead (environment.py), which carries HTTP only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HOSTS: Final = Path("/etc/hosts")

# exec keeps one process all the way: the signals that we send reach the app, and its exit code reaches us.
_SCRIPT: Final = 'mount --bind "$0" /etc/hosts && exec "$@"'


def wrap(argv: Sequence[str], hosts: Path, *, root: bool = os.geteuid() == 0) -> list[str]:
    """Return the command that runs argv with `hosts` in the place of /etc/hosts."""
    identity = [] if root else ["--user", "--map-root-user"]
    return [
        "unshare",
        *identity,
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _SCRIPT,
        str(hosts),
        *argv,
    ]


def usable(directory: Path) -> bool:
    """Try it: say whether this machine lets a process have a hosts file of its own."""
    sample = directory / "hosts.probe"
    sample.write_text("127.1.0.2 probe\n", encoding="ascii")
    try:
        done = subprocess.run(  # noqa: S603 - the command is built above
            wrap(["cat", str(HOSTS)], sample),
            capture_output=True,
            timeout=10,
            check=False,
        )
    except OSError:  # no unshare on this machine
        return False
    finally:
        sample.unlink()
    return done.returncode == 0 and done.stdout == b"127.1.0.2 probe\n"
