"""A sweep of ECS: repairs what lost events left behind, and learns what events do not tell.

Rules:
1. Every task that ECS tells of goes through the same rules as an event. Versions compare, so a sweep never
   overwrites what is newer.
2. Health is in no event. Here it is learned from DescribeTasks, beside what sidecars report.
3. A registered task becomes a tombstone only when ECS itself says that it does not know the task (MISSING)
   or its cluster, and only after a list of that cluster, or of all clusters, that was read to its end. A call
   that fails or a list that is cut short proves nothing, nor does an answer about a task that changed a
   moment ago: ECS's API is eventually consistent and may lag behind its events.
4. The sweep stops when its time is nearly over. What it did stands; the next sweep starts with the cluster at
   which this one stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from registry.definition import DefinitionError
from registry.ecs import Lookups, UnknownTaskDefinitionError
from registry.events import EventError, TaskEvent, parse_task
from registry.registration import Outcome, register
from registry.rules import Health, TaskRecord, wait_is_over
from registry.store import Store
from registry.task_store import HealthOutcome

PAGE: Final = 100  # DescribeTasks takes no more
MARGIN_SECONDS: Final = 10.0  # for the page at work and the metrics
SETTLING_SECONDS: Final = 300.0  # after a task's last change, before its absence is believed
DESIRED_STATUSES: Final = ("RUNNING", "STOPPED")


@dataclass(slots=True)
class Report:
    """What a sweep did. `next_cluster` is where the next one must start, None when all were swept."""

    swept: int = 0
    drift: int = 0
    health_learned: int = 0
    waits_over: int = 0
    entombed: int = 0
    rejected: int = 0
    next_cluster: str | None = None


class Sweep:
    """One sweep. `remaining` returns the seconds that are left; `warn` takes a message and keys to log."""

    def __init__(
        self,
        store: Store,
        lookups: Lookups,
        clusters: Sequence[str],
        now: float,
        remaining: Callable[[], float],
        warn: Callable[..., None],
    ) -> None:
        self._store = store
        self._lookups = lookups
        self._clusters = clusters
        self._now = now
        self._remaining = remaining
        self._warn = warn
        self._report = Report()
        self._seen: set[str] = set()
        self._complete_clusters: set[str] = set()
        self._registered: dict[str, TaskRecord] = {}

    def run(self, start: str | None = None) -> Report:
        """Sweep all clusters, beginning with `start`."""
        for namespace in self._store.tasks.namespaces():
            for record in self._store.tasks.all(namespace):
                self._registered[record.task_arn] = record
        clusters = sorted(self._clusters or self._pages(self._lookups.ecs.list_clusters, "clusterArns"))
        if not self._clusters:
            # Clusters that were deleted: ECS is asked about their tasks too.
            listed = {_cluster_name(cluster) for cluster in clusters}
            known = {_cluster_name(record.cluster_arn) for record in self._registered.values()}
            self._complete_clusters |= known - listed
        if start in clusters:
            place = clusters.index(start)
            clusters = clusters[place:] + clusters[:place]
        for cluster in clusters:
            if not self._sweep_cluster(cluster):
                self._report.next_cluster = cluster
                break
        self._look_for_lost()
        self._end_waits()
        return self._report

    def _out_of_time(self) -> bool:
        return self._remaining() < MARGIN_SECONDS

    def _pages(self, call: Callable[..., Any], key: str, **arguments: Any) -> Iterator[str]:
        token: str | None = None
        while True:
            answer = call(**arguments, **({"nextToken": token} if token else {}))
            yield from answer.get(key, ())
            token = answer.get("nextToken")
            if not token:
                return

    def _sweep_cluster(self, cluster: str) -> bool:
        """Sweep one cluster; return False when time ran out."""
        for desired in DESIRED_STATUSES:
            arns = self._pages(self._lookups.ecs.list_tasks, "taskArns", cluster=cluster, desiredStatus=desired)
            page: list[str] = []
            for arn in arns:
                page.append(arn)
                if len(page) == PAGE:
                    if self._out_of_time():
                        return False
                    self._describe(cluster, page)
                    page = []
            if page:
                if self._out_of_time():
                    return False
                self._describe(cluster, page)
        self._complete_clusters.add(_cluster_name(cluster))
        return True

    def _describe(self, cluster: str, arns: Sequence[str]) -> frozenset[str]:
        """Apply what ECS says of these tasks and return those that it does not know."""
        try:
            answer = self._lookups.ecs.describe_tasks(cluster=cluster, tasks=list(arns))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ClusterNotFoundException":
                return frozenset(arns)
            raise
        for task in answer.get("tasks", ()):
            self._apply(task)
        failures = answer.get("failures", ())
        return frozenset(each.get("arn", "") for each in failures if each.get("reason") == "MISSING")

    def _apply(self, task: Any) -> None:
        self._report.swept += 1
        try:
            event = parse_task(task, self._now)
            self._seen.add(event.task_arn)
            known = self._registered.get(event.task_arn)
            if known is None or known.version < event.version:
                registered = register(event, self._store, self._lookups, self._now)
                if registered.outcome is Outcome.APPLIED and registered.record is not None:
                    self._report.drift += 1
                    self._warn(
                        "the registry had missed a task's state",
                        task=event.task_arn,
                        version=event.version,
                        known_version=None if known is None else known.version,
                    )
                    known = registered.record
                    self._registered[event.task_arn] = known
            if known is not None:
                self._learn_health(known, event)
        except (EventError, DefinitionError, UnknownTaskDefinitionError) as error:
            # The registrar says the same of the task's events, with its metric.
            self._report.rejected += 1
            self._warn("the task is left out", task=task.get("taskArn"), mistake=str(error))

    def _learn_health(self, known: TaskRecord, event: TaskEvent) -> None:
        if event.health is None or known.gone or known.health == event.health:
            return
        outcome = self._store.tasks.report_health(known.namespace, known.task_id, Health(event.health), self._now)
        self._report.health_learned += outcome is HealthOutcome.APPLIED

    def _look_for_lost(self) -> None:
        """Ask for registered tasks that no list showed, and bury those that ECS does not know (rule 3)."""
        lost: defaultdict[str, list[TaskRecord]] = defaultdict(list)
        for record in self._registered.values():
            settled = self._now - record.changed_at >= SETTLING_SECONDS
            if record.gone or record.task_arn in self._seen or not settled:
                continue
            if _cluster_name(record.cluster_arn) in self._complete_clusters:
                lost[record.cluster_arn].append(record)
        for cluster, records in sorted(lost.items()):
            for start in range(0, len(records), PAGE):
                if self._out_of_time():
                    return
                page = {record.task_arn: record for record in records[start : start + PAGE]}
                for arn in self._describe(cluster, list(page)) & page.keys():
                    if self._store.tasks.entomb(page[arn], self._now):
                        self._report.drift += 1
                        self._report.entombed += 1
                        self._warn("ECS no longer knows a registered task", task=arn)

    def _end_waits(self) -> None:
        for record in self._registered.values():
            if wait_is_over(record, self._now):
                self._report.waits_over += self._store.tasks.mark_waited(record)


def _cluster_name(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]
