"""`tramo console`: where its numbers come from, AWS or a local cluster, and its page."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.cli.mesh import control
from infra.client.api import MeshApi
from infra.client.stack import CONFIG, DEFAULT_MESH, Description, describe, open_session, resources
from infra.console.metrics import PARALLEL_CALLS, MetricReader
from infra.console.reader import Console
from infra.console.registry import RegistryReader
from infra.console.server import ConsoleServer
from infra.dashboards.widgets import SECTIONS, Section
from infra.local.settings import ACCESS_KEY, SECRET_KEY, LocalError

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

AWS_MINUTES: Final = 60
LOCAL_MINUTES: Final = 10
"""A local cluster keeps a quarter of an hour of metrics."""
_CONFIG: Final = CONFIG.merge(Config(max_pool_connections=PARALLEL_CALLS))


def run(options: argparse.Namespace) -> None:
    """Serve the console of the mesh that the options name, until Ctrl-C."""
    in_aws = options.stack or options.region
    made = aws_console(options.stack, options.region) if in_aws else local_console(control(options).status())
    minutes = options.time or (AWS_MINUTES if in_aws else LOCAL_MINUTES)
    serve(made, options.port, minutes, f"/services/{quote(options.service)}" if options.service else "/")


def aws_console(stack: str | None, region: str | None) -> Console:
    """Return a console of the user's own AWS account; with `stack` also of its registry and its own resources.

    Raises LocalError.
    """
    try:
        session = open_session(region)
        client = session.client("cloudwatch", config=_CONFIG)
        references = _references(session, stack) if stack else {}
        known = describe(session, stack) if stack else Description(DEFAULT_MESH, "")
        where = session.region_name or client.meta.region_name
        registry = RegistryReader(None, "the registry is known with --stack NAME")
        if known.api_url:
            registry = RegistryReader(MeshApi.aws(known.api_url, where))
        elif stack:
            registry = RegistryReader(None, f"the stack {stack} has no output ApiUrl")
    except (BotoCoreError, ClientError) as error:
        raise LocalError(str(error)) from error
    source = f"{stack}, {where}" if stack else where
    return Console(MetricReader(client, mesh=known.mesh), sections(), source, registry, references)


def _references(session: boto3.Session, stack: str) -> dict[str, str]:
    """Return the names of the stack's resources as the dashboard's metrics refer to them."""
    found = {"AWS::StackName": stack, **resources(session, stack)}
    if "DeadLetters" in found:  # a queue's id is its URL
        found["DeadLetters.QueueName"] = found["DeadLetters"].rpartition("/")[2]
    return found


def local_console(status: Mapping[str, Any]) -> Console:
    """Return a console of a local cluster, from what it says of itself."""
    client: CloudWatchClient = boto3.client(
        "cloudwatch",
        endpoint_url=status["cloudwatch"],
        region_name=status["region"],
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=_CONFIG,
    )
    registry = RegistryReader(MeshApi.local(status["api"]["url"], status["region"]))
    # Its sidecars send every five seconds, and what is open is sent each time: a longer period would add it up.
    period = int(status["metrics_seconds"])
    return Console(MetricReader(client), sections(), f"local cluster {status['cluster']}", registry, period=period)


def sections() -> list[Section]:
    """Return the dashboard that the stack has."""
    return msgspec.json.decode(SECTIONS.read_bytes(), type=list[Section])


def serve(console: Console, port: int, window: int, path: str = "/") -> None:
    """Serve the page until Ctrl-C. Raises LocalError."""
    try:
        server = ConsoleServer(console, port, window)
    except OSError as error:
        raise LocalError(
            f"port {port} of 127.0.0.1 cannot be had: {error.strerror}; choose another with --port"
        ) from error
    with server:
        print(f"http://127.0.0.1:{server.server_port}{path} (Ctrl-C ends it)", flush=True)
        server.serve_forever()
