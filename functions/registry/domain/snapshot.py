"""Snapshots: records in, documents out. Pure. The format is `schemas/snapshot.json`.

Rules:
1. The services of a namespace are spread over parts by their names (`layout.py`).
2. A service's `revision` is the snapshot revision in which its content last changed. Content is all but that
   number.
3. A part remembers the names that were removed from it and when. It forgets the oldest beyond
   `REMEMBERED_REMOVALS`; a delta from before the oldest one forgotten (`floor`) is not possible.
4. Protocol, aliases and time-outs of a service follow from its endpoints and its present document (`service.py`).
5. Output is sorted, so that equal content is equal bytes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from registry.domain.bounds import LATEST_TIME
from registry.domain.layout import Head
from registry.domain.offer import Timeouts
from registry.domain.policies import normalised
from registry.domain.rules import State, TaskRecord, since_of, state_of
from registry.domain.service import Document as Document
from registry.domain.service import ServiceRecord, configuration_of

SCHEMA: Final = 1
REMEMBERED_REMOVALS: Final = 100
WEIGHT: Final = 100


class PartError(Exception):
    """A stored part cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a snapshot's services. `floor` is the latest removal that was forgotten."""

    services: Mapping[str, Document] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    floor: int = 0


def iso(epoch: float) -> str:
    """Return a time as the snapshot writes it: UTC, to the millisecond."""
    # Times are checked where they enter; one that an older release let in must not stop a namespace.
    epoch = min(max(epoch, 0.0), LATEST_TIME)
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def endpoints_of(task: TaskRecord) -> dict[str, Document]:
    """Return the task's endpoints by service; none if it is gone or while address or port are unknown."""
    state = state_of(task)
    if state is State.GONE or task.address is None:
        return {}
    since = iso(since_of(task))
    created_at = iso(task.created_at or task.changed_at)
    return {
        endpoint.service: {
            "id": f"{task.task_id}/{endpoint.port_name}",
            "address": task.address,
            "port": endpoint.port,
            "zone": task.zone,
            "state": state.value,
            "weight": WEIGHT,
            "protocol": endpoint.protocol,
            "task_definition": task.task_definition,
            "deployment": task.started_by,
            "created_at": created_at,
            "since": since,
        }
        for endpoint in task.endpoints
        if endpoint.port is not None
    }


def policy_of(policy: Mapping[str, Any], timeouts: Timeouts) -> Document:
    """Return the policy that callers see: the label's time-outs where the operator's policy says nothing."""
    found: Document = normalised(dict(policy))  # one that an earlier release stored may not be
    from_label = {
        name: value
        for name, value in (
            ("request_seconds", timeouts.request_seconds),
            ("idle_seconds", timeouts.idle_seconds),
        )
        if value is not None
    }
    if from_label:
        found["timeouts"] = from_label | found.get("timeouts", {})
    return found


def service_document(
    service: ServiceRecord, endpoints: Iterable[Document], revision: int, present: Document | None = None
) -> Document:
    """Return a service as the snapshot shows it; `present` is how it shows it now."""
    endpoints = sorted(endpoints, key=lambda endpoint: str(endpoint["id"]))
    found = configuration_of(service, endpoints, present)
    return {
        "name": service.name,
        "protocol": found.protocol,
        "declared_by": found.declared_by,
        "vip": service.vip,
        "revision": revision,
        "aliases": [{"dns_name": alias.dns_name, "port": alias.port} for alias in found.aliases],
        "policy": policy_of(service.policy, found.timeouts),
        "endpoints": endpoints,
    }


def same_content(one: Document | None, other: Document | None) -> bool:
    """Return whether two documents of a service differ in nothing but their revision."""
    if one is None or other is None:
        return one is other
    return {**one, "revision": 0} == {**other, "revision": 0}


def endpoints_without(document: Document | None, task_ids: Iterable[str]) -> list[Document]:
    """Return a service's endpoints without those of some tasks."""
    if document is None:
        return []
    tasks = frozenset(task_ids)
    return [endpoint for endpoint in document["endpoints"] if endpoint["id"].partition("/")[0] not in tasks]


def update_part(part: Part, changes: Mapping[str, Document | None], revision: int) -> Part | None:
    """Return the part with services replaced (None removes one), or None when that changes no content.

    The changed services get `revision`.
    """
    services, removed = dict(part.services), dict(part.removed)
    changed = False
    for name, document in changes.items():
        if same_content(services.get(name), document):
            continue
        changed = True
        if document is None:
            del services[name]
            removed[name] = revision
        else:
            services[name] = {**document, "revision": revision}
            removed.pop(name, None)
    if not changed:
        return None
    floor = part.floor
    while len(removed) > REMEMBERED_REMOVALS:
        oldest = min(removed, key=lambda name: removed[name])
        floor = max(floor, removed.pop(oldest))
    return Part(services, removed, floor)


def encode_part(part: Part) -> bytes:
    """Return a part as it is stored."""
    return compress(
        {"services": dict(sorted(part.services.items())), "removed": dict(part.removed), "floor": part.floor}
    )


def decode_part(data: bytes) -> Part:
    """Return a stored part. Raises PartError when it is damaged."""
    document = decompress(data)
    try:
        return Part(document["services"], document["removed"], document["floor"])
    except (KeyError, TypeError) as error:
        raise PartError(f"a stored part of a snapshot is damaged: {error}") from error


def compress(document: Document) -> bytes:
    """Return a document as gzip over JSON; equal documents are equal bytes."""
    return gzip.compress(json.dumps(document, separators=(",", ":"), sort_keys=True).encode(), mtime=0)


def decompress(data: bytes) -> Document:
    """Return what `compress` was given. Raises PartError when it is damaged."""
    try:
        document: Document = json.loads(gzip.decompress(data))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise PartError(f"a stored text of a snapshot is damaged: {error}") from error
    return document


def can_delta(parts: Iterable[Part], head: Head, since: int) -> bool:
    """Return whether a delta from `since` tells all that happened after it."""
    return 0 < since <= head.revision and all(part.floor <= since for part in parts)


def assemble(
    namespace: str,
    head: Head,
    parts: Iterable[Part],
    since: int | None = None,
    names: frozenset[str] | None = None,
) -> Document:
    """Return the snapshot document.

    With `since` only what changed after that revision; `parts` may then be those with later revisions only.
    The caller asks `can_delta` first. With `names` nothing is said of other services.
    """
    parts = tuple(parts)
    services = [
        document
        for part in parts
        for name, document in part.services.items()
        if (names is None or name in names) and (since is None or document["revision"] > since)
    ]
    result: Document = {
        "schema": SCHEMA,
        "namespace": namespace,
        **({"epoch": head.epoch} if head.epoch else {}),
        "revision": head.revision,
        "generated_at": iso(head.generated_at),
        "services": sorted(services, key=lambda document: str(document["name"])),
    }
    if since is not None:
        result["since"] = since
        result["removed"] = sorted(
            name
            for part in parts
            for name, revision in part.removed.items()
            if revision > since and (names is None or name in names)
        )
    return result
