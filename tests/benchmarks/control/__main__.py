"""Measures the control plane on one large namespace, in DynamoDB Local. `python -m tests.benchmarks.control`.

Times are of this machine, with DynamoDB and the functions on it; units, calls and bytes are the same everywhere.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import mean, median
from typing import Any

from registry.domain.rules import TaskRecord
from registry.dynamodb.store import Store, open_store
from registry.publishing import Changes, Publisher
from tests.benchmarks.control import population
from tests.benchmarks.control.applying import applying, modes
from tests.benchmarks.control.feeding import feeding
from tests.benchmarks.control.fleet import fleet
from tests.benchmarks.control.measuring import Units, charged, import_milliseconds, milliseconds
from tests.benchmarks.control.population import NAMESPACE
from tests.benchmarks.control.storming import storming
from tests.benchmarks.control.taking_over import taking_over
from tests.support.control_plane import aws, dynamodb_local
from tests.support.control_plane.ecs import FakeEcs
from tests.support.control_plane.gateway import Answer, Gateway

Row = tuple[str, str]
SINGLE_CHANGES = 100
SNAPSHOT = f"/v1/namespaces/{NAMESPACE}/snapshot"


def publishing(endpoint: str, table: str) -> Iterator[Row]:
    """Yield what publishing costs."""
    store = open_store(table, aws.REGION, endpoint)
    yield "fill the table", f"{milliseconds(lambda: population.fill(store)) / 1000:.1f} s"
    publisher = Publisher(store)
    with charged(store, endpoint) as units:
        taken = milliseconds(lambda: publisher.publish(NAMESPACE, Changes()))
    yield "publish everything (lost head)", f"{taken:.0f} ms, {units.write:.0f} WRU, {units.read:.0f} RRU"
    # What a change costs depends on how many came before it: one in some is dear, and the mean says what all cost.
    singles = list(population.tasks())[200 : 200 + SINGLE_CHANGES]
    costs = [_one_by_one(store, endpoint, publisher, each) for each in singles]
    written = [cost.write for cost, _ in costs]
    yield (
        f"publish {SINGLE_CHANGES} changes of 1 task, one after the other",
        f"{median(taken for _, taken in costs):.0f} ms each; {mean(written):.1f} WRU in the mean, "
        f"{median(written):.0f} in the median, {max(written):.0f} at most (1 of them for the task); "
        f"{mean(cost.read for cost, _ in costs):.1f} RRU, {mean(cost.calls for cost, _ in costs):.1f} calls",
    )
    yield _change(store, endpoint, publisher, "100 tasks at once", list(population.tasks())[1:101])
    yield _change(store, endpoint, publisher, "1 task of a service seldom changed", list(population.tasks())[:1])


def _moved(task: TaskRecord) -> TaskRecord:
    return dataclasses.replace(task, version=10, address="10.99.0.1")


def _one_by_one(store: Store, endpoint: str, publisher: Publisher, task: TaskRecord) -> tuple[Units, float]:
    with charged(store, endpoint) as units:
        store.tasks.apply(_moved(task))
        taken = milliseconds(lambda: publisher.publish(NAMESPACE, Changes(frozenset({task.task_id}))))
    return units, taken


def _change(store: Store, endpoint: str, publisher: Publisher, label: str, tasks: Sequence[TaskRecord]) -> Row:
    with charged(store, endpoint) as applied:
        for each in tasks:
            store.tasks.apply(_moved(each))
    changes = Changes(frozenset(each.task_id for each in tasks))
    with charged(store, endpoint) as units:
        taken = milliseconds(lambda: publisher.publish(NAMESPACE, changes))
    return (
        f"publish a change of {label}",
        f"{taken:.0f} ms, {applied.write + units.write:.0f} WRU ({applied.write:.0f} for the tasks, {units.write:.0f} "
        f"for the snapshot), {units.read:.0f} RRU, {units.calls} calls",
    )


def sweeping(endpoint: str, table: str) -> Iterator[Row]:
    """Yield what a sweep costs that finds nothing to do, ECS's own time left out."""
    from reconciler.publications import Publications
    from reconciler.sweep import Sweep
    from registry.aws.ecs import Lookups

    store = open_store(table, aws.REGION, endpoint)
    ecs = FakeEcs()
    for each in population.tasks():
        ecs.tasks.setdefault(each.cluster_arn, []).append(
            {
                "taskArn": each.task_arn,
                "clusterArn": each.cluster_arn,
                "taskDefinitionArn": each.task_definition,
                "version": 1,
                "lastStatus": "RUNNING",
                "desiredStatus": "RUNNING",
                "createdAt": each.created_at,
            }
        )

    def silent(*_: Any, **__: Any) -> None:
        """Log nothing."""

    for label in ("first sweep of a process", "next sweep"):
        now = time.time()
        publications = Publications(store, Publisher(store), now, silent)
        sweep = Sweep(store, Lookups(lambda: ecs, lambda: ecs), publications, (), now, lambda: 1000.0, silent)
        with charged(store, endpoint) as units:
            start = time.perf_counter()
            report = sweep.run()
            taken = time.perf_counter() - start
        yield (
            f"{label}, {report.swept} tasks",
            f"{taken:.1f} s, {units.read:.0f} RRU, {units.write:.0f} WRU, {len(ecs.calls)} calls of ECS",
        )
        ecs.calls.clear()


def serving(endpoint: str, table: str) -> Iterator[Row]:
    """Yield what the API's answers cost and weigh."""
    os.environ |= {"TRAMO_TABLE": table, "AWS_ENDPOINT_URL": endpoint}
    from api.app import app, handler, store
    from tests.benchmarks.control.lambda_context import Context

    gateway = Gateway(handler, Context(), app.routes)
    packed = {"Accept-Encoding": "gzip"}

    def get(url: str, **headers: str) -> Answer:
        return gateway.call("GET", url, headers=packed | {k.replace("_", "-"): v for k, v in headers.items()})

    cold = milliseconds(lambda: get(SNAPSHOT))
    full = get(SNAPSHOT)
    assert full.status_code == 200, full.body
    epoch, _, revision = full.headers["etag"].strip('"').partition("-")
    known = [f"{epoch}-{int(revision) - behind}" for behind in range(3)]
    raw, small = len(full.body), len(gzip.compress(full.body, 6))
    yield "full snapshot", f"{raw:,} bytes, {small:,} gzip, {len(json.dumps(gateway.last)):,} as Lambda answers"
    yield "  first of a process, then median", f"{cold:.0f} ms, then {milliseconds(lambda: get(SNAPSHOT), 5):.0f} ms"
    with charged(store, endpoint) as units:
        assert get(SNAPSHOT, If_None_Match=full.headers["etag"]).status_code == 304
    taken = milliseconds(lambda: get(SNAPSHOT, If_None_Match=full.headers["etag"]), 50)
    yield "304", f"{taken:.1f} ms, {units.read} RRU, {units.calls} call"
    delta = get(f"{SNAPSHOT}?since={known[1]}")
    earlier = get(f"{SNAPSHOT}?since={known[2]}")
    for label, found, since in (("delta of 1 task", delta, 1), ("delta of 101 tasks", earlier, 2)):
        url = f"{SNAPSHOT}?since={known[since]}"
        taken = milliseconds(lambda: get(url), 10)  # noqa: B023 - called at once
        count = len(found.json_body["services"])
        weight = f"{len(found.body):,} bytes, {len(gzip.compress(found.body, 6)):,} gzip"
        yield f"{label} ({count} services)", f"{taken:.1f} ms, {weight}"
    some = ",".join(population.names()[:10])
    found = get(f"{SNAPSHOT}?services={some}")
    taken = milliseconds(lambda: get(f"{SNAPSHOT}?services={some}"), 10)
    yield "10 services of the namespace", f"{taken:.1f} ms, {len(found.body):,} bytes"


def loading() -> Iterator[Row]:
    """Yield how long a new process loads each handler."""
    for name in ("registrar", "reconciler", "publisher", "api"):
        clock, processor = import_milliseconds(f"{name}.app")
        yield f"import {name}.app", f"{clock:.0f} ms, {processor:.0f} ms of them on the processor"


def main(names: Sequence[str]) -> int:
    """Measure all or the named sections, print the table as it comes, and say what is missing."""
    reason = dynamodb_local.missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    wanted = names or SECTIONS
    unknown = sorted(set(wanted) - set(SECTIONS))
    if unknown:
        print(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    os.environ.update(aws.ENVIRONMENT | {"POWERTOOLS_METRICS_DISABLED": "true", "LOG_LEVEL": "WARNING"})
    print(f"{population.SERVICES} services, {population.ENDPOINTS} endpoints\n\n| what | figure |\n|---|---|")
    if set(wanted) & set(ON_TABLE):
        with dynamodb_local.dynamodb_local() as endpoint:
            table = aws.create_table(endpoint)
            for name, measure in ON_TABLE.items():
                if name in wanted or (name == "publishing" and set(wanted) & set(NEED_PUBLISHING)):
                    _show(measure(endpoint, table))
    for name, alone in ALONE.items():
        if name in wanted:
            _show(alone())
    return 0


def _show(rows: Iterator[Row]) -> None:
    for name, figure in rows:
        print(f"| {name} | {figure} |", flush=True)


ON_TABLE: dict[str, Callable[[str, str], Iterator[Row]]] = {
    "publishing": publishing,
    "sweeping": sweeping,
    "serving": serving,
    "storming": storming,
    "fleet": fleet,
    "feeding": feeding,
}
ALONE: dict[str, Callable[[], Iterator[Row]]] = {
    "loading": loading,
    "taking_over": taking_over,
    "applying": applying,
    "modes": modes,
}
NEED_PUBLISHING = ("sweeping", "serving")
SECTIONS = (*ON_TABLE, *ALONE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
