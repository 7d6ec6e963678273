"""What a task offers to the mesh, and the form of names. Pure.

Names obey ECS's rules for Service Connect
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectService.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from registry.domain.bounds import NAMESPACE_CHARACTERS

AppProtocol = Literal["http", "http2", "grpc", "tcp"]
APP_PROTOCOLS: Final[dict[str, AppProtocol]] = {name: name for name in get_args(AppProtocol)}

DEFAULT_MESH: Final = "Tramo"
"""Default of the stack's parameter Mesh: tasks whose label names no mesh belong to it."""

MESH_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
NAMESPACE_PATTERN: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{NAMESPACE_CHARACTERS - 1}}}")
NAME_PATTERN: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,63}")
DNS_NAME_PATTERN: Final = re.compile(r"[a-z0-9_.][a-z0-9_.-]{0,126}")


class DefinitionError(Exception):
    """A task definition that means to join the mesh has a mistake.

    Attributes: task_definition (family:revision), container (None when it concerns them all), path (JSON path
    inside the label or the task definition), mistake, remedy.
    """

    def __init__(self, task_definition: str, container: str | None, path: str, mistake: str, remedy: str) -> None:
        self.task_definition = task_definition
        self.container = container
        self.path = path
        self.mistake = mistake
        self.remedy = remedy
        where = f"task definition {task_definition}" + (f", container {container}" if container else "")
        super().__init__(f"{where}, {path}: {mistake}; {remedy}")


@dataclass(frozen=True, slots=True)
class Alias:
    """A name and port under which callers reach a service."""

    dns_name: str
    port: int


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The label's time-outs in seconds; None where it says nothing, 0 where it turns one off."""

    request_seconds: int | None = None
    idle_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One service that every task of the definition serves.

    `port` is the published port and `container` the container that listens on it: the sidecar if there is
    one. In bridge mode callers use the host's port for it, which stands in the task's network bindings.
    `container_port` is the application's.
    """

    service: str
    port_name: str
    protocol: AppProtocol
    container: str
    port: int
    container_port: int
    aliases: tuple[Alias, ...]
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Definition:
    """What one revision offers. `name` is family:revision.

    `health_checked` names the essential containers whose health checks count for the endpoints: all that have one but
    the gate. `health_wait_seconds` is None when there are none, else how long UNKNOWN health keeps a running task from
    traffic. `standalone` tasks offer their services though no ECS service started them. `role` is the ARN of the task
    role. `mesh` is the stack that the tasks belong to.
    """

    arn: str
    name: str
    namespace: str
    network_mode: str
    has_sidecar: bool
    offers: tuple[Offer, ...]
    health_wait_seconds: float | None
    health_checked: tuple[str, ...] = ()
    standalone: bool = False
    role: str | None = None
    mesh: str = DEFAULT_MESH
