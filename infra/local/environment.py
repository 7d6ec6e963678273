"""What the process of a container is given: command and environment, without IO.

An app gets what ECS would set, what its definition says, and HOST: inside a task on ECS an app listens on
0.0.0.0 in a network namespace of its own, here it must listen on the task's address alone.

The sidecar gets its definition's variables too; those that are about places on this machine are ours and win.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local import network
from infra.local.definition import Container

ADMIN_PORT: Final = 9901
FORWARD_PROXY_PORT: Final = 15001


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where things are on this machine, as URLs without a slash at the end."""

    aws: str
    ecs: str
    api: str
    metadata: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task lives: its network, its folder, and whether it has a hosts file of its own."""

    index: int
    directory: Path
    hosts: Path
    private_hosts: bool


def command(container: Container, sidecar: tuple[str, ...]) -> tuple[str, ...]:
    """Return the argv of the container; `sidecar` stands for the sidecar's image."""
    return sidecar if container.is_sidecar else container.command


def environment(
    container: Container,
    place: Place,
    endpoints: Endpoints,
    *,
    runtime_id: str,
    region: str,
    overrides: Mapping[str, str],
    sidecar_environment: Mapping[str, str],
) -> dict[str, str]:
    """Return the environment of the container's process.

    `overrides` are those of RunTask, `sidecar_environment` is for sidecars only.
    """
    given = {
        # The interpreter's folder first: the image's "python" is the one that runs us.
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(place.directory),
        "LANG": "C.UTF-8",
        "HOSTNAME": f"ip-127-{place.index}-0-1.ec2.internal",
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoints.metadata}/v2/credentials/{runtime_id}",
        "AWS_ENDPOINT_URL": endpoints.aws,
        "AWS_ENDPOINT_URL_ECS": endpoints.ecs,
        "ECS_CONTAINER_METADATA_URI_V4": f"{endpoints.metadata}/v4/{runtime_id}",
    }
    own = network.address(place.index)
    if container.is_sidecar:
        ours = {
            "TRAMO_API_URL": endpoints.api,
            "TRAMO_LISTEN_ADDRESS": own,
            "TRAMO_APP_ADDRESS": own,
            "TRAMO_VIP_NETWORK": network.network(place.index),
            "TRAMO_FORWARD_PROXY": f"{own}:{FORWARD_PROXY_PORT}",
            "TRAMO_ADMIN": f"{own}:{ADMIN_PORT}",
            "TRAMO_CACHE_FILE": str(place.directory / "snapshot.json"),
            "TRAMO_HOSTS_FILE": str(place.hosts),
        }
        return {**given, **container.environment, **sidecar_environment, **overrides, **ours}
    ours = {"HOST": own}
    if not place.private_hosts:
        proxy = f"http://{own}:{FORWARD_PROXY_PORT}"
        # Metadata and AWS are not services of the mesh.
        exempt = f"127.0.0.1,localhost,{own}"
        ours |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": exempt, "no_proxy": exempt}
    return {**given, **container.environment, **overrides, **ours}
