"""What the API reads from the published snapshots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

from api.problems import Problem
from registry.domain.layout import Head, part_of
from registry.domain.lineage import Version
from registry.domain.owners import Claim
from registry.domain.reports import Finding
from registry.domain.rules import since_of, state_of
from registry.domain.service import ServiceRecord
from registry.domain.snapshot import Document, assemble, can_delta, iso
from registry.dynamodb.snapshot_store import SnapshotBusyError
from registry.dynamodb.store import Store

# Of a large service not all tasks are asked for findings: a deployment's mistakes are the same in each.
MOST_TASKS_ASKED: Final = 100


def head_of(store: Store, namespace: str, known: Collection[Version] = ()) -> Head:
    """Return a namespace's head, at least as new as the versions that the caller knows, where there is one."""
    head = store.snapshots.head(namespace, consistent=False)
    if head is None or not all(head.version.reaches(each) for each in known):
        # Half the price, but it may lag behind what this caller was told a moment ago.
        head = store.snapshots.head(namespace, consistent=True)
    if head is None:
        raise Problem(404, "unknown-namespace", f"no task has joined namespace {namespace} yet", "namespace")
    return head


def snapshot(
    store: Store, namespace: str, head: Head, since: Version | None, wanted: frozenset[str] | None
) -> Document:
    """Return the snapshot document: a delta if `since` is given and one is possible, else all."""
    numbers = None if wanted is None else frozenset(part_of(name) for name in wanted)
    try:
        if since is not None and since.revision > 0 and head.version.reaches(since):
            found, parts = store.snapshots.read(namespace, head, newer_than=since.revision, numbers=numbers)
            if found.epoch == since.epoch and can_delta(parts.values(), found, since.revision):
                return assemble(namespace, found, parts.values(), since.revision, wanted)
        found, parts = store.snapshots.read(namespace, head, numbers=numbers)
    except SnapshotBusyError as error:
        raise Problem(503, "busy", str(error), headers={"Retry-After": "1"}) from error
    return assemble(namespace, found, parts.values(), None, wanted)


def service(store: Store, namespace: str, name: str, now: float) -> Document:
    """Return one service as the snapshot shows it, and what only people want to know of it."""
    head = head_of(store, namespace)
    services = snapshot(store, namespace, head, None, frozenset({name}))["services"]
    if not services:
        raise unknown_service(namespace, name)
    record = store.services.get(namespace, name)
    refused = store.owners.refused(namespace, now, name).get(name, [])
    ecs_service = None if record is None else record.latest.ecs_service
    return {
        **services[0],
        "conflicts": [
            {"dns_name": each.alias.dns_name, "port": each.alias.port, "holder": each.holder}
            for each in (() if record is None else record.conflicts)
        ],
        "refused_aliases": [
            {"dns_name": each.dns_name, "port": each.port}
            for each in (() if record is None else record.refused_aliases)
        ],
        "owners": [] if record is None else list(record.owners),
        "allowed": [] if record is None else list(record.allowed),
        "policy_revision": 0 if record is None else record.policy_revision,
        "policy_since": None if record is None or record.policy_at is None else iso(record.policy_at),
        "refused": [_refused(each) for each in refused],
        "findings": service_findings(store, namespace, services[0]),
        "ecs_service": ecs_service,
        "history": [
            {
                "at": iso(event.at),
                "kind": event.kind,
                "event": event.name,
                "level": event.level,
                "deployment": event.deployment,
                "reason": event.reason,
            }
            for event in ([] if ecs_service is None else store.history.latest(ecs_service, now))
        ],
    }


def endpoint_count(store: Store, namespace: str, name: str) -> int:
    """Return how many tasks the snapshot shows of a service; 0 when it does not show the service."""
    head = store.snapshots.head(namespace, consistent=True)
    if head is None:
        return 0
    services = snapshot(store, namespace, head, None, frozenset({name}))["services"]
    return sum(len(each["endpoints"]) for each in services)


def owners(store: Store, namespace: str, record: ServiceRecord, now: float) -> Document:
    """Return whose a service is, who else may offer it, and whose claims were refused."""
    return {
        "owners": list(record.owners),
        "allowed": list(record.allowed),
        "refused": [_refused(each) for each in store.owners.refused(namespace, now, record.name).get(record.name, [])],
    }


def _refused(claim: Claim) -> Document:
    return {
        "claimant": claim.claimant,
        "task_definition": claim.task_definition,
        "reason": claim.reason,
        "at": iso(claim.at),
    }


def service_findings(store: Store, namespace: str, service: Document) -> list[Document]:
    """Return what the sidecars of a service's tasks find wrong, of at most `MOST_TASKS_ASKED` of them."""
    ids = sorted({str(endpoint["id"]).partition("/")[0] for endpoint in service["endpoints"]})
    tasks = store.tasks.get_all(namespace, ids[:MOST_TASKS_ASKED])
    return [{"task": task_id, **shown(each)} for task_id in sorted(tasks) for each in tasks[task_id].findings]


def finding_page(store: Store, namespace: str | None, limit: int, after: str, now: float) -> Document:
    """Return at most so many findings of a namespace (None: of definitions that name none) behind a key."""
    page, following = store.findings.page(namespace, limit, after, now)
    return {
        "findings": [
            {"resource": each.found.resource, **shown(each.found.finding), "since": iso(each.since)} for each in page
        ],
        "next": following,
    }


def shown(finding: Finding) -> Document:
    """Return a finding as the API shows it."""
    return {
        "code": finding.code,
        "level": finding.level.value,
        "where": finding.where,
        "what": finding.what,
        "remedy": finding.remedy,
    }


def task(store: Store, namespace: str, task_id: str) -> Document:
    """Return what is known of a task; of one that is gone for as long as it is remembered."""
    record = store.tasks.get(namespace, task_id)
    if record is None:
        raise Problem(404, "unknown-task", f"namespace {namespace} has no task {task_id}", "task")
    return {
        "id": record.task_id,
        "arn": record.task_arn,
        "state": state_of(record).value,
        "since": iso(since_of(record)),
        "health": "UNKNOWN" if record.health is None else record.health.value,
        "address": record.address,
        "zone": record.zone,
        "task_definition": record.task_definition,
        "group": record.group,
        "deployment": record.started_by,
        "services": sorted(endpoint.service for endpoint in record.endpoints),
        "findings": [shown(each) for each in record.findings],
    }


def unknown_service(namespace: str, name: str) -> Problem:
    """Return the problem of a service that does not exist."""
    return Problem(404, "unknown-service", f"namespace {namespace} has no service {name}", "service")


def service_page(store: Store, namespace: str, limit: int, after: str, now: float) -> dict[str, Any]:
    """Return services after a name, in order, with the number of their endpoints by state, and refused claims."""
    head = head_of(store, namespace)
    document = snapshot(store, namespace, head, None, None)
    services = [each for each in document["services"] if each["name"] > after]
    page = services[:limit]
    refused = store.owners.refused(namespace, now)
    return {
        "namespace": namespace,
        "revision": document["revision"],
        "services": [
            {
                **{field: each[field] for field in ("name", "protocol", "vip", "revision", "aliases")},
                "endpoints": dict(Counter(endpoint["state"] for endpoint in each["endpoints"])),
                "refused": [_refused(claim) for claim in refused.get(each["name"], ())],
            }
            for each in page
        ],
        "next": page[-1]["name"] if len(services) > limit else None,
    }
