"""A small deployment storm through the built functions. `make bench-control` has one of 1,000 tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from infra.local import template
from infra.local.functions import FunctionError
from registry.dynamodb.store import open_store
from tests.support.control_plane import aws, lambda_runtime, storm
from tests.support.control_plane.lambda_runtime import RunningFunction

if TYPE_CHECKING:
    from tests.integration.lambda_runtime.conftest import Stack

TASKS = 12
SECONDS = 3.0
PATIENCE = 100.0

pytestmark = pytest.mark.timeout(300)  # the storm has 100 s, and the functions may have to be built and started before


class Emulated:
    """A function of the stack, for the parts of the local machine that call functions."""

    def __init__(self, name: str, function: RunningFunction, table: str) -> None:
        (self.spec,) = [each for each in template.load(table=table).functions if each.name == name]
        self._function = function

    async def invoke(self, event: object) -> Any:
        """Invoke it."""
        try:
            return await asyncio.to_thread(self._function.invoke, event)
        except lambda_runtime.FunctionError as error:
            raise FunctionError(self.spec.name, error.kind, str(error)) from error


def test_a_storm_loses_nothing(stack: Stack) -> None:
    passing = storm.plan("storm.local", TASKS, services=3, seconds=SECONDS, seed=5)
    for each in passing.definitions():
        stack.ecs.definitions[each["taskDefinitionArn"]] = each
    stream = storm.Stream(stack.dynamodb, stack.table)
    for event in passing.first():
        stack.registrar.invoke(event)
    registrar = Emulated("Registrar", stack.registrar, stack.table)
    publisher = Emulated("Publisher", stack.publisher, stack.table)
    outcome = asyncio.run(storm.run(passing, [registrar], publisher, stream, PATIENCE))
    assert (outcome.events, outcome.failed, outcome.dead) == (len(passing.arrivals), 0, 0)
    store = open_store(stack.table, aws.REGION, stack.dynamodb)
    assert storm.faults(store, passing) == []
    # What arrives twice or too late writes nothing: at most one write for each version of a task.
    assert stream.kinds["TASK"] <= TASKS + len({event["id"] for _, event in passing.arrivals})
