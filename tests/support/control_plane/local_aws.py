"""The AWS of this machine within the process of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from moto.cloudwatch.models import cloudwatch_backends
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends

from infra.local import aws_server
from infra.local.aws import Aws
from infra.local.aws_server import TABLE
from infra.local.settings import ACCOUNT
from infra.local.template import load

HOST = "127.0.0.1"


@contextmanager
def local_aws(region: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Aws]:
    """Yield an AWS of this region with the stack's table; no other test may use the same: moto has one per process."""
    servers = [
        aws_server.server(application, HOST)
        for application in (aws_server.dynamodb(region), aws_server.cloudwatch(region, now))
    ]
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    made = Aws(region, *(f"http://{HOST}:{server.server_port}" for server in servers))
    try:
        made.create(load())
        yield made
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
        plane = load()
        for name in (TABLE, *plane.other_tables):
            dynamodb_backends[ACCOUNT][region].tables.pop(name, None)
        for bucket in plane.buckets:
            s3_backends[ACCOUNT]["aws"].buckets.pop(bucket, None)
            s3_backends.bucket_accounts.pop(bucket, None)
        cloudwatch_backends[ACCOUNT][region].metric_data.clear()
