"""The mistakes that the functions see: what kinds there are, and how each one is put into words. Pure.

Rules:
1. A finding says which resource it is about (`svc/orders`, `taskdef/orders:7`), where the mistake is in it, what it is
   and what to do. Texts have bounds: they are kept in the registry.
2. With an error something does not work, with a warning something may not be meant.
3. What is found of a task definition is so for ever, since a revision is immutable. It counts while a task runs it.
4. Sidecars see mistakes of their own (TRM03xx) and report them. Here they are about their task's definition; of a task
   that is not registered only `ASTRAY` is kept, since nobody else can say it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from registry.domain.bounds import shortened
from registry.domain.names import PRIVATE_SUFFIXES
from registry.domain.offer import Alias, DefinitionError
from registry.domain.owners import Claim
from registry.domain.reports import LONGEST_TEXT, LONGEST_WHERE, Finding, Level
from registry.domain.rules import TaskRecord
from registry.domain.service import ServiceRecord
from registry.domain.unknown_keys import UnknownKey

OF_SIDECARS_TOO: Final = frozenset({"TRM0310"})
"""What a sidecar says of its labels. The registrar reads them too (TRM0102, TRM0103), and once is enough."""

RECENT_SECONDS: Final = 300.0
"""A task that ended by itself is a finding for so long; ECS starts a failing one again at least every few minutes."""

LONGEST_RESOURCE: Final = 300  # ECS's families have at most 255 characters


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: its code, and what there is to say of every one."""

    code: str
    level: Level
    meaning: str
    remedy: str


BAD_LABEL: Final = Kind(
    "TRM0101",
    Level.ERROR,
    "a label of a task definition has a mistake; its tasks are not in the mesh",
    "Correct the label and register the task definition again; `tramo analyze FILE` reads it before that.",
)
MISSPELLED_KEY: Final = Kind(
    "TRM0102",
    Level.ERROR,
    "a label, or a field of the label's JSON, is probably meant to be another one, and does nothing",
    "Write the name that the finding gives.",
)
UNKNOWN_KEY: Final = Kind(
    "TRM0103",
    Level.WARNING,
    "a label that begins with `tramo.`, or a field of the label's JSON, does nothing: it is not known, or the mesh has "
    "no use for it",
    "Remove it, unless other programs read it. In place of accessLogConfiguration set TRAMO_ACCESS_LOG of the sidecar.",
)
NO_SIDECAR: Final = Kind(
    "TRM0104",
    Level.ERROR,
    "no container of a task definition in the mesh, in awsvpc mode, is marked as the sidecar; its tasks cannot call "
    "services by name",
    'Add the sidecar with `tramo inject`, or mark its container with the label tramo.sidecar: "true".',
)
PORT_CLASH: Final = Kind(
    "TRM0105",
    Level.WARNING,
    "an app has a port on which the sidecar must listen for an alias, or a range of ports with one of the sidecar's; "
    "both are in one network namespace, where only one can listen",
    "Give the alias another port, such as 80, or run the sidecar with `tramo inject --redirect`. "
    "An app that listens on 127.0.0.1 alone is not affected.",
)
OTHER_NAMESPACE: Final = Kind(
    "TRM0106",
    Level.ERROR,
    "TRAMO_NAMESPACE of the sidecar is not the label's namespace, so the sidecar never sees its own task",
    "Leave TRAMO_NAMESPACE out: the label on the sidecar's container says it.",
)
NO_DEFINITION: Final = Kind(
    "TRM0107",
    Level.ERROR,
    "ECS does not know the task definition of a task",
    "It was deleted: deploy the service with another revision.",
)
TASKS_END: Final = Kind(
    "TRM0108",
    Level.ERROR,
    "tasks of a service end by themselves soon after they were started",
    "See the log of the container that ended: `tramo logs SERVICE` on the local cluster, `aws logs tail GROUP` in AWS.",
)
OTHER_MESH: Final = Kind(
    "TRM0109",
    Level.ERROR,
    "TRAMO_MESH of the sidecar is not the label's mesh, so its metrics go where nobody looks, or are denied",
    "Leave TRAMO_MESH out: the label on the sidecar's container says it.",
)
OWN_PORT: Final = Kind(
    "TRM0110",
    Level.ERROR,
    "a service's ingress port, or the port of an app, is one of the sidecar's own: admin pages (9901), forward proxy "
    "(15001) or TRAMO_REDIRECT; only one of the two can listen, and the other ends at its start",
    "Choose another port, or give the sidecar another one with TRAMO_ADMIN, TRAMO_FORWARD_PROXY or TRAMO_REDIRECT.",
)
ALIAS_TAKEN: Final = Kind(
    "TRM0201",
    Level.ERROR,
    "two services want the same name and port; the one that had it first keeps it",
    "Give one of them another dnsName or port in clientAliases.",
)
CLAIM_REFUSED: Final = Kind(
    "TRM0202",
    Level.ERROR,
    "a task offers a service that belongs to another ECS service and task role, or that the namespace does not let in",
    "Give it another discoveryName; or, if it shall offer the service, `tramo services allow NAME CLAIMANT`.",
)
ALIAS_REFUSED: Final = Kind(
    "TRM0203",
    Level.ERROR,
    "a service wants a public DNS name that the namespace's rules do not allow",
    "Add the name's suffix to `dns_suffixes` of the namespace's rules, or choose a name below the namespace.",
)
TOO_LARGE: Final = Kind(
    "TRM0204",
    Level.ERROR,
    "a service has grown too large to be published; callers see it as it was",
    "Split the service, or give it fewer endpoints or aliases.",
)
DRIFT: Final = Kind(
    "TRM0205",
    Level.WARNING,
    "the registry had missed the state of a task, and the reconciler has corrected it",
    "Events of ECS do not reach the registrar: look at the rule, its dead-letter queue and the registrar's log.",
)
KINDS: Final = tuple(each for each in tuple(globals().values()) if isinstance(each, Kind))
"""All of them, in the order above."""

LASTING: Final = frozenset(
    kind.code
    for kind in (
        *(BAD_LABEL, MISSPELLED_KEY, UNKNOWN_KEY, NO_SIDECAR, PORT_CLASH),
        *(OTHER_NAMESPACE, OTHER_MESH, NO_DEFINITION, OWN_PORT),
    )
)
"""What is said of a task definition alone (rule 3)."""


ASTRAY: Final = "TRM0313"
"""What a sidecar says whose API is another mesh's than its label: that API has no task to show it with."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and the resource that it is about."""

    resource: str
    finding: Finding

    @property
    def key(self) -> str:
        """What tells it from others: texts may change while the mistake is the same."""
        place = hashlib.blake2b(self.finding.where.encode(errors="surrogatepass"), digest_size=6).hexdigest()
        return f"{self.finding.code}#{self.resource}#{place}"


def found(kind: Kind, resource: str, where: str, what: str, remedy: str) -> Found:
    """Return a finding with its texts within their bounds."""
    finding = Finding(
        kind.code,
        kind.level,
        shortened(where, LONGEST_WHERE) or "-",
        shortened(what, LONGEST_TEXT) or kind.meaning,
        shortened(remedy, LONGEST_TEXT) or kind.remedy,
    )
    return Found(shortened(resource, LONGEST_RESOURCE), finding)


def of_definition(name: str) -> str:
    """Return a task definition (family:revision) as a resource."""
    return f"taskdef/{name}"


def of_task(task_id: str) -> str:
    """Return a task that is not in the registry as a resource."""
    return f"task/{task_id}"


def of_service(name: str) -> str:
    """Return a service as a resource."""
    return f"svc/{name}"


def bad_label(error: DefinitionError) -> Found:
    """Return what the registrar says of a label with a mistake."""
    where = f"container {error.container}, {error.path}" if error.container else error.path
    return found(BAD_LABEL, of_definition(error.task_definition), where, error.mistake, error.remedy)


def unknown_key(name: str, key: UnknownKey) -> Found:
    """Return a key of a label that nobody reads."""
    where = f"container {key.container}, {key.path}"
    if key.meant:
        return found(MISSPELLED_KEY, of_definition(name), where, key.mistake, f"did you mean {key.meant}?")
    remedy = key.instead or "remove it, unless other programs read it"
    return found(UNKNOWN_KEY, of_definition(name), where, key.mistake, remedy)


def no_definition(name: str, mistake: str) -> Found:
    """Return that ECS does not know a definition."""
    return found(NO_DEFINITION, of_definition(name), "task definition", mistake, NO_DEFINITION.remedy)


def conflict(service: str, alias: Alias, holder: str) -> Found:
    """Return that another service has an alias."""
    name = f"{alias.dns_name}:{alias.port}"
    remedy = f"give {service} or {holder} another dnsName or port in clientAliases"
    return found(ALIAS_TAKEN, of_service(service), f"alias {name}", f"{holder} has {name} already and keeps it", remedy)


def refused_claim(claim: Claim) -> Found:
    """Return that a task may not offer a service."""
    what = f"{claim.task_definition} may not offer it: {claim.reason}"
    remedy = f"choose another discoveryName, or: tramo services allow {claim.service} {claim.claimant}"
    return found(CLAIM_REFUSED, of_service(claim.service), f"claim of {claim.claimant}", what, remedy)


def of_services(services: Iterable[ServiceRecord]) -> list[Found]:
    """Return the aliases that services want and do not get."""
    result = []
    for service in services:
        result += [conflict(service.name, each.alias, each.holder) for each in service.conflicts]
        for alias in service.refused_aliases:
            name = f"{alias.dns_name}:{alias.port}"
            remedy = (
                f"add {alias.dns_name} to dns_suffixes of the namespace's rules, or choose a name below "
                f"{service.namespace} or .{PRIVATE_SUFFIXES[0]}"
            )
            what = f"{alias.dns_name} is a public name, which the namespace's rules do not allow"
            result.append(found(ALIAS_REFUSED, of_service(service.name), f"alias {name}", what, remedy))
    return result


def too_large(service: str) -> Found:
    """Return that a service cannot be published."""
    return found(TOO_LARGE, of_service(service), "snapshot", "it is too large to be published", TOO_LARGE.remedy)


def missed(task: TaskRecord) -> Found:
    """Return that a sweep had to correct a task."""
    what = f"the state of task {task.task_id} was missed and is corrected"
    return found(DRIFT, of_definition(task.task_definition), "events of ECS", what, DRIFT.remedy)


def of_tasks(tasks: Iterable[TaskRecord], now: float) -> list[Found]:
    """Return what sidecars report of living tasks, and the tasks of services that have ended by themselves of late."""
    result = []
    for task in tasks:
        resource = of_definition(task.task_definition)
        result += [Found(resource, each) for each in task.findings]
        if has_failed(task) and now - (task.stopped_at or task.changed_at) < RECENT_SECONDS:
            result.append(ended(task))
    return result


def has_failed(task: TaskRecord) -> bool:
    """Return whether a task of an ECS service has stopped though nobody wanted it to."""
    failed = task.stop_code in ("EssentialContainerExited", "TaskFailedToStart")
    return task.gone and failed and (task.group or "").startswith("service:")


def ended(task: TaskRecord) -> Found:
    """Return that a task has ended by itself."""
    service = (task.group or "").partition(":")[2]
    what = f"task {task.task_id[:8]} of {service} ended by itself: {task.stopped_reason or task.stop_code}"
    remedy = f"see the log of the container that ended: tramo logs {service}"
    return found(TASKS_END, of_definition(task.task_definition), f"tasks of {service}", what, remedy)
