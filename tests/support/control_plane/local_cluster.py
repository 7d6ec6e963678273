"""A local ECS cluster of small shell commands, without the mesh, for tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from infra.local.cluster import Cluster
from infra.local.environment import Endpoints
from infra.local.network import LoopbackNetwork, Network
from infra.local.process import Launcher
from infra.local.settings import Settings

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


def container(script: str = SLEEP, **changes: Any) -> dict[str, Any]:
    """Return a container definition that runs a shell script."""
    return {"name": "app", "image": "none", "memory": 64, "command": ["sh", "-c", script], "stopTimeout": 5, **changes}


def definition(*containers: dict[str, Any], family: str = "app") -> dict[str, Any]:
    """Return a task definition, with one container that sleeps if none is given."""
    return {"family": family, "networkMode": "awsvpc", "containerDefinitions": list(containers) or [container()]}


@asynccontextmanager
async def cluster(
    directory: Path,
    events: list[dict[str, Any]] | None = None,
    of_services: list[dict[str, Any]] | None = None,
    network: Network | None = None,
    private_hosts: bool = False,
    **times: Any,
) -> AsyncIterator[Cluster]:
    """Yield a cluster named test whose events go into the lists: details of tasks', whole ones of services."""
    settings = Settings(
        state_directory=directory,
        image_directory=directory,
        **{
            "provisioning_seconds": 0.0,
            "deprovisioning_seconds": 0.0,
            "probe_seconds": 0.05,
            "settle_seconds": 0.0,
            **times,
        },
    )
    network = network or LoopbackNetwork()
    async with Launcher() as launcher:
        made = Cluster(
            "test",
            settings=settings,
            launcher=launcher,
            network=network,
            endpoints=Endpoints("http://aws", "http://metrics", "http://ecs", "http://api", "http://metadata"),
            private_hosts=private_hosts,
            publish=lambda detail: events.append(dict(detail)) if events is not None else None,
            tell=lambda event: of_services.append(dict(event)) if of_services is not None else None,
        )
        made.start()
        try:
            yield made
        finally:
            await made.close()
            network.close()


async def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return when the condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        await asyncio.sleep(0.01)
