"""What a container's process is put into: its task's network namespace, hosts file and user.

On ECS the containers of a task share one hosts file, into which the sidecar writes the names of services. Here every
task has such a file in its folder, and its containers run in mount namespaces of their own in which that file lies over
/etc/hosts. A task with a network namespace gets a resolv.conf too: the machine's name servers cannot be reached from
it, and a look-up of an unknown name should fail and not wait.

Mount namespaces need root, or user namespaces that the kernel allows. Without either, apps get HTTP_PROXY instead
(environment.py), which carries HTTP only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra.local.environment import Place

HOSTS: Final = Path("/etc/hosts")
RESOLVER: Final = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""Nobody listens there unless a container of the task does: a look-up fails at once."""

# exec keeps one process all the way: the signals that we send reach the app, and its exit code reaches us.
_SCRIPT: Final = 'mount --bind "$0" /etc/hosts && exec "$@"'
# Docker makes /etc/hosts read-only with the root file system (moby, NetworkMounts).
_READ_ONLY: Final = 'mount -o remount,bind,ro /etc/hosts && mount -o remount,bind,ro / && exec "$@"'
_SCRIPT_WITH_RESOLVER: Final = (
    'if [ -e /etc/resolv.conf ]; then mount --bind "$(dirname "$0")/resolv.conf" /etc/resolv.conf || exit; fi; '
    + _SCRIPT
)


def prepare(place: Place) -> None:
    """Write the files of a task that its containers will see."""
    place.directory.mkdir(parents=True)
    place.hosts.write_bytes(HOSTS.read_bytes())
    (place.directory / "resolv.conf").write_text(RESOLVER, encoding="ascii")


def command(argv: Sequence[str], place: Place, user: str | None, read_only: bool = False) -> list[str]:
    """Return the command that runs argv where the task lives, as the user of the container, root if it names none."""
    whole = [*_as_user(user), *argv]
    if place.private_hosts:
        if read_only:
            whole = ["sh", "-c", _READ_ONLY, "sh", *whole]
        whole = wrap(whole, place.hosts, _SCRIPT if place.namespace is None else _SCRIPT_WITH_RESOLVER)
    if place.namespace is not None:
        whole = ["nsenter", f"--net={place.namespace.path}", *whole]
    return whole


def wrap(argv: Sequence[str], hosts: Path, script: str = _SCRIPT, *, root: bool = os.geteuid() == 0) -> list[str]:
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
        script,
        str(hosts),
        *argv,
    ]


def _as_user(user: str | None) -> list[str]:
    """Return what changes to a container's user, as root only: nobody else may."""
    if user is None or os.geteuid():
        return []
    uid, _, gid = user.partition(":")
    # An image's files can be read by its user; here they may lie in the home of root.
    keep = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"] if uid != "0" else []
    return ["setpriv", f"--reuid={uid}", f"--regid={gid or uid}", "--clear-groups", *keep]


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
