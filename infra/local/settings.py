"""How the one machine differs from AWS: shorter times, and where it keeps its files.

Each time below stands for one that ECS, Lambda or EventBridge has; a laptop has no reason to wait as long.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ACCOUNT: Final = "123456789012"
"""AWS's documentation account; moto's default account too."""

ACCESS_KEY: Final = "AKIDLOCALTRAMO000000"
SECRET_KEY: Final = "local-secret-key-of-no-value"  # noqa: S105 - signs requests to this machine only

REPOSITORY: Final = Path(__file__).resolve().parents[2]


MEBIBYTES_PER_TASK: Final = 160
"""What a task takes at most while a deployment has it twice: a sidecar, a small app and their checks."""

_MOST_TASKS: Final = 200


def capacity() -> int:
    """Return how many tasks all services together may want on this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return max(1, min(_MOST_TASKS, memory // MEBIBYTES_PER_TASK))


class LocalError(Exception):
    """The local ECS cannot do what was asked; the message says what to change."""


def sidecar_command(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return what starts a sidecar: the program that TRAMO_SIDECAR names, else the source of this interpreter.

    `make demo` names the compiled one. Raises LocalError when the program is not there.
    """
    program = environment.get("TRAMO_SIDECAR")
    if not program:
        return (sys.executable, "-m", "sidecar")
    if not os.access(program, os.X_OK):
        raise LocalError(f"TRAMO_SIDECAR={program} is not a program that can be run; unset it, or run `make demo`")
    return (str(Path(program).absolute()),)


@dataclass(frozen=True, slots=True)
class Settings:
    """The times of the local ECS, in seconds, and its places."""

    state_directory: Path
    image_directory: Path  # where containers' commands run: the folder that was brought up
    region: str = "us-east-1"
    names: str = "auto"  # how apps find services: "hosts", "proxy", or "auto": hosts where the machine allows it
    network: str = "auto"  # of tasks: a namespace for each where the machine allows it, or "loopback"
    provisioning_seconds: float = 0.1  # the network interface: about 10 s on Fargate
    deprovisioning_seconds: float = 0.1
    stop_timeout_seconds: float = 30.0  # ECS's default between SIGTERM and SIGKILL
    start_timeout_seconds: float = 180.0  # ECS's default for a dependency to come up
    settle_seconds: float = 2.0  # how long a task must have been ready to count as one that runs: no crash at start
    probe_seconds: float = (
        1.0  # at most, between health checks while a container starts; Docker's --health-start-interval
    )
    capacity: int = field(default_factory=capacity)
    stream_poll_seconds: float = 0.25  # Lambda polls a stream four times a second
    retry_seconds: tuple[float, ...] = (1.0, 2.0)  # Lambda's two retries come after 1 and 2 minutes
    sidecar_environment: Mapping[str, str] = field(default_factory=lambda: {"TRAMO_METRICS_SECONDS": "5"})
    sidecar_command: tuple[str, ...] = field(default_factory=sidecar_command)

    @property
    def control_socket(self) -> Path:
        """The Unix socket on which a running `tramo up` is asked and told things."""
        return self.state_directory / "control.sock"


def state_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that `tramo up` and the other commands share: TRAMO_STATE_DIR, else one per user."""
    if chosen := environment.get("TRAMO_STATE_DIR"):
        return Path(chosen).absolute()
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "tramo"
    return Path(tempfile.gettempdir()) / f"tramo-{os.getuid()}"
