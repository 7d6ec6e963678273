"""Reconciler: on a schedule, one sweep of ECS, of what is published, and of the hosted zone that has the names."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from reconciler.publications import Publications
from reconciler.sweep import Sweep
from registry import metric_names
from registry.aws.clients import open_lookups
from registry.aws.pacing import TokenBucket
from registry.dynamodb.store import Store, open_store
from registry.feeding import open_feeder
from registry.hosted_zone import HostedZone, open_zone
from registry.publishing import Publisher
from registry.settings import Settings

settings = Settings.from_environment(os.environ)
log = Logger()
metrics = Metrics()
# "pynamodb" too would trace each call twice: PynamoDB calls botocore.
tracer = Tracer(patch_modules=["botocore"])
store = open_store(settings.table, settings.region)
publisher = Publisher(store, stream=settings.stream)
feeder = open_feeder(store, settings)
zone = open_zone(settings.hosted_zone, settings.hosted_zone_mode, settings.region)
lookups = open_lookups(settings.region, settings.mesh, TokenBucket(settings.ecs_calls_per_second))


class SweepIncompleteError(Exception):
    """Clusters or namespaces were left out. The rest was swept; the next sweep tries them again."""


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@log.inject_lambda_context(correlation_id_path="id", clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Sweep once and return the counts. Raises SweepIncompleteError, and what the table raises at the beginning."""
    now = time.time()

    def remaining() -> float:
        return context.get_remaining_time_in_millis() / 1000

    report = Sweep(
        store,
        lookups,
        Publications(store, publisher, now, log.warning, feeder),
        settings.clusters,
        now=now,
        remaining=remaining,
        warn=log.warning,
    ).run(store.sweeps.next_cluster())
    if zone is not None and not repair_zone(zone, store, remaining):
        report.failures += 1
    for metric, value in (
        (metric_names.TASKS_SWEPT, report.swept),
        (metric_names.TASKS_LEFT_OUT, report.left_out),
        (metric_names.DRIFT, report.drift),
        (metric_names.PUBLICATION_DRIFT, report.published),
        (metric_names.FEED_DRIFT, report.feed_drift),
        (metric_names.SERVICES_LEFT_OUT, report.services_left_out),
        (metric_names.ALIAS_CONFLICTS, report.conflicts),
        (metric_names.SERVICE_CLAIMS_REFUSED, report.refused),
        (metric_names.SWEEP_FAILURES, report.failures),
        (metric_names.SNAPSHOT_SERVICES, report.services),
        (metric_names.SNAPSHOT_ENDPOINTS, report.endpoints),
        (metric_names.TASK_FINDINGS, report.findings),
        (metric_names.OPEN_FINDINGS, report.open_findings),
    ):
        metrics.add_metric(name=metric.name, unit=MetricUnit(metric.unit), value=value)
    counts = dataclasses.asdict(report)
    log.info("swept", **counts)
    if report.failures:
        raise SweepIncompleteError(f"{report.failures} clusters or namespaces were left out; the log says which")
    return counts


def repair_zone(zone: HostedZone, store: Store, remaining: Callable[[], float]) -> bool:
    """Bring the hosted zone up to date; return False when that failed."""
    try:
        brought = zone.bring(store, remaining)
    except Exception as error:
        log.warning("the hosted zone is not up to date", error=repr(error), exc_info=error)
        return False
    if brought.written or brought.removed:
        log.warning("the hosted zone had missed changes", written=brought.written, removed=brought.removed)
    if brought.taken:
        log.warning("names have records that are not ours in the hosted zone", names=brought.taken[:20])
    return True
