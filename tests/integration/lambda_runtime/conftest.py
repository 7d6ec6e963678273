"""The four functions as `sam build` makes them, each under AWS's runtime emulator, before one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.control_plane import aws, lambda_runtime, sam
from tests.support.control_plane.ecs import FakeEcs
from tests.support.control_plane.front_door import FrontDoor, open_front_door
from tests.support.control_plane.lambda_runtime import RunningFunction


@dataclass(frozen=True, slots=True)
class Stack:
    """What `sam deploy` would have made."""

    registrar: RunningFunction
    reconciler: RunningFunction
    publisher: RunningFunction
    api: RunningFunction
    ecs: FakeEcs
    door: FrontDoor
    table: str
    dynamodb: str


@pytest.fixture(scope="session")
def build() -> Path:
    """The output of `sam build` for this machine's processor."""
    return sam.build()


@pytest.fixture(scope="session")
def runtime_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with AWS's runtime client alone."""
    return lambda_runtime.link_runtime_client(tmp_path_factory.mktemp("runtime-client"))


@pytest.fixture(scope="module")
def stack(build: Path, runtime_client: Path, dynamodb_local_endpoint: str) -> Iterator[Stack]:
    """The functions before a new table; tests keep apart by their namespaces."""
    table, ecs = aws.create_table(dynamodb_local_endpoint), FakeEcs()
    aws.create_feed(dynamodb_local_endpoint, f"{table}-feed")
    with ExitStack() as running:
        door = running.enter_context(open_front_door(dynamodb_local_endpoint, ecs))
        functions = {
            name: running.enter_context(
                lambda_runtime.running(
                    function,
                    build,
                    {
                        **lambda_runtime.environment(function, build / name, door.url, runtime_client),
                        "AWS_MAX_ATTEMPTS": "1",  # a call that shall fail need not take its time
                    },
                )
            )
            for name, function in sam.functions(table).items()
        }
        yield Stack(
            registrar=functions["Registrar"],
            reconciler=functions["Reconciler"],
            publisher=functions["Publisher"],
            api=functions["Api"],
            ecs=ecs,
            door=door,
            table=table,
            dynamodb=dynamodb_local_endpoint,
        )
