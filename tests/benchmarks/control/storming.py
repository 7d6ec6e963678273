"""A deployment storm through registrar and publisher: 1,000 tasks replaced in a minute.

The functions run their sources under AWS's own runtime client, each instance a process, with DynamoDB Local and a fake
ECS. So few processors as here work the events later than they arrive; Lambda starts as many instances as it takes.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from infra.local import template
from infra.local.functions import Function
from infra.local.process import Launcher
from infra.local.template import FunctionSpec
from registry.dynamodb.store import open_store
from tests.support.control_plane import aws, storm
from tests.support.control_plane.ecs import FakeEcs
from tests.support.control_plane.front_door import open_front_door

Row = tuple[str, str]
NAMESPACE: Final = "storm.local"
TASKS: Final = 1_000
SERVICES: Final = 100
SECONDS: Final = 60.0
REGISTRARS: Final = 4
PATIENCE: Final = 900.0
"""Of a machine with other work to do; one with nothing else needs two minutes."""


def storming(endpoint: str, table: str) -> Iterator[Row]:
    """Yield what a storm does to the registry."""
    yield from asyncio.run(_storm(endpoint, table))


async def _storm(endpoint: str, table: str) -> list[Row]:
    passing = storm.plan(NAMESPACE, TASKS, SERVICES, SECONDS, seed=1)
    without_bucket = {"TRAMO_FEED_BUCKET": ""}  # S3 is not here
    specs = {
        each.name: dataclasses.replace(each, environment={**each.environment, **without_bucket})
        for each in template.load(table=table).functions
    }
    aws.create_feed(endpoint, specs["Publisher"].environment["TRAMO_FEED_TABLE"])
    async with AsyncExitStack() as stack:
        door = stack.enter_context(open_front_door(endpoint, FakeEcs(*passing.definitions())))
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="tramo-bench-")))
        launcher = await stack.enter_async_context(Launcher())

        async def started(spec: FunctionSpec) -> Function:
            keys = {"AWS_ACCESS_KEY_ID": spec.name, "AWS_SECRET_ACCESS_KEY": "secret"}
            urls = {"AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_ECS": door.url}
            made = Function(spec, launcher, keys | urls, aws.REGION, directory / f"{spec.name}.log")
            await made.start()
            stack.push_async_callback(made.stop)
            return made

        registrars = [await started(specs["Registrar"]) for _ in range(REGISTRARS)]
        publisher = await started(specs["Publisher"])
        stream = storm.Stream(endpoint, table)
        before = passing.first()
        for begin in range(0, len(before), REGISTRARS):
            together = zip(registrars, before[begin : begin + REGISTRARS], strict=False)
            await asyncio.gather(*(registrar.invoke(event) for registrar, event in together))
        await asyncio.wait_for(storm.settle(publisher, stream), PATIENCE)
        stream.forget()
        outcome = await storm.run(passing, registrars, publisher, stream, PATIENCE)
    faults = storm.faults(open_store(table, aws.REGION, endpoint), passing)
    if faults or outcome.failed or outcome.dead:
        raise RuntimeError(f"the storm left {len(faults)} faults, {outcome}: {faults[:5]}")
    return _rows(passing, outcome, stream)


def _rows(passing: storm.Plan, outcome: storm.Outcome, stream: storm.Stream) -> list[Row]:
    middle, late = (outcome.lags[int(len(outcome.lags) * share) - 1] for share in (0.5, 0.99))
    kinds = ", ".join(f"{count} {kind}" for kind, count in stream.kinds.most_common())
    return [
        (
            f"storm: {TASKS:,} tasks replaced in {SECONDS:.0f} s, {len(passing.arrivals):,} events, "
            f"{REGISTRARS} registrars",
            f"no update lost; {outcome.backlog:,} events waited after the last had arrived, all was published "
            f"{outcome.drained_after:.0f} s later",
        ),
        (
            "storm: written",
            f"{stream.records / outcome.events:.2f} items and {stream.units / outcome.events:.1f} WRU an event, "
            f"{stream.units / TASKS:.0f} WRU a replaced task ({kinds}), {outcome.publications} batches",
        ),
        ("storm: from an event's arrival to its publication", f"{middle:.1f} s (p50), {late:.1f} s (p99)"),
    ]
