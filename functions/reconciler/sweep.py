"""A sweep of ECS: repairs what lost events left behind, and learns what events do not tell.

Rules:
1. Every task that ECS tells of goes through the same rules as an event. Versions compare, so a sweep never
   overwrites what is newer.
2. Health is in no event. Here it is learned from DescribeTasks, beside what sidecars report.
3. Only the tasks that shall run are listed. Registered tasks that the list does not show are asked for by
   name, which finds lost stops as well; tasks that are stopping and were never registered are of no use.
4. A registered task becomes a tombstone only when ECS itself says in two sweeps that it does not know the task
   (MISSING) or its cluster, and only after a list of that cluster, or of all clusters, that was read to its end. A
   call that fails or a list that is cut short proves nothing, nor does an answer about a task that changed a
   moment ago: ECS's API is eventually consistent and may lag behind its events. When ECS shows such a task again,
   it lives again. An address or port that was not known is added when it is.
5. The sweep stops when its time is nearly over. What it did stands; the next sweep starts with the cluster at
   which this one stopped. A cluster that one sweep cannot finish does not keep the others waiting. That the next
   sweep starts one cluster further is written before this one begins: should it be killed, it dies elsewhere the
   next time.
6. Whatever goes wrong with a task, cluster or namespace costs that one: it is logged with its name and counted,
   and the others are swept. When call after call fails for tasks, it is not the tasks: the cluster is left out.
7. What is wrong is kept as findings. Those that are no longer so end with a sweep that saw everything (`findings.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from botocore.exceptions import ClientError

from reconciler.findings import Findings
from reconciler.publications import Publications, Repaired
from registry.aws.ecs import Lookups
from registry.domain.events import TaskEvent, parse_task
from registry.domain.reports import TaskReport
from registry.domain.rules import TaskRecord, health_of, lacks_address, sight, wait_is_over
from registry.dynamodb.store import Store
from registry.dynamodb.task_store import ReportOutcome
from registry.failures import Failure, failure_of
from registry.registration import Outcome, complete, declare_again, register

PAGE: Final = 100  # DescribeTasks takes no more
MARGIN_SECONDS: Final = 10.0  # for the page at work (a call takes 9 s at worst) and the metrics
SETTLING_SECONDS: Final = 300.0  # after a task's last change, before its absence is believed
ABSENCE_SECONDS: Final = 30.0  # between two sweeps that find a task missing: at once is the same stale answer
LAG_SECONDS: Final = 45.0  # by which ECS may tell a container's health later than the task's own sidecar
PATIENCE: Final = 5  # tasks in a row for which calls fail, before the cluster is left out
COMPARING_SHARE: Final = 0.5  # of a sweep's time, for comparing snapshots; the rest is for the clusters


class _OutOfTimeError(Exception):
    """The rest is for the next sweep."""


@dataclass(slots=True)
class Report:
    """What a sweep did. `next_cluster` is where the next one must start, None when all were swept.

    `published` counts the tasks and services that had to be published again, `feed_drift` the copies of the feed that
    had to be written, `services_left_out` those that are too
    large for it, `conflicts` the aliases that two services want, `refused` the names that tasks claim and may not have,
    `removed` the services that went, `services` and `endpoints` what the snapshots held before, `findings` what
    sidecars find wrong, `open_findings` what anybody does, `left_out` the tasks and `failures` the clusters and
    namespaces for which something went wrong.
    """

    swept: int = 0
    drift: int = 0
    health_learned: int = 0
    waits_over: int = 0
    entombed: int = 0
    left_out: int = 0
    published: int = 0
    feed_drift: int = 0
    services_left_out: int = 0
    conflicts: int = 0
    refused: int = 0
    removed: int = 0
    services: int = 0
    endpoints: int = 0
    findings: int = 0
    open_findings: int = 0
    failures: int = 0
    next_cluster: str | None = None


class Sweep:
    """One sweep. `remaining` returns the seconds that are left; `warn` takes a message and keys to log."""

    def __init__(
        self,
        store: Store,
        lookups: Lookups,
        publications: Publications,
        clusters: Sequence[str],
        now: float,
        remaining: Callable[[], float],
        warn: Callable[..., None],
    ) -> None:
        self._store = store
        self._lookups = lookups
        self._publications = publications
        self._clusters = clusters
        self._now = now
        self._remaining = remaining
        self._warn = warn
        self._report = Report()
        self._failing = 0
        self._registered: dict[str, TaskRecord] = {}
        self._in_cluster: defaultdict[str, set[str]] = defaultdict(set)
        self._undeclared: set[str] = set()
        self._findings = Findings(store.findings, now)

    def run(self, start: str | None = None) -> Report:
        """Sweep all clusters, beginning with `start`. Raises what reading the namespaces raises."""
        self._read(self._store.tasks.namespaces())
        self._sweep(start)
        self._end_waits()
        self._settle()
        return self._report

    def _settle(self) -> None:
        is_whole = self._report.next_cluster is None and not self._report.failures
        try:
            self._report.open_findings = self._findings.settle(is_whole)
        except Exception as error:
            self._failed("findings are not brought up to date", error)

    def _sweep(self, start: str | None) -> None:
        self._report.next_cluster = start
        try:
            clusters = sorted(self._clusters or self._pages(self._lookups.ecs.list_clusters, "clusterArns"))
        except Exception as error:
            self._failed("no cluster is swept: they cannot be listed", error)
            return
        # Clusters that were deleted, or taken off the list: ECS is asked about the tasks that are registered.
        others = sorted(self._in_cluster.keys() - {_cluster_name(cluster) for cluster in clusters})
        if start in clusters:
            place = clusters.index(start)
            clusters = clusters[place:] + clusters[:place]
        beforehand = clusters[1] if len(clusters) > 1 else start
        self._remember(beforehand, known=start)
        self._report.next_cluster = self._sweep_clusters(clusters)
        self._remember(self._report.next_cluster, known=beforehand)
        if self._report.next_cluster is None:
            for cluster in others:
                if not self._try_cluster(cluster, listed=False):
                    return

    def _sweep_clusters(self, clusters: Sequence[str]) -> str | None:
        """Return the cluster with which the next sweep must start, None when all were swept."""
        for number, cluster in enumerate(clusters):
            if not self._try_cluster(cluster, listed=True):
                if number > 0 or len(clusters) == 1:
                    return cluster
                return clusters[1]  # the first, which a whole sweep could not finish, comes last the next time
        return None

    def _remember(self, cluster: str | None, known: str | None) -> None:
        if cluster != known:
            self._store.sweeps.set_next_cluster(cluster)

    def _read(self, namespaces: Sequence[str]) -> None:
        """Read all tasks, and have the snapshots compared with them while there is time for that.

        Each minute another namespace comes first, so that none is always the last.
        """
        if not namespaces:
            return
        first = int(self._now // 60) % len(namespaces)
        until = self._remaining() * (1 - COMPARING_SHARE)
        for namespace in (*namespaces[first:], *namespaces[:first]):
            try:
                # Half the price. What lags is caught by the conditions of the writes.
                records = list(self._store.tasks.all(namespace, consistent=False))
                for record in records:
                    self._registered[record.task_arn] = record
                    self._report.findings += len(record.findings)
                    if not record.gone:
                        self._in_cluster[_cluster_name(record.cluster_arn)].add(record.task_arn)
                compares = self._remaining() >= until
                repaired = self._compare(namespace, records) if compares else None
                self._findings.of_namespace(namespace, records, repaired)
            except Exception as error:
                self._failed("the namespace is not compared with its snapshot", error, namespace=namespace)

    def _compare(self, namespace: str, records: Sequence[TaskRecord]) -> Repaired:
        repaired = self._publications.repair(namespace, records)
        self._report.published += repaired.drift
        self._report.feed_drift += repaired.feed_drift
        self._report.services_left_out += repaired.left_out
        self._report.conflicts += repaired.conflicts
        self._report.refused += repaired.refused
        self._report.removed += repaired.removed
        self._undeclared |= repaired.undeclared
        self._report.services += repaired.services
        self._report.endpoints += repaired.endpoints
        return repaired

    def _failed(self, message: str, error: Exception, **where: object) -> None:
        self._report.failures += 1
        self._warn(message, **where, failure=failure_of(error).value, error=repr(error), exc_info=error)

    def _check_time(self) -> None:
        if self._remaining() < MARGIN_SECONDS:
            raise _OutOfTimeError

    def _pages(self, call: Callable[..., Any], key: str, **arguments: Any) -> Iterator[str]:
        token: str | None = None
        while True:
            answer = call(**arguments, **({"nextToken": token} if token else {}))
            yield from answer.get(key, ())
            token = answer.get("nextToken")
            if not token:
                return

    def _try_cluster(self, cluster: str, listed: bool) -> bool:
        """Sweep one cluster; return False when time ran out."""
        self._failing = 0
        try:
            self._sweep_cluster(cluster, listed)
        except _OutOfTimeError:
            return False
        except Exception as error:
            self._failed("the cluster is left out", error, cluster=cluster)
        return True

    def _sweep_cluster(self, cluster: str, listed: bool) -> None:
        self._check_time()
        unlisted = self._in_cluster[_cluster_name(cluster)]
        page: list[str] = []
        if listed:
            for arn in self._running(cluster):
                unlisted.discard(arn)
                page.append(arn)
                if len(page) == PAGE:
                    self._describe(cluster, page)
                    page = []
        page += sorted(unlisted)
        for start in range(0, len(page), PAGE):
            missing = self._describe(cluster, page[start : start + PAGE])
            for arn in sorted(missing & unlisted):
                self._try_task(arn, partial(self._bury, self._registered[arn]))

    def _running(self, cluster: str) -> Iterator[str]:
        """Yield the tasks that ECS lists. A cluster that was deleted has none."""
        try:
            yield from self._pages(self._lookups.ecs.list_tasks, "taskArns", cluster=cluster, desiredStatus="RUNNING")
        except ClientError as error:
            if not _is_no_cluster(error):
                raise
            self._warn("the parameter Clusters names a cluster that is not there", cluster=cluster)

    def _describe(self, cluster: str, arns: Sequence[str]) -> frozenset[str]:
        """Apply what ECS says of these tasks and return those that it does not know."""
        self._check_time()
        try:
            answer = self._lookups.ecs.describe_tasks(cluster=cluster, tasks=list(arns))
        except ClientError as error:
            if _is_no_cluster(error):
                return frozenset(arns)
            raise
        for task in answer.get("tasks", ()):
            self._report.swept += 1
            self._try_task(task.get("taskArn"), partial(self._apply, task))
        failures = answer.get("failures", ())
        return frozenset(each.get("arn", "") for each in failures if each.get("reason") == "MISSING")

    def _try_task(self, task: object, act: Callable[[], None]) -> None:
        """Do something with a task. Raises what went wrong when it is not the task's fault."""
        self._check_time()
        try:
            act()
        except Exception as error:
            failure = failure_of(error)
            self._report.left_out += 1
            self._warn("the task is left out", task=task, failure=failure.value, mistake=str(error) or repr(error))
            self._failing = self._failing + 1 if failure is Failure.PASSING else 0
            if self._failing == PATIENCE:
                raise
        else:
            self._failing = 0

    def _apply(self, task: Any) -> None:
        event = parse_task(task, self._now)
        try:
            self._apply_event(event)
        finally:  # the mistake for which a task is left out is read with its definition
            self._findings.of_definition(event, self._lookups)

    def _apply_event(self, event: TaskEvent) -> None:
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
                self._findings.missed(known)
        elif known.version == event.version:
            known = self._look_again(known, event)
        if event.task_arn in self._undeclared:
            declare_again(event, self._store, self._lookups, self._now)
        if known is not None and known.version == event.version:  # an older answer has an older health
            self._learn_health(known, event)

    def _look_again(self, known: TaskRecord, event: TaskEvent) -> TaskRecord:
        """Take from a state that is known what was missing in it; return the record as it is then."""
        found: TaskRecord | None = None
        if known.absent_at is not None and self._store.tasks.sight(known):
            found = sight(known)
            self._report.drift += known.gone
            self._warn("ECS shows a task that it did not know", task=event.task_arn, version=event.version)
        if lacks_address(found or known):
            found = complete(event, found or known, self._store, self._lookups) or found
            if found is not None and not lacks_address(found):
                self._report.drift += 1
                self._warn("a task's endpoints have their address now", task=event.task_arn, address=found.address)
        if found is not None:
            self._registered[event.task_arn] = found
        return found or known

    def _learn_health(self, known: TaskRecord, event: TaskEvent) -> None:
        as_known = event.health is not None and event.health == known.health  # nearly always: spares the definition
        if as_known or known.gone or not event.container_health:
            return
        definition = self._lookups.definition(event.task_definition_arn)
        health = health_of(event, definition) if definition is not None else None
        if health is None or known.health == health:
            return
        if known.health_at is not None and self._now - known.health_at < LAG_SECONDS:
            return  # what ECS says may be older
        report = TaskReport(self._now, health, self._now)
        outcome = self._store.tasks.report(known.namespace, known.task_id, report)
        self._report.health_learned += outcome is ReportOutcome.APPLIED

    def _bury(self, record: TaskRecord) -> None:
        """Turn a task that ECS does not know into a tombstone (rule 4)."""
        if self._now - record.changed_at < SETTLING_SECONDS:
            return
        if record.absent_at is None:
            self._store.tasks.mark_absent(record, self._now)
        elif self._now - record.absent_at >= ABSENCE_SECONDS and self._store.tasks.entomb(record, self._now):
            self._report.drift += 1
            self._report.entombed += 1
            self._warn("ECS no longer knows a registered task", task=record.task_arn)

    def _end_waits(self) -> None:
        self._failing = 0
        try:
            for record in self._registered.values():
                if wait_is_over(record, self._now):
                    self._try_task(record.task_arn, partial(self._end_wait, record))
        except _OutOfTimeError:
            return
        except Exception as error:
            self._failed("tasks go on waiting for their health", error)

    def _end_wait(self, record: TaskRecord) -> None:
        self._report.waits_over += self._store.tasks.mark_waited(record)


def _cluster_name(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


def _is_no_cluster(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") == "ClusterNotFoundException"
