"""Fixtures that all tests share: an AWS that is not AWS."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.control_plane import aws
from tests.support.control_plane import dynamodb_local as local

# Before any test module imports a function: the handlers read their environment when they are loaded.
os.environ.update(aws.ENVIRONMENT)

# How long an example takes says how busy the machine is, not whether the code is right. Each run takes the same
# examples, so that a change fails for what it did; `pytest --hypothesis-profile random` looks for new ones.
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("random"), derandomize=True, database=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _own_tables() -> Iterator[None]:
    """Drop the tables of a test when it ends; those of its session's and module's fixtures stay."""
    with aws.dropping_tables():
        yield


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """URL of moto's server, which stands for all of AWS."""
    with aws.moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb_local_endpoint() -> Iterator[str]:
    """URL of AWS's DynamoDB Local."""
    reason = local.missing()
    if reason is not None:
        pytest.skip(reason)
    with local.dynamodb_local() as url:
        yield url


@pytest.fixture
def dynamodb_endpoint(dynamodb_local_endpoint: str) -> str:
    """URL of a DynamoDB: AWS's own, because moto takes writes that it refuses."""
    return dynamodb_local_endpoint
