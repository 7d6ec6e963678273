"""What a task's record becomes, and what its endpoints are. Pure.

Rules:
1. A record holds facts; the state of an endpoint is computed from them (`state_of`), so that the order in
   which facts arrive cannot matter.
2. Facts of an event replace all facts of a lower version and nothing of a higher or equal one.
3. A tombstone (`gone`) made of STOPPED is never revived; a later version may still tell why the task stopped. One
   made because ECS did not know the task (`absent_at`) yields to a later version, and to ECS showing the task again:
   absence is no proof.
4. Health is a fact of its own with its own time, it matters only while the task is alive, and a tombstone
   holds none. UNKNOWN health is the absence of a report and never replaces one, so a task whose reporter
   falls silent does not flap. A report of the health that is known changes nothing, so that repeating it costs
   no write and no revision.
5. A running task with a health check and no report waits `health_wait` seconds (8 minutes at most) for one.
   That the wait is over is a fact too (`waited`), written by the reconciler, since no event tells it.
6. A task whose sidecar has seen that ECS wants it to stop is draining from then on. ECS never takes that back, so
   no event and no later report does either. Findings of the sidecar are kept until its next ones.
7. A task that no ECS service started has no endpoints, unless its definition says `standalone`.

        starting ──▶ ready ◀──▶ unhealthy
            │          │            │
            └──────────┴─────┬──────┘
                             ▼
                         draining ──▶ gone
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from registry.domain.events import TaskEvent, TaskFacts
from registry.domain.offer import AppProtocol, Definition, Offer
from registry.domain.reports import Finding, Health, TaskReport

# How long a tombstone must outlive its task. EventBridge gives an event up after 24 hours and a dead-letter
# queue is looked at a day later at best; a redriven event older than that is repaired by the reconciler.
TOMBSTONE_SECONDS: Final = 2 * 24 * 3600


class State(StrEnum):
    """States of an endpoint. Only ready ones get new requests."""

    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    GONE = "gone"


class _Phase(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    GONE = "gone"


# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
_PHASE_OF_STATUS: Final[Mapping[str, _Phase]] = {
    "PROVISIONING": _Phase.STARTING,
    "PENDING": _Phase.STARTING,
    "ACTIVATING": _Phase.STARTING,
    "RUNNING": _Phase.RUNNING,
    "DEACTIVATING": _Phase.STOPPING,
    "STOPPING": _Phase.STOPPING,
    "DEPROVISIONING": _Phase.STOPPING,
    "STOPPED": _Phase.GONE,
    "DELETED": _Phase.GONE,
}

# (has a health check, report, the wait is over) -> state of a running task
_STATE_OF_RUNNING: Final[Mapping[tuple[bool, Health | None, bool], State]] = {
    (False, None, False): State.READY,
    (False, None, True): State.READY,
    (False, Health.HEALTHY, False): State.READY,
    (False, Health.HEALTHY, True): State.READY,
    # Without a health check ECS knows no health: a report comes from a sidecar that knows better.
    (False, Health.UNHEALTHY, False): State.UNHEALTHY,
    (False, Health.UNHEALTHY, True): State.UNHEALTHY,
    (True, None, False): State.STARTING,
    (True, None, True): State.READY,
    (True, Health.HEALTHY, False): State.READY,
    (True, Health.HEALTHY, True): State.READY,
    (True, Health.UNHEALTHY, False): State.UNHEALTHY,
    (True, Health.UNHEALTHY, True): State.UNHEALTHY,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One service of one task. `port` is None until it is known (bridge mode before the containers run)."""

    service: str
    port_name: str
    protocol: AppProtocol
    port: int | None
    container_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord(TaskFacts):
    """The facts known of a task; `expires_at` is set on tombstones only.

    `address` is that of the host in bridge mode. `stop_seen_at` is when the sidecar first reported that ECS wants the
    task to stop, `absent_at` when a sweep first found that ECS does not know the task.
    """

    namespace: str
    task_definition: str
    endpoints: tuple[Endpoint, ...]
    health_wait: float | None
    task_role: str | None = None
    health: Health | None = None
    health_at: float | None = None
    waited: bool = False
    stop_seen_at: float | None = None
    findings: tuple[Finding, ...] = ()
    absent_at: float | None = None
    gone: bool = False
    expires_at: int | None = None


# What events do not tell: it outlives them, and ends with the task.
_NOTHING_OF_THE_LIVING: Final[Mapping[str, Any]] = {
    "health": None,
    "health_at": None,
    "waited": False,
    "stop_seen_at": None,
    "findings": (),
}
FACTS_OF_THE_LIVING: Final = tuple(_NOTHING_OF_THE_LIVING)


def health_of(event: TaskEvent, definition: Definition) -> Health | None:
    """Return the health that counts for the task's endpoints: the worst of the containers that the definition names.

    ECS's own verdict on the task has the gate in it, which waits for the endpoints to be ready. None for UNKNOWN.
    """
    found = [event.container_health.get(name) for name in definition.health_checked]
    if Health.UNHEALTHY in found:
        return Health.UNHEALTHY
    return Health.HEALTHY if found and all(found) else None


def is_over(event: TaskEvent) -> bool:
    """Return whether the event says that the task has stopped for good."""
    return _phase(event.last_status, event.desired_status) is _Phase.GONE


def is_stop(event: TaskEvent) -> bool:
    """Return whether the event says that the task stops or has stopped."""
    return _phase(event.last_status, event.desired_status) in (_Phase.STOPPING, _Phase.GONE)


def stopped_record(known: TaskRecord, event: TaskEvent) -> TaskRecord:
    """Return the facts in the event of a stop, for a task whose definition is not at hand."""
    gone = is_over(event)
    return replace(
        known,
        version=event.version,
        last_status=event.last_status,
        desired_status=event.desired_status,
        address=event.address if gone else event.address or known.address,
        stopping_at=event.stopping_at,
        stopped_at=event.stopped_at,
        changed_at=event.changed_at,
        stop_code=event.stop_code,
        stopped_reason=event.stopped_reason,
        absent_at=None,
        gone=gone,
        expires_at=_expiry(event.stopped_at or event.changed_at) if gone else None,
    )


def record_of(event: TaskEvent, definition: Definition, host_address: str | None) -> TaskRecord:
    """Return the facts in an event, with nothing of what was known before.

    `host_address` is the address of the container instance; awsvpc tasks do not need it.
    """
    gone = is_over(event)
    in_task_network = definition.network_mode == "awsvpc"
    facts = event.facts() if in_task_network else event.facts() | {"address": host_address}
    return TaskRecord(
        **facts,
        namespace=definition.namespace,
        task_definition=definition.name,
        endpoints=_endpoints(event, definition),
        health_wait=definition.health_wait_seconds,
        task_role=event.role_override or definition.role,
        gone=gone,
        expires_at=_expiry(event.stopped_at or event.changed_at) if gone else None,
    )


def started_by_service(event: TaskEvent) -> bool:
    """Return whether an ECS service started the task.

    RunTask lets its caller choose either of the two marks, so both must be there.
    """
    return (event.group or "").startswith("service:") and (event.started_by or "").startswith("ecs-svc/")


def _endpoints(event: TaskEvent, definition: Definition) -> tuple[Endpoint, ...]:
    if not definition.standalone and not started_by_service(event):
        return ()
    return tuple(_endpoint(offer, event, definition.network_mode) for offer in definition.offers)


def _endpoint(offer: Offer, event: TaskEvent, network_mode: str) -> Endpoint:
    port: int | None = offer.port
    if network_mode == "bridge":
        ports = [
            binding.host_port
            for binding in event.bindings
            if (binding.container, binding.container_port) == (offer.container, offer.port)
        ]
        port = ports[0] if ports else None
    return Endpoint(offer.service, offer.port_name, offer.protocol, port, offer.container_port)


def _expiry(stopped_at: float) -> int:
    return int(stopped_at) + TOMBSTONE_SECONDS


def accepts(known: TaskRecord | None, version: int, gone: bool) -> bool:
    """Return whether facts of this version may replace what is known (rules 2 and 3).

    The store makes the same decision as a condition of its write.
    """
    if known is None:
        return True
    return known.version < version and (gone or not known.gone or known.absent_at is not None)


def apply_report(known: TaskRecord | None, report: TaskReport) -> TaskRecord | None:
    """Return what is known after a sidecar's report: the same object when it is no news. Tombstones take none."""
    if known is None or known.gone:
        return known
    news: dict[str, Any] = {}
    if report.health is not None and report.health is not known.health and not is_stale(known, report):
        news |= {"health": report.health, "health_at": report.health_at}
    if report.is_stopping and known.stop_seen_at is None:
        news["stop_seen_at"] = report.at
    if report.findings is not None and report.findings != known.findings:
        news["findings"] = report.findings
    return replace(known, **news) if news else known


def is_stale(known: TaskRecord, report: TaskReport) -> bool:
    """Return whether the health in a report is not later than the health that is known."""
    return report.health is not None and known.health_at is not None and known.health_at >= report.health_at


def entomb(known: TaskRecord, now: float) -> TaskRecord:
    """Return the tombstone of a task that ECS no longer knows; it differs from one made of STOPPED."""
    if known.gone:
        return known
    absent_at = now if known.absent_at is None else known.absent_at
    return replace(known, **_NOTHING_OF_THE_LIVING, absent_at=absent_at, gone=True, expires_at=_expiry(now))


def sight(known: TaskRecord) -> TaskRecord:
    """Return what is known of a task when ECS shows it again as it was known: alive, if absence made it a tombstone."""
    return known if known.absent_at is None else replace(known, absent_at=None, gone=False, expires_at=None)


def lacks_address(record: TaskRecord) -> bool:
    """Return whether a task runs whose endpoints nobody can reach: an address or a port was not known yet."""
    if record.gone or _phase_of(record) is not _Phase.RUNNING or not record.endpoints:
        return False
    return record.address is None or any(endpoint.port is None for endpoint in record.endpoints)


def _phase_of(record: TaskRecord) -> _Phase:
    desired_status = record.desired_status if record.stop_seen_at is None else "STOPPED"
    return _phase(record.last_status, desired_status)


def _phase(last_status: str, desired_status: str) -> _Phase:
    # A status that ECS adds one day gets no traffic until we know it.
    phase = _PHASE_OF_STATUS.get(last_status, _Phase.STARTING)
    if desired_status == "STOPPED" and phase is not _Phase.GONE:
        return _Phase.STOPPING
    return phase


def state_of(record: TaskRecord) -> State:
    """Return the state of the task's endpoints."""
    if record.gone:
        return State.GONE
    match _phase_of(record):
        case _Phase.STARTING:
            return State.STARTING
        case _Phase.RUNNING:
            return _STATE_OF_RUNNING[(record.health_wait is not None, record.health, record.waited)]
        case _Phase.STOPPING:
            return State.DRAINING
        case _Phase.GONE:
            return State.GONE


def since_of(record: TaskRecord) -> float:
    """Return when the task's endpoints reached their state (epoch seconds)."""
    started = record.started_at or record.changed_at
    match state_of(record):
        case State.STARTING:
            return record.created_at or record.changed_at
        case State.READY if record.health_at is None:
            return started + (record.health_wait or 0.0)
        case State.READY | State.UNHEALTHY:
            return max(started, record.health_at or started)
        case State.DRAINING:
            return record.stop_seen_at or record.stopping_at or record.changed_at
        case State.GONE:
            return record.stopped_at or record.changed_at


def has_run(record: TaskRecord) -> bool:
    """Return whether a living task has come to run, so that what its definition says of services counts."""
    return not record.gone and (record.started_at is not None or record.last_status == "RUNNING")


def wait_is_over(record: TaskRecord, now: float) -> bool:
    """Return whether a task that still counts as starting has waited long enough for its health."""
    if record.waited or record.health_wait is None or record.health is not None:
        return False
    if _phase_of(record) is not _Phase.RUNNING or record.gone:
        return False
    return now >= (record.started_at or record.changed_at) + record.health_wait
