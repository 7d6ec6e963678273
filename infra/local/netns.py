"""Network namespaces of Linux.

A namespace is held by a file descriptor of this process, by the processes that run in it and by their connections until
these have ended. When the last of them is gone, the kernel removes the namespace with every interface in it, and an
interface takes its other end along. So nothing has to be cleaned up, however this process ends, and nothing is written
to /run/netns.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from infra.local.settings import LocalError

_CLONE_NEWNET: Final = 0x40000000  # sched.h
_COMMAND_SECONDS: Final = 20.0
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class NetworkError(LocalError):
    """The machine refuses what the network of a task needs."""


class Namespace:
    """A new network namespace. Raises NetworkError if the machine refuses one."""

    def __init__(self) -> None:
        self._descriptor = _in_thread(_new)

    @property
    def path(self) -> str:
        """Return the path by which other programs find it while this process holds it."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def inside(self, work: Callable[[], T]) -> T:
        """Return what `work` returns in the namespace; a socket that it makes stays there."""

        def enter() -> T:
            _check(_LIBC.setns(self._descriptor, _CLONE_NEWNET))
            return work()

        return _in_thread(enter)

    def set_control(self, name: str, value: str) -> None:
        """Set a kernel parameter of the namespace, such as net.ipv4.tcp_syncookies. Raises NetworkError."""
        path = Path("/proc/sys", *name.split("."))
        try:
            self.inside(lambda: path.write_text(value, encoding="ascii"))
        except OSError as error:
            raise NetworkError(f"systemControls {name}={value}: {error.strerror}") from error

    def close(self) -> None:
        """Let go of it. What runs in it keeps it until its end."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def configure(commands: Sequence[str], namespace: Namespace | None = None) -> None:
    """Run commands of `ip` in the namespace, else in that of this process. Raises NetworkError."""
    run(["ip", "-batch", "-"], "\n".join(commands), namespace)


def run(argv: Sequence[str], stdin: str, namespace: Namespace | None) -> None:
    """Run a program in the namespace, else in that of this process. Raises NetworkError."""
    enter = [] if namespace is None else ["nsenter", f"--net={namespace.path}"]
    try:
        done = subprocess.run(  # noqa: S603 - our own commands
            [*enter, *argv], input=stdin, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NetworkError(f"{argv[0]}: {error}") from error
    if done.returncode:
        raise NetworkError(f"{argv[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")


def missing() -> str | None:
    """Return why this process cannot make networks for tasks, None if nothing is known to be missing."""
    if os.geteuid():
        return "only root may make network namespaces"
    absent = [program for program in ("ip", "nsenter", "unshare") if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not found (Debian: iproute2, util-linux)"
    try:
        Namespace().close()
    except NetworkError as error:  # root of a container without CAP_SYS_ADMIN
        return str(error)
    return None


def _new() -> int:
    _check(_LIBC.unshare(_CLONE_NEWNET))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int) -> None:
    if result:
        raise NetworkError(f"network namespace: {os.strerror(ctypes.get_errno())}")


def _in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns in a thread of its own, which may change its namespace: it ends with it."""
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="network namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
