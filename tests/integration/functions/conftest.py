"""Fixtures of the control plane's tests against DynamoDB."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from registry.aws.ecs import Lookups
from registry.dynamodb.store import Store, open_store
from tests.support.control_plane import aws
from tests.support.control_plane.ecs import FakeEcs, task_definition

Handler = Callable[[Any, Any], Any]


@pytest.fixture
def table(dynamodb_endpoint: str) -> str:
    """Name of a new table."""
    return aws.create_table(dynamodb_endpoint)


PATIENCE_SECONDS = 30.0
"""For an answer of a DynamoDB in a busy process. A write that is sent twice finds itself there and says it was late."""


@cache
def _client(endpoint: str) -> Any:
    """One client of PynamoDB's for all tables of an endpoint: it takes longer to make than most tests to run."""
    connection = _connection(open_store("any", aws.REGION, endpoint))
    connection._read_timeout_seconds = PATIENCE_SECONDS
    return connection.client


def _connection(store: Store) -> Any:
    return store.tasks._table.connection


@pytest.fixture
def store(dynamodb_endpoint: str, table: str) -> Store:
    """The stores of a new table."""
    found = open_store(table, aws.REGION, dynamodb_endpoint)
    _connection(found)._client = _client(dynamodb_endpoint)
    return found


@pytest.fixture
def ecs() -> FakeEcs:
    """An ECS that knows the task definition orders:7."""
    return FakeEcs(task_definition())


@pytest.fixture
def lookups(ecs: FakeEcs) -> Lookups:
    return Lookups(ecs=lambda: ecs, ec2=lambda: ecs)


@dataclass(frozen=True, slots=True)
class Context:
    """What the handlers use of Lambda's context."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "a-request"
    milliseconds: int = 55_000

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@dataclass(frozen=True, slots=True)
class Deployed:
    """The four handlers as Lambda calls them; their AWS, DynamoDB Local and moto, is found by the environment."""

    endpoint: str
    dynamodb: str
    table: str
    registrar: Handler
    reconciler: Handler
    publisher: Handler
    api: Handler
    context: Context = Context()

    def publish(self, namespace: str) -> Any:
        """Give the publisher all that the stream has of a namespace."""
        key = {"S": f"NAMESPACE#{namespace}"}
        records = aws.stream_records(self.dynamodb, self.table)
        return self.publisher(
            {"Records": [each for each in records if each["dynamodb"]["Keys"]["pk"] == key]}, self.context
        )


@pytest.fixture
def deployed(loaded: Deployed) -> Deployed:
    """The functions, with new tables."""
    aws.create_table(loaded.dynamodb, loaded.table)
    aws.create_feed(loaded.dynamodb, aws.ENVIRONMENT["TRAMO_FEED_TABLE"])
    aws.client("s3", loaded.endpoint).create_bucket(Bucket=aws.ENVIRONMENT["TRAMO_FEED_BUCKET"])
    return loaded


@pytest.fixture(scope="session")
def loaded(moto_endpoint: str, dynamodb_local_endpoint: str) -> Iterator[Deployed]:
    """The functions, loaded as Lambda loads them: with everything they need in the environment."""
    endpoints = {"AWS_ENDPOINT_URL": moto_endpoint, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_local_endpoint}
    os.environ.update(endpoints)
    try:
        # Only here: a handler reads its environment when it is loaded.
        import api.app
        import publisher.app
        import reconciler.app
        import registrar.app

        yield Deployed(
            moto_endpoint,
            dynamodb_local_endpoint,
            os.environ["TRAMO_TABLE"],
            registrar.app.handler,
            reconciler.app.handler,
            publisher.app.handler,
            api.app.handler,
        )
    finally:
        for name in endpoints:
            del os.environ[name]
