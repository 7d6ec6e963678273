"""Registrar: one ECS event to the registry.

A task's state is one conditional write, what happened to a service is one item of its history. What is wrong with the
task's definition and its services is kept as findings, so that people are shown it and need not read the log.

What it cannot do anything about (input that is no task event, an unknown task definition, a mistake in a
label; `failures.py` has the table) is logged and counted, and the function returns: to try again would bring the
same. What may pass (a failing AWS call) is raised, so that Lambda tries again and the event ends in the
dead-letter queue.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from registry import metric_names
from registry.aws.clients import open_lookups
from registry.aws.ecs import Lookups, UnknownTaskDefinitionError
from registry.domain import findings
from registry.domain.definition import short_name
from registry.domain.events import EventError, TaskEvent, parse_event
from registry.domain.findings import Found
from registry.domain.offer import DefinitionError
from registry.domain.rules import is_stop
from registry.domain.service_events import ServiceEvent, parse_service_event
from registry.dynamodb.store import Store, open_store
from registry.failures import Failure, failure_of
from registry.registration import Outcome, Registered, register
from registry.settings import Settings

settings = Settings.from_environment(os.environ)
log = Logger()
metrics = Metrics()
# "pynamodb" too would trace each call twice: PynamoDB calls botocore.
tracer = Tracer(patch_modules=["botocore"])
store = open_store(settings.table, settings.region)
lookups = open_lookups(settings.region, settings.mesh)

_METRIC_OF_OUTCOME = {
    Outcome.APPLIED: metric_names.EVENTS_APPLIED,
    Outcome.STALE: metric_names.EVENTS_STALE,
    Outcome.IGNORED: metric_names.EVENTS_IGNORED,
}


def handle(
    event: object, store: Store, lookups: Lookups, now: float, may_join: Callable[[str], bool] = settings.has_cluster
) -> metric_names.Metric:
    """Register what an event says and return the metric that counts what became of it.

    `may_join` says of a cluster's ARN whether its tasks may join the mesh.
    """
    try:
        service_event = parse_service_event(event)
        if service_event is not None:
            return keep(service_event, store)
        task = parse_event(event)
    except EventError as error:
        log.error("not an ECS event of ours", field=error.field, reason=error.reason, task=error.task)
        return metric_names.EVENTS_MALFORMED
    log.append_keys(task=task.task_arn, version=task.version, last_status=task.last_status, desired=task.desired_status)
    if not may_join(task.cluster_arn):
        log.info("the task is left out: its cluster is not in the list", cluster=task.cluster_arn)
        return metric_names.EVENTS_IGNORED
    try:
        registered = register(task, store, lookups, now)
    except DefinitionError as error:
        log.error(
            "the task is left out: its task definition has a mistake",
            task_definition=error.task_definition,
            container=error.container,
            path=error.path,
            mistake=error.mistake,
            remedy=error.remedy,
        )
        note(task, None, store, lookups, now)
        return metric_names.EVENTS_REJECTED
    except UnknownTaskDefinitionError as error:
        log.error(
            "the task is left out: its task definition is unknown",
            task_definition=task.task_definition_arn,
            mistake=str(error),
        )
        if not is_stop(task):
            store.findings.see(None, [findings.no_definition(short_name(task.task_definition_arn), str(error))], now)
        return metric_names.EVENTS_REJECTED
    except Exception as error:
        if failure_of(error) is Failure.PASSING:
            raise
        log.exception("the task is left out: it cannot be registered", mistake=str(error))
        return metric_names.EVENTS_REJECTED
    note(task, registered, store, lookups, now)
    for service, conflicts in registered.conflicts.items():
        for conflict in conflicts:
            log.warning(
                "another service has the alias: it keeps it",
                service=service,
                alias=f"{conflict.alias.dns_name}:{conflict.alias.port}",
                holder=conflict.holder,
            )
    for claim in registered.refused:
        log.warning(
            "the task may not offer the service: it gets no traffic of it",
            service=claim.service,
            claimant=claim.claimant,
            reason=claim.reason,
        )
    log.info("task event " + registered.outcome)
    return _METRIC_OF_OUTCOME[registered.outcome]


def note(task: TaskEvent, registered: Registered | None, store: Store, lookups: Lookups, now: float) -> None:
    """Keep what is wrong with a task's definition, and with what it wants or how it ended."""
    advice = lookups.advice(task.task_definition_arn)
    never_ran = task.started_at is None  # a sidecar that cannot read its label ends before the task runs
    if advice is not None and (never_ran or not is_stop(task)):
        store.findings.see(advice.namespace, advice.found, now)
    if registered is None or registered.record is None:
        return
    found: list[Found] = [
        findings.conflict(service, each.alias, each.holder)
        for service, conflicts in registered.conflicts.items()
        for each in conflicts
    ]
    found += [findings.refused_claim(claim) for claim in registered.refused]
    found += findings.of_tasks([registered.record], now)
    store.findings.see(registered.record.namespace, found, now)


def keep(event: ServiceEvent, store: Store) -> metric_names.Metric:
    """Add an event to the history of its service."""
    store.history.add(event)
    log.info("service event kept", ecs_service=event.service, event=event.name, level_of_event=event.level)
    return metric_names.SERVICE_EVENTS


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@log.inject_lambda_context(correlation_id_path="id", clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Handle one EventBridge event."""
    metric = handle(event, store, lookups, time.time())
    metrics.add_metric(name=metric.name, unit=MetricUnit(metric.unit), value=1)
