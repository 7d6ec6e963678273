"""What the process of a container is given: command and environment, without IO.

An app gets what ECS would set and what its definition says. The sidecar gets the same, and what is about this machine:
the address of the API, which a task definition cannot know, and a file for its cache, since no container has a file
system of its own.

Where tasks have no network namespace (see network.py) all share one. Then each is given what keeps it apart from the
others: the app HOST, the only address on which it may listen, the gate the address of the sidecar's admin pages, and
the sidecar its addresses and VIP network.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infra.local import network
from infra.local.definition import Container
from infra.local.netns import Namespace

ADMIN_PORT: Final = 9901
FORWARD_PROXY_PORT: Final = 15001


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where things are on this machine, as URLs without a slash at the end; and the feed's table, empty for none."""

    aws: str
    cloudwatch: str
    ecs: str
    api: str
    metadata: str
    feed: str = ""
    feed_table: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task lives: its address, its folder, whether it has its own hosts file, and its network namespace."""

    address: str
    directory: Path
    private_hosts: bool
    namespace: Namespace | None = None

    @property
    def hosts(self) -> Path:
        """Return the task's hosts file."""
        return self.directory / "hosts"

    @property
    def localhost(self) -> str:
        """Return the address by which the task's containers reach each other."""
        return "127.0.0.1" if self.namespace else self.address

    @property
    def host_name(self) -> str:
        """Return the private DNS name of the network interface."""
        return f"ip-{self.address.replace('.', '-')}.ec2.internal"


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
        "HOSTNAME": place.host_name,
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        **_credentials(place, endpoints, runtime_id),
        "AWS_ENDPOINT_URL": endpoints.aws,
        "AWS_ENDPOINT_URL_CLOUDWATCH": endpoints.cloudwatch,
        "AWS_ENDPOINT_URL_ECS": endpoints.ecs,
        "ECS_CONTAINER_METADATA_URI_V4": f"{endpoints.metadata}/v4/{runtime_id}",
    }
    if container.is_sidecar:
        cache = str(place.directory / "snapshot.json")
        return {
            **given,
            **container.environment,
            **sidecar_environment,
            **overrides,
            "TRAMO_API_URL": endpoints.api,
            **_feed(endpoints),
            **({} if container.environment.get("TRAMO_CACHE_FILE") == "off" else {"TRAMO_CACHE_FILE": cache}),
            **({} if place.private_hosts else {"TRAMO_HOSTS_FILE": str(place.hosts)}),
            **(_shared_network(place.address) if place.namespace is None else {}),
        }
    ours = {} if place.namespace else {"HOST": place.address}
    if container.is_gate and place.namespace is None:
        ours["TRAMO_ADMIN"] = f"{place.address}:{ADMIN_PORT}"
    if not place.private_hosts:
        proxy = f"http://{place.localhost}:{FORWARD_PROXY_PORT}"
        # Metadata and AWS are not services of the mesh.
        exempt = ",".join(dict.fromkeys(("127.0.0.1", "localhost", place.localhost, *_hosts(endpoints))))
        ours |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": exempt, "no_proxy": exempt}
    return {**given, **container.environment, **overrides, **ours}


def _credentials(place: Place, endpoints: Endpoints, runtime_id: str) -> dict[str, str]:
    """Return where the SDKs find the task role's credentials: ECS gives a path at its own address."""
    path = f"/v2/credentials/{runtime_id}"
    if place.namespace is None:
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoints.metadata}{path}"}
    return {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": path}


def _feed(endpoints: Endpoints) -> dict[str, str]:
    """Return where the feed is: DynamoDB and S3 by a way that can be taken away."""
    if not endpoints.feed_table:
        return {}
    return {
        "TRAMO_FEED_TABLE": endpoints.feed_table,
        "AWS_ENDPOINT_URL_DYNAMODB": endpoints.feed,
        "AWS_ENDPOINT_URL_S3": endpoints.feed,
    }


def _shared_network(address: str) -> dict[str, str]:
    return {
        "TRAMO_LISTEN_ADDRESS": address,
        "TRAMO_APP_ADDRESS": address,
        "TRAMO_VIP_NETWORK": network.loopback_network(address),
        "TRAMO_FORWARD_PROXY": f"{address}:{FORWARD_PROXY_PORT}",
        "TRAMO_ADMIN": f"{address}:{ADMIN_PORT}",
    }


def _hosts(endpoints: Endpoints) -> list[str]:
    urls = (endpoints.aws, endpoints.cloudwatch, endpoints.ecs, endpoints.api, endpoints.metadata)
    return [host for url in urls if (host := urlsplit(url).hostname)]
