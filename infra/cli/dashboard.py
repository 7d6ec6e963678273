"""`tramo dashboard`: the stack's dashboard as a page or as tables, from AWS or from a local cluster."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from infra.cli.stack import CONFIG, mesh, open_session, resources
from infra.dashboards import terminal
from infra.dashboards.reader import DEFAULT_MESH, Reader, ReadError
from infra.dashboards.server import DashboardServer
from infra.dashboards.widgets import SECTIONS, Section
from infra.local.settings import ACCESS_KEY, SECRET_KEY, LocalError

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

AWS_MINUTES: Final = 180
LOCAL_MINUTES: Final = 10
"""A local cluster keeps a quarter of an hour of metrics."""


def aws_reader(stack: str | None, region: str | None) -> Reader:
    """Return a reader of the user's own AWS account; `stack` also gives its mesh, functions, API, table and queue.

    Raises LocalError.
    """
    try:
        session = open_session(region)
        client = session.client("cloudwatch", config=CONFIG)
        references = _references(session, stack) if stack else {}
        name = mesh(session, stack) if stack else DEFAULT_MESH
    except (BotoCoreError, ClientError) as error:
        raise LocalError(str(error)) from error
    where = session.region_name or client.meta.region_name
    return Reader(client, sections(), f"{stack}, {where}" if stack else where, references, mesh=name)


def _references(session: boto3.Session, stack: str) -> dict[str, str]:
    """Return the names of the stack's resources as the dashboard's metrics refer to them."""
    found = {"AWS::StackName": stack, **resources(session, stack)}
    if "DeadLetters" in found:  # a queue's id is its URL
        found["DeadLetters.QueueName"] = found["DeadLetters"].rpartition("/")[2]
    return found


def local_reader(status: Mapping[str, Any]) -> Reader:
    """Return a reader of a local cluster, from what it says of itself."""
    client: CloudWatchClient = boto3.client(
        "cloudwatch",
        endpoint_url=status["cloudwatch"],
        region_name=status["region"],
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=CONFIG,
    )
    # Its sidecars send every five seconds, and what is open is sent each time: a longer period would add it up.
    return Reader(client, sections(), f"local cluster {status['cluster']}", period=int(status["metrics_seconds"]))


def sections() -> list[Section]:
    """Return the dashboard that the stack has."""
    return msgspec.json.decode(SECTIONS.read_bytes(), type=list[Section])


def print_once(reader: Reader, service: str, window: int) -> None:
    """Print tables of the last `window` minutes. Raises LocalError."""
    try:
        terminal.show(sys.stdout, reader.read(service, timedelta(minutes=window)))
    except ReadError as error:
        raise LocalError(f"CloudWatch cannot be read: {error}") from error


def serve(reader: Reader, port: int, window: int) -> None:
    """Serve the page until Ctrl-C. Raises LocalError."""
    try:
        server = DashboardServer(reader, port, window)
    except OSError as error:
        raise LocalError(
            f"port {port} of 127.0.0.1 cannot be had: {error.strerror}; choose another with --port"
        ) from error
    with server:
        print(f"http://127.0.0.1:{server.server_port} (Ctrl-C ends it)", flush=True)
        server.serve_forever()
