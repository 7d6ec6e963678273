"""Publisher: a batch of the table's stream to one build per namespace.

The records of a namespace whose build failed for the moment are reported as failed, so that Lambda brings the
batch again from the first of them; namespaces that were published find nothing to change then. What another try
would not help (`failures.py`) is logged and counted instead: it would hold up all other namespaces of the shard
for as long as Lambda tries. The reconciler compares the namespace with its snapshot each minute, and the hosted zone
with all names.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from registry import metric_names
from registry.dynamodb.store import Store, open_store
from registry.failures import Failure, failure_of
from registry.feeding import Feeder, WholeDocumentError, open_feeder
from registry.hosted_zone import HostedZone, open_zone
from registry.publishing import Changes, Publisher
from registry.settings import Settings

settings = Settings.from_environment(os.environ)
log = Logger()
metrics = Metrics()
# "pynamodb" too would trace each call twice: PynamoDB calls botocore.
tracer = Tracer(patch_modules=["botocore"])
store = open_store(settings.table, settings.region)
publisher = Publisher(store, stream=settings.stream)
zone = open_zone(settings.hosted_zone, settings.hosted_zone_mode, settings.region)
feeder = open_feeder(store, settings)


class NothingPublishedError(Exception):
    """The whole batch must come again."""


def changes_of(records: Iterable[Mapping[str, Any]]) -> dict[str, Changes]:
    """Return what may have changed, by namespace. Records of our own output say nothing."""
    tasks: defaultdict[str, set[str]] = defaultdict(set)
    services: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        namespace, kind, name = key_of(record)
        if kind == "SERVICE":
            services[namespace].add(name)
        elif kind == "ALIAS":
            services[namespace] |= _holders_in(record)
        elif kind == "TASK":
            tasks[namespace].add(name)
            services[namespace] |= _services_in(record)
    return {
        namespace: Changes(frozenset(tasks[namespace]), frozenset(services[namespace]))
        for namespace in sorted(tasks.keys() | services.keys())
    }


def key_of(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return namespace, kind of item (TASK, SERVICE, HEAD, ...) and name of the item a record is about."""
    keys = record["dynamodb"]["Keys"]
    namespace = str(keys["pk"]["S"]).partition("#")[2]
    kind, _, name = str(keys["sk"]["S"]).partition("#")
    return namespace, kind, name


def _services_in(record: Mapping[str, Any]) -> set[str]:
    """Return the services in a task's images: where its endpoints are or were."""
    names = (
        endpoint.get("M", {}).get("service", {}).get("S")
        for image in ("NewImage", "OldImage")
        for endpoint in record["dynamodb"].get(image, {}).get("endpoints", {}).get("L", ())
    )
    return {name for name in names if name}


def _holders_in(record: Mapping[str, Any]) -> set[str]:
    """Return the services in an alias's images: whose it is and was."""
    images = (record["dynamodb"].get(image, {}) for image in ("NewImage", "OldImage"))
    return {image["service"]["S"] for image in images if "service" in image}


def publish_all(
    publisher: Publisher,
    changes: Mapping[str, Changes],
    clock: Callable[[], float] = time.perf_counter,
    rename: Callable[[], None] = lambda: None,
    feeder: Feeder | None = None,
) -> dict[str, Exception]:
    """Publish each namespace and return what went wrong for the moment, by namespace; `rename` when names changed."""
    renamed = False
    failed: dict[str, Exception] = {}
    _count(metric_names.SNAPSHOTS_PUBLISHED, 0)  # so that a batch which changes nothing is seen, too
    _count(metric_names.PUBLISH_FAILURES, 0)
    for namespace, change in changes.items():
        began = clock()
        try:
            published = publisher.publish(namespace, change)
            renamed = renamed or published.renamed  # before what may fail: another try finds nothing renamed
            if feeder is not None:
                _bring_up(feeder, namespace)  # also when nothing changed: the one before may have died
        except Exception as error:
            # One namespace's trouble must not keep the others back.
            failure = failure_of(error)
            log.exception("the namespace is not published", namespace=namespace, failure=failure.value)
            if failure is Failure.PASSING:
                failed[namespace] = error
            else:
                _count(metric_names.PUBLISH_FAILURES, 1)
            continue
        _count(metric_names.SNAPSHOTS_PUBLISHED, int(published.is_new))
        _count(metric_names.PUBLISH_CONFLICTS, published.conflicts)
        _count(metric_names.PUBLISH_TIME, round(1000 * (clock() - began), 3))
        if published.left_out:
            log.error(
                "services are too large to be published", namespace=namespace, services=sorted(published.left_out)[:20]
            )
        log.info(
            "published" if published.is_new else "nothing changed",
            namespace=namespace,
            revision=published.revision,
            tasks=len(change.tasks),
            conflicts=published.conflicts,
        )
    if renamed:
        rename()
    return failed


def _bring_up(feeder: Feeder, namespace: str) -> None:
    """Bring the feed up. A bucket that refuses is logged and counted only: the records would wait for it in vain."""
    try:
        feeder.bring_up(namespace)
    except WholeDocumentError:
        log.exception("the whole document is not written", namespace=namespace)
        _count(metric_names.PUBLISH_FAILURES, 1)


def bring_zone(zone: HostedZone, store: Store, remaining: Callable[[], float]) -> None:
    """Bring the hosted zone up to date. What fails is logged only: the reconciler does it within a minute."""
    try:
        brought = zone.bring(store, remaining)
    except Exception:
        log.exception("the hosted zone is not up to date")
        return
    log.info("hosted zone", written=brought.written, removed=brought.removed, taken=brought.taken[:20])


def _count(metric: metric_names.Metric, value: float) -> None:
    metrics.add_metric(name=metric.name, unit=MetricUnit(metric.unit), value=value)


def failures_among(records: Sequence[Mapping[str, Any]], failed: Mapping[str, Exception]) -> dict[str, Any]:
    """Return the records of failed namespaces as Lambda wants them (ReportBatchItemFailures).

    Raises NothingPublishedError when that is all of them, so that Lambda counts an error.
    """
    lost = [record["dynamodb"]["SequenceNumber"] for record in records if key_of(record)[0] in failed]
    if lost and len(lost) == len(records):
        raise NothingPublishedError(f"none of {', '.join(failed)} is published") from next(iter(failed.values()))
    return {"batchItemFailures": [{"itemIdentifier": each} for each in lost]}


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@log.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Handle one batch and return the records that must come again."""
    records = event["Records"]

    def rename() -> None:
        if zone is not None:
            bring_zone(zone, store, lambda: context.get_remaining_time_in_millis() / 1000)

    return failures_among(records, publish_all(publisher, changes_of(records), rename=rename, feeder=feeder))
