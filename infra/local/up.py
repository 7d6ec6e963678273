"""How a machine comes up for a folder: its state folder, the machine, and the socket that its commands use.

There is one machine for a state folder: a second is refused while the first listens on the control socket.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from infra.local import folder
from infra.local.control import Control
from infra.local.httpserver import HttpServer
from infra.local.machine import Machine
from infra.local.settings import LocalError, Settings


@asynccontextmanager
async def machine(settings: Settings) -> AsyncIterator[tuple[Machine, Control]]:
    """Bring up the folder of the settings; at the end nothing is left running. Raises LocalError."""
    wanted = folder.read(settings.image_directory, settings.region)
    _prepare(settings)
    made = Machine(settings, wanted.cluster)
    control = Control(made)
    server = HttpServer(control.handle)
    async with AsyncExitStack() as stack:
        await made.start(stack)
        made.create(wanted)
        await server.listen_unix(settings.control_socket)
        stack.callback(settings.control_socket.unlink, missing_ok=True)
        stack.push_async_callback(server.close)
        yield made, control


def _prepare(settings: Settings) -> None:
    """Make the state folder and clear what an earlier run left."""
    try:
        settings.state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LocalError(
            f"{settings.state_directory} cannot hold the cluster's files ({error.strerror}): choose another --state-dir"
        ) from error
    if len(str(settings.control_socket)) > 100:  # sun_path has 108 bytes
        raise LocalError(f"{settings.control_socket} is too long for a Unix socket: set TRAMO_STATE_DIR")
    if is_up(settings.control_socket):
        raise LocalError(f"a cluster is up already in {settings.state_directory}: tramo down, or set TRAMO_STATE_DIR")
    settings.control_socket.unlink(missing_ok=True)
    shutil.rmtree(settings.state_directory / "tasks", ignore_errors=True)
    (settings.state_directory / "functions.log").unlink(missing_ok=True)


def is_up(path: Path) -> bool:
    """Say whether somebody listens on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
