"""Reconciler: on a schedule, one sweep of ECS."""

from __future__ import annotations

import os
import time
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from reconciler.sweep import Sweep
from registry import metric_names
from registry.ecs import Lookups
from registry.settings import Settings
from registry.store import open_store

settings = Settings.from_environment(os.environ)
logger = Logger()
metrics = Metrics()
# "pynamodb" too would trace each call twice: PynamoDB calls botocore.
tracer = Tracer(patch_modules=["botocore"])
store = open_store(settings.table, settings.region)
# The quotas of ECS's reads are shared with the user's other tools: adaptive mode slows down when throttled.
_config = Config(retries={"mode": "adaptive", "total_max_attempts": 6}, connect_timeout=2, read_timeout=10)
lookups = Lookups(
    ecs=lambda: boto3.client("ecs", region_name=settings.region, config=_config),
    ec2=lambda: boto3.client("ec2", region_name=settings.region, config=_config),
)

# Where this process's last sweep ran out of time. Another process starts at the first cluster.
_next_cluster: list[str | None] = [None]


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context(correlation_id_path="id", clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Sweep once and return the counts."""
    sweep = Sweep(
        store,
        lookups,
        settings.clusters,
        now=time.time(),
        remaining=lambda: context.get_remaining_time_in_millis() / 1000,
        warn=logger.warning,
    )
    report = sweep.run(start=_next_cluster[0])
    _next_cluster[0] = report.next_cluster
    for metric, value in ((metric_names.TASKS_SWEPT, report.swept), (metric_names.DRIFT, report.drift)):
        metrics.add_metric(name=metric.name, unit=MetricUnit(metric.unit), value=value)
    counts: dict[str, Any] = {
        "swept": report.swept,
        "drift": report.drift,
        "health_learned": report.health_learned,
        "waits_over": report.waits_over,
        "entombed": report.entombed,
        "rejected": report.rejected,
        "next_cluster": report.next_cluster,
    }
    logger.info("swept", **counts)
    return counts
