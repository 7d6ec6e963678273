"""Fixtures of the control plane's tests against DynamoDB."""

from __future__ import annotations

import pytest

from registry.ecs import Lookups
from registry.store import Store, open_store
from tests.support import aws
from tests.support.ecs import FakeEcs, task_definition


@pytest.fixture
def table(dynamodb_endpoint: str) -> str:
    """Name of a new table."""
    return aws.create_table(dynamodb_endpoint)


@pytest.fixture
def store(dynamodb_endpoint: str, table: str) -> Store:
    """The stores of a new table."""
    return open_store(table, aws.REGION, dynamodb_endpoint)


@pytest.fixture
def ecs() -> FakeEcs:
    """An ECS that knows the task definition orders:7."""
    return FakeEcs(task_definition())


@pytest.fixture
def lookups(ecs: FakeEcs) -> Lookups:
    return Lookups(ecs=lambda: ecs, ec2=lambda: ecs)
