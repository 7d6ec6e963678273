"""AWS for tests: credentials that open nothing, moto's server, and the registry's table."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

REGION = "us-east-1"
TEMPLATE = Path(__file__).parents[3] / "template.yaml"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    # Never the real thing, whatever the developer's machine knows.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "TRAMO_TABLE": "tramo-test",
    "TRAMO_FEED_TABLE": "tramo-test-feed",
    "TRAMO_FEED_BUCKET": "tramo-test-snapshots",
    "POWERTOOLS_SERVICE_NAME": "tramo-test",
    "POWERTOOLS_METRICS_NAMESPACE": "Tramo",
    "POWERTOOLS_TRACE_DISABLED": "true",
}


class _OneAtATime:
    """A WSGI application whose requests do not overlap.

    moto undoes a failed transaction by putting back a copy of the table, and with it loses what other requests
    have written meanwhile. DynamoDB does not.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        with self._lock:
            return list(self._application(environ, start_response))


@contextmanager
def moto_server() -> Iterator[str]:
    """Yield the URL of a moto server in this process, on a free port."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each call helps nobody
    application = _OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, name="moto", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@cache
def client(service: str, endpoint: str) -> Any:
    """Return a boto3 client of a local endpoint, the same one each time: they take long to make."""
    return boto3.client(
        service,  # type: ignore[call-overload] # any service's name, only known here
        region_name=REGION,
        endpoint_url=endpoint,
        config=Config(retries={"total_max_attempts": 1}),
    )


class _TemplateLoader(yaml.SafeLoader):
    """Reads CloudFormation's short forms (!Ref, !Sub, ...) as their plain values."""


def _ignore_tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_TemplateLoader.add_multi_constructor("!", _ignore_tag)


@cache
def table_definition() -> dict[str, Any]:
    """Return the properties of the registry in template.yaml. To read that takes longer than to make a table."""
    template = yaml.load(TEMPLATE.read_text(), Loader=_TemplateLoader)  # noqa: S506 - a SafeLoader
    found: dict[str, Any] = template["Resources"]["Registry"]["Properties"]
    return found


_created: list[tuple[str, str]] = []
"""Endpoint and name of the tables that were created and not dropped, oldest first."""


@contextmanager
def dropping_tables() -> Iterator[None]:
    """Drop the tables that are created meanwhile: a suite of thousands of tests has no memory for all of them."""
    before = len(_created)
    try:
        yield
    finally:
        while len(_created) > before:
            endpoint, name = _created.pop()
            client("dynamodb", endpoint).delete_table(TableName=name)


def create_feed(endpoint: str, name: str | None = None) -> str:
    """Create the template's table for the feed and return its name."""
    name = name or f"tramo-{uuid.uuid4().hex[:12]}-feed"
    definition = table_definition()  # the same keys
    client("dynamodb", endpoint).create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=definition["AttributeDefinitions"],
        KeySchema=definition["KeySchema"],
    )
    _created.append((endpoint, name))
    return name


def create_table(endpoint: str, name: str | None = None) -> str:
    """Create the template's registry, stream and all, and return its name."""
    name = name or f"tramo-{uuid.uuid4().hex[:12]}"
    definition = table_definition()
    client("dynamodb", endpoint).create_table(
        TableName=name,
        BillingMode=definition["BillingMode"],
        AttributeDefinitions=definition["AttributeDefinitions"],
        KeySchema=definition["KeySchema"],
        StreamSpecification={"StreamEnabled": True, **definition["StreamSpecification"]},
    )
    _created.append((endpoint, name))
    return name


def stream_records(endpoint: str, table: str) -> list[dict[str, Any]]:
    """Return all records of a table's stream, as Lambda passes them."""
    description = client("dynamodb", endpoint).describe_table(TableName=table)["Table"]
    streams = client("dynamodbstreams", endpoint)
    arn = description["LatestStreamArn"]
    records: list[dict[str, Any]] = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = streams.get_records(ShardIterator=iterator)
            records += answer["Records"]
            iterator = answer.get("NextShardIterator") if answer["Records"] else None
    return records
